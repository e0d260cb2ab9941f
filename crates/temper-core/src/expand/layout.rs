use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
};

use serde::Serialize;

use crate::{
    Digest, Epsilon,
    attack::Attack,
    catalog::{PinnedDataset, PinnedModel},
    key,
    rules::{Cells, Place, Settings},
    schedule::{Ramp, Schedule},
    spec::{
        CurveMode, DataSettings, EvaluateSpec, EvaluationSettings, Hyperparameters, JobSpec,
        Precision, Selection, SweepSpec, TrainSpec, TrainingSettings, ValidationSettings,
    },
};

/// The cells of a sweep and the jobs that they need, without keys. Jobs are told apart by what
/// goes into their keys, so that there are as many as there are keys.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    spec: SweepSpec,
    models: Vec<PinnedModel>,
    datasets: Vec<PinnedDataset>,
    settings: Vec<Settings>,
    cells: Vec<Cell>,
    jobs: Vec<Job>,
    evaluations: Vec<u32>,
}

/// One point of the axes: one training and its evaluations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// Where on the axes.
    pub place: Place,
    /// Index of the training among the jobs.
    pub train: u32,
    /// Index of its settings among those of the layout.
    settings: u32,
}

/// A job of a layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job {
    /// Index of the first cell that needs it.
    pub cell: u32,
    /// Index into the sweep's evaluations; none for a training.
    pub evaluation: Option<u32>,
    /// Index of the training that must succeed first.
    pub depends_on: Option<u32>,
}

/// What is the same for jobs that differ in nothing but ramp and seed, and for evaluations of
/// such.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kindred {
    /// Trainings of a model on a dataset with some settings.
    Trainings {
        /// Index of the model.
        model: u32,
        /// Index of the dataset.
        dataset: u32,
        /// Index of the settings.
        settings: u32,
    },
    /// Measurements on a dataset.
    Measurements {
        /// Index of the evaluation.
        evaluation: u32,
        /// Index of the dataset.
        dataset: u32,
        /// Index of the target strength.
        target: u32,
    },
}

/// A training, its parts borrowed.
#[derive(Debug, Clone, Copy)]
pub struct Training<'a> {
    /// As [`TrainSpec::model`].
    pub model: &'a PinnedModel,
    /// As [`TrainSpec::dataset`].
    pub dataset: &'a PinnedDataset,
    /// As [`TrainSpec::ramp`].
    pub ramp: Ramp,
    /// As [`TrainSpec::hyperparameters`].
    pub hyperparameters: Hyperparameters,
    /// As [`TrainSpec::training`].
    pub training: TrainingSettings,
    /// As [`TrainSpec::data`].
    pub data: DataSettings,
    /// As [`TrainSpec::validation`].
    pub validation: ValidationSettings,
    /// As [`TrainSpec::seed`].
    pub seed: u64,
}

/// What an evaluation does with its training's model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measurement<'a> {
    /// As [`EvaluateSpec::attacks`].
    pub attacks: &'a [Attack],
    /// As [`EvaluateSpec::model`].
    pub model: Selection,
    /// As [`EvaluateSpec::grid`].
    pub grid: Vec<Epsilon>,
    /// As [`EvaluateSpec::mode`].
    pub mode: CurveMode,
    /// As [`EvaluateSpec::samples`].
    pub samples: u32,
    /// As [`EvaluateSpec::seed`].
    pub seed: u64,
}

impl Layout {
    /// Lays a sweep out whose spec is valid. `models` and `datasets` are its axes resolved, in the
    /// same order.
    #[must_use]
    pub fn of(spec: &SweepSpec, models: &[PinnedModel], datasets: &[PinnedDataset]) -> Self {
        let mut layout = Self {
            spec: spec.clone(),
            models: models.to_vec(),
            datasets: datasets.to_vec(),
            settings: Vec::new(),
            cells: Vec::new(),
            jobs: Vec::new(),
            evaluations: Vec::new(),
        };
        let rules = Cells::of(spec);
        let mut builder = Builder::new(models, datasets);
        for place in rules.places() {
            builder.add(&mut layout, &rules, place);
        }
        layout
    }

    /// The datasets in the order of their axis.
    #[must_use]
    pub fn datasets(&self) -> &[PinnedDataset] {
        &self.datasets
    }

    /// The cells in the order of the axes.
    #[must_use]
    pub fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// Every job once, a training before the evaluations that depend on it.
    #[must_use]
    pub fn jobs(&self) -> &[Job] {
        &self.jobs
    }

    /// The precisions that its jobs compute in. Evaluations are in single precision.
    #[must_use]
    pub fn precisions(&self) -> BTreeSet<Precision> {
        let trainings = self.settings.iter();
        let trainings = trainings.map(|settings| settings.training.precision);
        trainings.chain([Precision::Fp32]).collect()
    }

    /// Indices of a cell's evaluations among the jobs, in the order of the sweep's evaluations.
    ///
    /// # Panics
    /// When there is no such cell.
    #[must_use]
    pub fn evaluations(&self, cell: usize) -> &[u32] {
        let count = self.spec.evaluations.len();
        &self.evaluations[cell * count..][..count]
    }

    /// Catalog name of a cell's model.
    #[must_use]
    pub fn model(&self, cell: &Cell) -> &str {
        &self.models[cell.place.model as usize].name
    }

    /// Catalog name of a cell's dataset.
    #[must_use]
    pub fn dataset(&self, cell: &Cell) -> &str {
        &self.datasets[cell.place.dataset as usize].name
    }

    /// A cell's schedule, as the sweep names it.
    #[must_use]
    pub fn schedule(&self, cell: &Cell) -> Schedule {
        self.spec.schedules[cell.place.schedule as usize]
    }

    /// A cell's target strength.
    #[must_use]
    pub fn target(&self, cell: &Cell) -> Epsilon {
        self.spec.target_epsilons[cell.place.target as usize]
    }

    /// A cell's seed.
    #[must_use]
    pub fn seed(&self, cell: &Cell) -> u64 {
        self.spec.seeds[cell.place.seed as usize]
    }

    /// What a job has in common with others.
    #[must_use]
    pub fn kindred(&self, job: &Job) -> Kindred {
        let place = self.cell(job).place;
        match job.evaluation {
            None => self.kindred_training(job),
            Some(evaluation) => Kindred::Measurements {
                evaluation,
                dataset: place.dataset,
                target: place.target,
            },
        }
    }

    /// What the training of a job has in common with others, the job itself being one or not.
    #[must_use]
    pub fn kindred_training(&self, job: &Job) -> Kindred {
        let cell = self.cell(job);
        Kindred::Trainings {
            model: cell.place.model,
            dataset: cell.place.dataset,
            settings: cell.settings,
        }
    }

    /// A job's training: itself, or the one that it depends on.
    #[must_use]
    pub fn training(&self, job: &Job) -> Training<'_> {
        let cell = self.cell(job);
        let dataset = &self.datasets[cell.place.dataset as usize];
        let Settings {
            hyperparameters,
            training,
            data,
        } = self.settings[cell.settings as usize];
        Training {
            model: &self.models[cell.place.model as usize],
            dataset,
            ramp: self.schedule(cell).ramp(self.target(cell), training.epochs),
            hyperparameters,
            training,
            data: data.of(dataset),
            validation: self.spec.validation,
            seed: self.seed(cell),
        }
    }

    /// What an evaluation does; none for a training.
    #[must_use]
    pub fn measurement(&self, job: &Job) -> Option<Measurement<'_>> {
        let settings = &self.spec.evaluations[job.evaluation? as usize];
        let cell = self.cell(job);
        let dataset = &self.datasets[cell.place.dataset as usize];
        Some(Measurement::of(settings, self.target(cell), dataset))
    }

    /// What a job does.
    #[must_use]
    pub fn job_spec(&self, job: &Job) -> JobSpec {
        let train = self.training(job).to_spec();
        match self.measurement(job) {
            None => JobSpec::Train(train),
            Some(measurement) => JobSpec::Evaluate(measurement.to_spec(train)),
        }
    }

    fn cell(&self, job: &Job) -> &Cell {
        &self.cells[job.cell as usize]
    }
}

impl Training<'_> {
    /// The same as a spec of its own.
    #[must_use]
    pub fn to_spec(&self) -> TrainSpec {
        TrainSpec {
            model: self.model.clone(),
            dataset: self.dataset.clone(),
            ramp: self.ramp,
            hyperparameters: self.hyperparameters,
            training: self.training,
            data: self.data,
            validation: self.validation,
            seed: self.seed,
        }
    }
}

impl<'a> Measurement<'a> {
    fn of(settings: &'a EvaluationSettings, target: Epsilon, dataset: &PinnedDataset) -> Self {
        Self {
            attacks: &settings.attacks,
            model: settings.model,
            grid: Epsilon::grid(settings.grid_end.unwrap_or(target), settings.grid_step),
            mode: settings.mode,
            samples: settings.samples_of(dataset),
            seed: settings.seed,
        }
    }

    /// The same of what `train` yields, as a spec of its own.
    #[must_use]
    pub fn to_spec(&self, train: TrainSpec) -> EvaluateSpec {
        EvaluateSpec {
            train,
            attacks: self.attacks.to_vec(),
            model: self.model,
            grid: self.grid.clone(),
            mode: self.mode,
            samples: self.samples,
            seed: self.seed,
        }
    }
}

/// Numbers for what goes into keys: equal numbers for what is the same there.
struct Builder {
    models: Vec<u32>,
    datasets: Vec<u32>,
    contents: HashMap<Digest, u32>,
    settings: HashMap<(u32, u64), u32>,
    resolved: HashMap<(u32, u32), u32>,
    ramps: HashMap<Ramp, u32>,
    ramps_of: HashMap<(u32, u32, u32), u32>,
    measurements: HashMap<(u32, u32, u32), u32>,
    trainings: HashMap<TrainingNumbers, u32>,
    evaluations: HashMap<(u32, u32), u32>,
}

#[derive(PartialEq, Eq, Hash)]
struct TrainingNumbers {
    model: u32,
    dataset: u32,
    settings: u32,
    ramp: u32,
    seed: u64,
}

impl Builder {
    fn new(models: &[PinnedModel], datasets: &[PinnedDataset]) -> Self {
        let mut contents = HashMap::new();
        let models = models.iter().map(key::model_digest);
        let models = models.map(|model| number(&mut contents, model)).collect();
        let datasets = datasets.iter().map(PinnedDataset::digest);
        let datasets = datasets
            .map(|dataset| number(&mut contents, dataset))
            .collect();
        Self {
            models,
            datasets,
            contents,
            settings: HashMap::new(),
            resolved: HashMap::new(),
            ramps: HashMap::new(),
            ramps_of: HashMap::new(),
            measurements: HashMap::new(),
            trainings: HashMap::new(),
            evaluations: HashMap::new(),
        }
    }

    fn add(&mut self, layout: &mut Layout, rules: &Cells<'_>, place: Place) {
        let settings = self.settings(layout, rules, &place);
        let cell = index(layout.cells.len());
        let numbers = TrainingNumbers {
            model: self.models[place.model as usize],
            dataset: self.datasets[place.dataset as usize],
            settings: self.resolved(layout, &place, settings),
            ramp: self.ramp(layout, &place, settings),
            seed: layout.spec.seeds[place.seed as usize],
        };
        let train = *self.trainings.entry(numbers).or_insert_with(|| {
            push(
                &mut layout.jobs,
                Job {
                    cell,
                    evaluation: None,
                    depends_on: None,
                },
            )
        });
        layout.cells.push(Cell {
            place,
            train,
            settings,
        });
        for evaluation in 0..index(layout.spec.evaluations.len()) {
            let measurement = self.measurement(layout, &place, evaluation);
            let pair = (train, measurement);
            let job = *self.evaluations.entry(pair).or_insert_with(|| {
                push(
                    &mut layout.jobs,
                    Job {
                        cell,
                        evaluation: Some(evaluation),
                        depends_on: Some(train),
                    },
                )
            });
            layout.evaluations.push(job);
        }
    }

    /// Index of a cell's settings among the layout's.
    fn settings(&mut self, layout: &mut Layout, rules: &Cells<'_>, place: &Place) -> u32 {
        let which = (place.hyperparameters, rules.overrides_of(place));
        *self
            .settings
            .entry(which)
            .or_insert_with(|| push(&mut layout.settings, rules.settings(which.0, which.1)))
    }

    /// Number of settings as they are on a dataset.
    fn resolved(&mut self, layout: &Layout, place: &Place, settings: u32) -> u32 {
        let contents = &mut self.contents;
        let resolve = || {
            let dataset = &layout.datasets[place.dataset as usize];
            let settings = &layout.settings[settings as usize];
            let data = settings.data.of(dataset);
            let parts = (&settings.hyperparameters, &settings.training, &data);
            number(contents, key::digest_of(&parts))
        };
        let which = (settings, place.dataset);
        *self.resolved.entry(which).or_insert_with(resolve)
    }

    fn ramp(&mut self, layout: &Layout, place: &Place, settings: u32) -> u32 {
        let epochs = layout.settings[settings as usize].training.epochs;
        let ramps = &mut self.ramps;
        let which = (place.schedule, place.target, epochs);
        *self.ramps_of.entry(which).or_insert_with(|| {
            let schedule = layout.spec.schedules[place.schedule as usize];
            let target = layout.spec.target_epsilons[place.target as usize];
            number(ramps, schedule.ramp(target, epochs))
        })
    }

    fn measurement(&mut self, layout: &Layout, place: &Place, evaluation: u32) -> u32 {
        let contents = &mut self.contents;
        let which = (evaluation, place.target, place.dataset);
        *self.measurements.entry(which).or_insert_with(|| {
            let settings = &layout.spec.evaluations[evaluation as usize];
            let target = layout.spec.target_epsilons[place.target as usize];
            let dataset = &layout.datasets[place.dataset as usize];
            let measurement = Measurement::of(settings, target, dataset);
            number(contents, key::digest_of(&measurement))
        })
    }
}

/// The number of a value, a new one for a new value.
fn number<T: Eq + Hash>(numbers: &mut HashMap<T, u32>, value: T) -> u32 {
    let next = index(numbers.len());
    *numbers.entry(value).or_insert(next)
}

/// Appends a value and gives its index.
fn push<T>(list: &mut Vec<T>, value: T) -> u32 {
    list.push(value);
    index(list.len() - 1)
}

/// Sweeps are bounded far below 2^32 of anything.
fn index(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
