//! Validation accuracy over epochs with the onset of adaptation (the paper's Figs. 3 and 6).

use std::collections::HashMap;

use temper_proto::v1::{CurveCell, EpochMetrics, GroupKey, Job, TransferDiagnosis};

use super::{super::looks, Answers, Drawn, Looks, Picture};
use crate::{
    plot::lines::{Axis, Chart, Point, Series},
    report::percent,
};

pub(super) fn draw(answers: &Answers, looks: &Looks) -> anyhow::Result<Drawn> {
    let jobs: HashMap<_, _> = answers.jobs.iter().map(|job| (&job.name, job)).collect();
    let begun = answers.transfer.diagnoses.iter().filter_map(|diagnosis| {
        let job = *jobs.get(&diagnosis.train_job)?;
        let cell = diagnosis.cell.as_ref()?;
        let measured = |epoch: &EpochMetrics| epoch.validation_accuracy.is_some();
        let seen = job.epoch_metrics.iter().any(measured);
        // Evaluations of one training tell the same of it.
        (seen && cell.evaluation == 0).then_some((cell, diagnosis, job))
    });
    let places = looks::by_key(begun, |(cell, _, _)| place(cell));
    let mut pictures = Vec::new();
    for (place, trainings) in &places {
        let chart = chart(looks.title(place), trainings, looks);
        let name = format!("Validation accuracy over epochs: {}", chart.title);
        let svg = chart.svg(&name)?;
        pictures.push(Picture { name, svg });
    }
    let reason = "no training has reported an accuracy on a validation split";
    Ok(Drawn::of(pictures, reason))
}

fn place(cell: &CurveCell) -> GroupKey {
    GroupKey {
        model: cell.model.clone(),
        dataset: cell.dataset.clone(),
        target_epsilon: cell.target_epsilon.clone(),
        hyperparameters: Some(cell.hyperparameters),
        ..Default::default()
    }
}

type Training<'a> = (&'a CurveCell, &'a TransferDiagnosis, &'a Job);

fn chart(title: String, trainings: &[Training], looks: &Looks) -> Chart {
    let mut series: Vec<_> = trainings
        .iter()
        .map(|(cell, diagnosis, job)| line(cell, diagnosis, job, looks))
        .collect();
    series.sort_by_key(|series| looks.place(&series.label));
    let epochs = trainings.iter().map(|(_, diagnosis, _)| diagnosis.epochs);
    let last = epochs.max().unwrap_or(0).saturating_sub(1).max(1);
    Chart {
        title,
        x: Axis {
            label: "epoch (from 0)",
            from: 0.0,
            to: f64::from(last),
        },
        y: Axis::accuracy(),
        series,
    }
}

fn line(cell: &CurveCell, diagnosis: &TransferDiagnosis, job: &Job, looks: &Looks) -> Series {
    let measured = job.epoch_metrics.iter();
    let points: Vec<_> = measured
        .filter_map(|epoch| {
            Some(Point {
                x: f64::from(epoch.epoch),
                y: percent(epoch.validation_accuracy?),
                deviation: 0.0,
            })
        })
        .collect();
    let onset = diagnosis.onset_epoch.map(f64::from);
    let cross = points.iter().find(|point| Some(point.x) == onset);
    Series {
        label: cell.schedule.clone(),
        style: looks.style(&cell.schedule),
        crosses: cross.map(|point| (point.x, point.y)).into_iter().collect(),
        // A line of one point is none.
        marks: points.len() == 1,
        points,
        line: true,
        shaded: false,
    }
}
