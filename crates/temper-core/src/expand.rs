//! From a sweep to its cells and jobs: the product of the axes, with every job that two cells
//! share made once.

use std::collections::HashSet;

use crate::{
    Digest, Epsilon,
    catalog::{PinnedDataset, PinnedModel},
    key,
    schedule::Schedule,
    spec::{EvaluateSpec, EvaluationSettings, JobSpec, SweepSpec, TrainSpec},
};

/// A sweep laid out: its cells in the order of its axes, and the jobs that they need.
#[derive(Debug, Clone, PartialEq)]
pub struct Expansion {
    /// One a point of the axes.
    pub cells: Vec<Cell>,
    /// Every job once, train jobs before the evaluate jobs that depend on them.
    pub jobs: Vec<Job>,
}

/// One point of the axes: one training and its evaluations.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// Catalog name of the model.
    pub model: String,
    /// Catalog name of the dataset.
    pub dataset: String,
    /// Schedule as the sweep names it.
    pub schedule: Schedule,
    /// Target strength.
    pub target: Epsilon,
    /// Seed.
    pub seed: u64,
    /// Index into the sweep's hyper-parameters.
    pub hyperparameters: usize,
    /// Key of the training.
    pub train: Digest,
    /// Keys of the evaluations, in the order of the sweep's evaluation settings.
    pub evaluations: Vec<Digest>,
}

/// A job and what it waits for.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Content-addressed key.
    pub key: Digest,
    /// What to do.
    pub spec: JobSpec,
    /// Key of the training that must succeed first.
    pub depends_on: Option<Digest>,
}

/// Lays a sweep out. `models` and `datasets` are its axes resolved, in the same order.
#[must_use]
pub fn expand(spec: &SweepSpec, models: &[PinnedModel], datasets: &[PinnedDataset]) -> Expansion {
    let mut layout = Layout::default();
    for model in models {
        for dataset in datasets {
            for (index, hyperparameters) in spec.hyperparameters.iter().enumerate() {
                for &target in &spec.target_epsilons {
                    for &schedule in &spec.schedules {
                        for &seed in &spec.seeds {
                            let train = TrainSpec {
                                model: model.clone(),
                                dataset: dataset.clone(),
                                ramp: schedule.ramp(target, spec.training.epochs),
                                hyperparameters: *hyperparameters,
                                training: spec.training,
                                data: spec.data.of(dataset),
                                validation: spec.validation,
                                seed,
                            };
                            layout.cell(train, schedule, target, index, &spec.evaluations);
                        }
                    }
                }
            }
        }
    }
    layout.expansion
}

struct Layout {
    expansion: Expansion,
    seen: HashSet<Digest>,
}

impl Default for Layout {
    fn default() -> Self {
        let expansion = Expansion {
            cells: Vec::new(),
            jobs: Vec::new(),
        };
        Self {
            expansion,
            seen: HashSet::new(),
        }
    }
}

impl Layout {
    fn cell(
        &mut self,
        train: TrainSpec,
        schedule: Schedule,
        target: Epsilon,
        hyperparameters: usize,
        evaluations: &[EvaluationSettings],
    ) {
        let train_key = self.job(JobSpec::Train(train.clone()), None);
        let evaluations = evaluations
            .iter()
            .map(|settings| {
                let spec = evaluate_spec(&train, target, settings);
                self.job(JobSpec::Evaluate(spec), Some(train_key))
            })
            .collect();
        self.expansion.cells.push(Cell {
            model: train.model.name,
            dataset: train.dataset.name,
            schedule,
            target,
            seed: train.seed,
            hyperparameters,
            train: train_key,
            evaluations,
        });
    }

    fn job(&mut self, spec: JobSpec, depends_on: Option<Digest>) -> Digest {
        let key = key::job_key(&spec);
        if self.seen.insert(key) {
            self.expansion.jobs.push(Job {
                key,
                spec,
                depends_on,
            });
        }
        key
    }
}

fn evaluate_spec(
    train: &TrainSpec,
    target: Epsilon,
    settings: &EvaluationSettings,
) -> EvaluateSpec {
    EvaluateSpec {
        train: train.clone(),
        attacks: settings.attacks.clone(),
        model: settings.model,
        grid: Epsilon::grid(settings.grid_end.unwrap_or(target), settings.grid_step),
        mode: settings.mode,
        samples: settings.samples_of(&train.dataset),
        seed: settings.seed,
    }
}
