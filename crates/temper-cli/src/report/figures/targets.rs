//! Clean accuracy against the target strength (the paper's Fig. 1).

use temper_proto::v1::{CurveGroup, GroupKey};

use super::{super::looks, Answers, Drawn, Looks, Picture};
use crate::{
    plot::lines::{Axis, Chart, Point, Series},
    report::percent,
};

pub(super) fn draw(answers: &Answers, looks: &Looks) -> anyhow::Result<Drawn> {
    let measured = answers.groups.iter();
    let measured = measured.filter(|group| group.clean_accuracy.is_some());
    let places = looks::by_key(measured, |group| GroupKey {
        target_epsilon: String::new(),
        ..looks::place(group)
    });
    let mut pictures = Vec::new();
    for (place, groups) in &places {
        if looks::by_key(groups, |group| &group.target_epsilon).len() < 2 {
            continue;
        }
        let chart = chart(looks.title(place), groups, looks)?;
        let name = format!("Clean accuracy against target epsilon: {}", chart.title);
        let svg = chart.svg(&name)?;
        pictures.push(Picture { name, svg });
    }
    let reason = "no model and dataset has results for two target strengths";
    Ok(Drawn::of(pictures, reason))
}

fn chart(title: String, groups: &[&CurveGroup], looks: &Looks) -> anyhow::Result<Chart> {
    let mut all = Vec::new();
    let mut schedules = looks::by_key(groups, |group| &group.schedule);
    schedules.sort_by_key(|(schedule, _)| looks.place(schedule));
    for (schedule, groups) in schedules {
        // A line's points may be over different numbers of cells, for which a legend has no room.
        let lacking = groups.iter().any(|group| looks::lacks(group));
        let mark = if lacking { "*" } else { "" };
        let points = groups.iter().map(|group| {
            let clean = group.clean_accuracy.unwrap_or_default();
            Ok(Point {
                x: looks::strength(&group.target_epsilon)?,
                y: percent(clean.mean),
                deviation: percent(clean.standard_deviation.unwrap_or_default()),
            })
        });
        let mut points = points.collect::<anyhow::Result<Vec<_>>>()?;
        points.sort_by(|a, b| a.x.total_cmp(&b.x));
        all.push(Series {
            label: format!("{schedule}{mark}"),
            style: looks.style(schedule),
            points,
            line: true,
            marks: true,
            shaded: false,
            crosses: Vec::new(),
        });
    }
    let ends = all.iter().flat_map(|series| &series.points);
    let to = ends.map(|point| point.x).fold(f64::MIN_POSITIVE, f64::max);
    Ok(Chart {
        title,
        x: Axis {
            label: "target epsilon (x/255)",
            from: 0.0,
            to: to * 1.05,
        },
        y: Axis::accuracy(),
        series: all,
    })
}
