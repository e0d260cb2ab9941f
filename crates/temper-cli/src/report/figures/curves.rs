//! Accuracy against epsilon: a panel for each model, dataset, target and settings (the paper's Fig. 4).

use temper_proto::v1::CurveGroup;

use super::{super::looks, Answers, Drawn, Looks, Picture};
use crate::{
    plot::lines::{Axis, Chart, Point, Series},
    report::percent,
};

pub(super) fn draw(answers: &Answers, looks: &Looks) -> anyhow::Result<Drawn> {
    let charts = charts_of(&answers.groups, looks)?;
    let pictures = charts.into_iter().map(|chart| {
        let name = format!("Accuracy against epsilon: {}", chart.title);
        let svg = chart.svg(&name)?;
        Ok(Picture { name, svg })
    });
    let pictures = pictures.collect::<anyhow::Result<_>>()?;
    Ok(Drawn::of(pictures, "no evaluation has finished"))
}

/// A panel for each place of the sweep that has results, in it a line for each schedule.
pub fn charts(groups: &[CurveGroup]) -> anyhow::Result<Vec<Chart>> {
    charts_of(groups, &Looks::of(groups))
}

fn charts_of(groups: &[CurveGroup], looks: &Looks) -> anyhow::Result<Vec<Chart>> {
    let measured = groups.iter().filter(|group| !group.points.is_empty());
    let places = looks::by_key(measured, |group| looks::place(group));
    places
        .iter()
        .map(|(place, groups)| chart(looks.title(place), groups, looks))
        .collect()
}

fn chart(title: String, groups: &[&CurveGroup], looks: &Looks) -> anyhow::Result<Chart> {
    let mut groups = groups.to_vec();
    groups.sort_by_key(|group| looks.place(&group.schedule));
    let series = groups.iter().map(|group| series(group, looks));
    let series = series.collect::<anyhow::Result<Vec<_>>>()?;
    let ends = series.iter().flat_map(|series| &series.points);
    let to = ends.map(|point| point.x).fold(f64::MIN_POSITIVE, f64::max);
    Ok(Chart {
        title,
        x: Axis {
            label: "epsilon (x/255)",
            from: 0.0,
            to,
        },
        y: Axis::accuracy(),
        series,
    })
}

fn series(group: &CurveGroup, looks: &Looks) -> anyhow::Result<Series> {
    let points = group.points.iter().map(|point| {
        let accuracy = point.accuracy.unwrap_or_default();
        Ok(Point {
            x: looks::strength(&point.epsilon)?,
            y: percent(accuracy.mean),
            deviation: percent(accuracy.standard_deviation.unwrap_or_default()),
        })
    });
    Ok(Series {
        label: format!("{} ({})", group.schedule, looks::counted(group)),
        style: looks.style(&group.schedule),
        points: points.collect::<anyhow::Result<_>>()?,
        line: true,
        marks: true,
        shaded: true,
        crosses: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use temper_proto::v1::{Estimate, EstimatePoint};

    use super::*;

    fn group(schedule: &str, target: &str, accuracies: &[(&str, f64)]) -> CurveGroup {
        let points = accuracies.iter().map(|&(epsilon, mean)| EstimatePoint {
            epsilon: epsilon.into(),
            accuracy: Some(Estimate {
                mean,
                standard_deviation: Some(0.05),
                ..Estimate::default()
            }),
        });
        CurveGroup {
            model: "mobilenetv2".into(),
            dataset: "fashion-mnist".into(),
            schedule: schedule.into(),
            target_epsilon: target.into(),
            count: 2,
            expected_count: 2,
            points: points.collect(),
            ..Default::default()
        }
    }

    #[test]
    fn targets_have_panels_of_their_own_and_what_has_no_points_none() {
        let two = [("0", 0.8), ("4/255", 0.3)];
        let lacking = CurveGroup {
            expected_count: 3,
            ..group("linear", "4/255", &two)
        };
        let groups = [
            group("fixed", "4/255", &two),
            group("fixed", "8/255", &two),
            lacking,
            group("standard", "4/255", &[]),
        ];
        let charts = charts(&groups).unwrap();
        let counts: Vec<_> = charts.iter().map(|chart| chart.series.len()).collect();
        assert_eq!(counts, [2, 1]);
        assert_eq!(charts[1].title, "mobilenetv2, fashion-mnist, 8/255");
        assert_eq!(charts[0].series[0].label, "fixed (n=2)");
        assert_eq!(charts[0].series[1].label, "linear (n=2/3)");
        let last = charts[0].series[0].points[1];
        assert!((last.x - 4.0).abs() < 1e-12 && (last.y - 30.0).abs() < 1e-12);
        assert!((last.deviation - 5.0).abs() < 1e-12);
        assert!((charts[0].x.to - 4.0).abs() < 1e-12);
    }
}
