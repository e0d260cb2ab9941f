//! What the sweep took of devices, by model and dataset.

use temper_proto::v1::{Job, JobKind, TrainSpec, job_spec::Kind};

use super::{Cell, Row, Table, columns};
use crate::report::{Answers, looks};

const HOUR: f64 = 3600.0;
const NOTE: &str = "Device-hours of every attempt, whatever came of it. Wasted: of attempts without an \
    accepted result; part of it is not lost where a later one went on from a checkpoint. A job that other \
    sweeps share counts here in full.";

#[derive(Default, Clone, Copy)]
struct Cost {
    jobs: usize,
    training: f64,
    evaluation: f64,
    wasted: f64,
}

/// One table, or none before any attempt has ended.
pub fn costs(answers: &Answers) -> Vec<Table> {
    let paid = answers.jobs.iter().filter(|job| job.device_seconds > 0.0);
    let groups = looks::by_key(paid, |job| trained(job).map(names).unwrap_or_default());
    if groups.is_empty() {
        return Vec::new();
    }
    let mut total = Cost::default();
    let mut rows = Vec::new();
    for ((model, dataset), jobs) in groups {
        let mut cost = Cost::default();
        for job in jobs {
            cost.add(job);
            total.add(job);
        }
        rows.push(cost.row(&model, &dataset));
    }
    rows.push(Row {
        first: true,
        ..total.row("all", "")
    });
    let heads = [
        "model",
        "dataset",
        ">jobs",
        ">training (h)",
        ">evaluation (h)",
        ">in all (h)",
        ">wasted (h)",
        ">wasted (%)",
    ];
    vec![Table {
        title: "Device-hours".to_owned(),
        note: NOTE,
        columns: columns(&heads),
        rows,
        ..Table::default()
    }]
}

impl Cost {
    fn add(&mut self, job: &Job) {
        self.jobs += 1;
        match job.kind() {
            JobKind::Evaluate => self.evaluation += job.device_seconds / HOUR,
            JobKind::Train | JobKind::Unspecified => self.training += job.device_seconds / HOUR,
        }
        self.wasted += job.device_seconds * job.wasted_share / HOUR;
    }

    fn row(self, model: &str, dataset: &str) -> Row {
        let all = self.training + self.evaluation;
        let hours = [self.training, self.evaluation, all, self.wasted];
        let mut cells: Vec<Cell> = vec![model.into(), dataset.into(), self.jobs.to_string().into()];
        cells.extend(hours.map(|hours| format!("{hours:.2}").into()));
        cells.push(format!("{:.1}", self.wasted / all.max(f64::MIN_POSITIVE) * 100.0).into());
        Row {
            first: false,
            cells,
        }
    }
}

fn trained(job: &Job) -> Option<&TrainSpec> {
    match job.spec.as_ref()?.kind.as_ref()? {
        Kind::Train(spec) => Some(spec),
        Kind::Evaluate(spec) => spec.train.as_ref(),
    }
}

fn names(spec: &TrainSpec) -> (String, String) {
    let model = spec.model.as_ref().map(|model| model.name.clone());
    let dataset = spec.dataset.as_ref().map(|dataset| dataset.name.clone());
    (model.unwrap_or_default(), dataset.unwrap_or_default())
}
