//! Delay of adaptation against final accuracy (the paper's Fig. 9).

use temper_proto::v1::{CurveCell, GroupKey, TransferCorrelation, TransferDiagnosis};

use super::{super::looks, Answers, Drawn, Looks, Picture};
use crate::{
    plot::lines::{Axis, Chart, Point, Series},
    report::{looks::is_reference, percent},
};

/// A training that has both, with its delay and its accuracy.
type Run<'a> = (&'a CurveCell, &'a TransferDiagnosis, f64, f64);

pub(super) fn draw(answers: &Answers, looks: &Looks) -> anyhow::Result<Drawn> {
    let runs = answers.transfer.diagnoses.iter().filter_map(|diagnosis| {
        let cell = diagnosis.cell.as_ref()?;
        let (delay, clean) = diagnosis.delay_epochs.zip(diagnosis.clean_accuracy)?;
        let run = (cell, diagnosis, f64::from(delay), percent(clean));
        (!is_reference(&cell.schedule)).then_some(run)
    });
    let groups = looks::by_key(runs, |(cell, ..)| place(cell));
    let mut pictures = Vec::new();
    for (place, runs) in &groups {
        let correlation = answers.transfer.correlations.iter();
        let correlation = correlation.clone().find(|other| is_of(other, place));
        let title = format!("{}{}", looks.title(place), said(correlation));
        let name = format!("Delay of adaptation against clean accuracy: {title}");
        let svg = chart(title, runs, looks).svg(&name)?;
        pictures.push(Picture { name, svg });
    }
    let reason = "no training under attack has both a delay and a measured accuracy";
    Ok(Drawn::of(pictures, reason))
}

fn place(cell: &CurveCell) -> GroupKey {
    GroupKey {
        target_epsilon: cell.target_epsilon.clone(),
        hyperparameters: Some(cell.hyperparameters),
        evaluation: Some(cell.evaluation),
        ..Default::default()
    }
}

fn is_of(correlation: &TransferCorrelation, place: &GroupKey) -> bool {
    let key = correlation.key.clone().unwrap_or_default();
    let same = |key: &GroupKey| {
        (
            key.target_epsilon.clone(),
            key.hyperparameters,
            key.evaluation,
        )
    };
    same(&key) == same(place)
}

fn said(correlation: Option<&TransferCorrelation>) -> String {
    let found = correlation.and_then(|found| Some((found.clean_accuracy?, found.count)));
    found.map_or_else(String::new, |(r, n)| format!(", r = {r:.2} (n={n})"))
}

fn chart(title: String, runs: &[Run], looks: &Looks) -> Chart {
    let epochs = runs.iter().map(|(_, diagnosis, ..)| diagnosis.epochs);
    let end = epochs.max().unwrap_or(0).max(1);
    let schedules = looks.schedules().iter();
    let series = schedules.filter_map(|schedule| {
        let of: Vec<_> = runs
            .iter()
            .filter(|(cell, ..)| cell.schedule == *schedule)
            .collect();
        let points = of.iter().map(|(_, _, x, y)| Point {
            x: *x,
            y: *y,
            deviation: 0.0,
        });
        let never = of
            .iter()
            .filter(|(_, diagnosis, ..)| diagnosis.never_adapted);
        (!of.is_empty()).then(|| Series {
            label: schedule.clone(),
            style: looks.style(schedule),
            points: points.collect(),
            line: false,
            marks: true,
            shaded: false,
            crosses: never.map(|(_, _, x, y)| (*x, *y)).collect(),
        })
    });
    Chart {
        title,
        x: Axis {
            label: "delay (epochs)",
            from: 0.0,
            to: f64::from(end) * 1.05,
        },
        y: Axis {
            label: "clean accuracy (%)",
            ..Axis::accuracy()
        },
        series: series.collect(),
    }
}
