//! Means by model and by dataset, schedules side by side (the paper's Fig. 5).

use temper_proto::v1::{CurveGroup, Estimate, GroupKey};

use super::{super::looks, Answers, Drawn, Looks, Picture};
use crate::{
    plot::bars::{Bar, Bars, Group},
    report::percent,
};

type Metric = (&'static str, fn(&CurveGroup) -> Option<Estimate>);

const METRICS: [Metric; 3] = [
    ("clean accuracy", |group| group.clean_accuracy),
    ("robust accuracy", |group| group.robust_accuracy),
    ("expected robustness", |group| group.expected_robustness),
];

pub(super) fn draw(answers: &Answers, looks: &Looks) -> anyhow::Result<Drawn> {
    let spec = answers.sweep.spec.clone().unwrap_or_default();
    if spec.models.len() < 2 && spec.datasets.len() < 2 {
        let reason =
            "the sweep has one model and one dataset, whose means are the results themselves";
        return Ok(Drawn::Nothing(reason));
    }
    let mut pictures = Vec::new();
    for (by, groups) in [
        ("model", &answers.by_model),
        ("dataset", &answers.by_dataset),
    ] {
        let measured = groups.iter().filter(|group| group.count > 0);
        let settings = looks::by_key(measured, |group| GroupKey {
            model: String::new(),
            dataset: String::new(),
            ..looks::place(group)
        });
        for (place, groups) in &settings {
            for metric in METRICS {
                let bars = bars(metric, groups, looks);
                let title = format!("{} by {by}, {}", metric.0, looks.title(place));
                let svg = Bars {
                    title: title.clone(),
                    ..bars
                }
                .svg(&title)?;
                pictures.push(Picture { name: title, svg });
            }
        }
    }
    Ok(Drawn::of(pictures, "no evaluation has finished"))
}

fn bars((name, metric): Metric, groups: &[&CurveGroup], looks: &Looks) -> Bars {
    let schedules = looks::ranked(groups.iter().map(|group| group.schedule.as_str()));
    let rows = looks::by_key(groups, |group| (&group.model, &group.dataset));
    let rows = rows.into_iter().map(|((model, dataset), groups)| Group {
        // One of them is empty.
        label: format!("{model}{dataset}"),
        bars: schedules
            .iter()
            .map(|schedule| {
                let group = groups.iter().find(|group| group.schedule == *schedule)?;
                Some(bar(group, metric(group)?))
            })
            .collect(),
    });
    Bars {
        title: String::new(),
        axis: format!("{name} (%)"),
        groups: rows.collect(),
        series: schedules
            .iter()
            .map(|schedule| (schedule.clone(), looks.style(schedule)))
            .collect(),
    }
}

fn bar(group: &CurveGroup, estimate: Estimate) -> Bar {
    let value = percent(estimate.mean);
    let lacking = if group.count < group.expected_count {
        format!(" ({} of {})", group.count, group.expected_count)
    } else {
        String::new()
    };
    Bar {
        value,
        interval: estimate
            .lower
            .zip(estimate.upper)
            .map(|(lower, upper)| (percent(lower), percent(upper))),
        note: format!("{value:.1}{lacking}"),
    }
}
