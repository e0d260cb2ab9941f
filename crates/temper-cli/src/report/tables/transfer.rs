//! How trainings transferred, by schedule and target.

use temper_proto::v1::TransferDiagnosis;

use super::{Row, Table, columns};
use crate::report::{
    Answers,
    looks::{self, Looks},
};

const NOTE: &str = "Trainings by what became of them. Suboptimal: clean accuracy below that of standard \
    for the same model, dataset and seed, of those that have such a run. Failed: near chance.";

/// One table, or none before a training has begun.
pub fn transfer(answers: &Answers, looks: &Looks) -> Vec<Table> {
    let diagnoses = answers.transfer.diagnoses.iter().filter_map(|diagnosis| {
        let cell = diagnosis.cell.as_ref()?;
        let begun = diagnosis.epochs_done > 0 && cell.evaluation == 0;
        begun.then_some((cell, diagnosis))
    });
    let mut groups = looks::by_key(diagnoses, |(cell, _)| {
        (cell.target_epsilon.clone(), cell.schedule.clone())
    });
    groups.sort_by_key(|((target, schedule), _)| {
        (target.len(), target.clone(), looks.place(schedule))
    });
    if groups.is_empty() {
        return Vec::new();
    }
    let rows = groups.iter().map(|((target, schedule), runs)| {
        let runs: Vec<_> = runs.iter().map(|(_, diagnosis)| *diagnosis).collect();
        let mut cells = vec![target.as_str().into(), schedule.as_str().into()];
        cells.extend(counts(&runs).map(Into::into));
        Row {
            first: false,
            cells,
        }
    });
    let heads = [
        "target",
        "schedule",
        ">begun",
        ">adapted",
        ">never adapted",
        ">mean delay (epochs)",
        ">suboptimal",
        ">failed",
    ];
    vec![Table {
        title: "Transfer".to_owned(),
        note: NOTE,
        columns: columns(&heads),
        rows: rows.collect(),
        ..Table::default()
    }]
}

fn counts(runs: &[&TransferDiagnosis]) -> [String; 6] {
    let count = |is: fn(&TransferDiagnosis) -> bool| runs.iter().filter(|run| is(run)).count();
    let of = |is: Vec<bool>| {
        let yes = is.iter().filter(|is| **is).count();
        format!("{yes} of {}", is.len())
    };
    let delays: Vec<_> = runs
        .iter()
        .filter_map(|run| run.delay_epochs)
        .map(f64::from)
        .collect();
    let mean = temper_core::statistics::summarise(&delays).map(|summary| summary.mean);
    [
        runs.len().to_string(),
        count(|run| run.onset_epoch.is_some()).to_string(),
        count(|run| run.never_adapted).to_string(),
        mean.map_or_else(|| "–".to_owned(), |mean| format!("{mean:.1}")),
        of(runs.iter().filter_map(|run| run.suboptimal).collect()),
        of(runs.iter().filter_map(|run| run.failed).collect()),
    ]
}
