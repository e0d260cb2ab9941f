//! Rules of a sweep: which points of its axes are left out, and which take other settings.

use std::{collections::HashSet, fmt::Display, hash::Hash};

use serde::{Deserialize, Serialize};

use crate::{
    Epsilon, Violations,
    schedule::Schedule,
    spec::{DataRequest, Hyperparameters, Precision, SweepSpec, TrainingSettings},
};

/// Most rules of a kind in one sweep.
pub const MAX_RULES: usize = 64;

/// Which cells a rule is about: those whose value on every axis that it names is one of the named.
/// An axis without values stands for all of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CellMatch {
    /// Catalog names of models.
    pub models: Vec<String>,
    /// Catalog names of datasets.
    pub datasets: Vec<String>,
    /// Schedules.
    pub schedules: Vec<Schedule>,
    /// Target strengths.
    pub target_epsilons: Vec<Epsilon>,
    /// Seeds.
    pub seeds: Vec<u64>,
    /// Indices into the sweep's hyper-parameters.
    pub hyperparameters: Vec<u32>,
}

/// Values that an answer names at most.
const NAMED: usize = 10;

impl CellMatch {
    /// Adds what names no value on the axes of `spec`: a slip of the pen, after which nothing would
    /// be meant, in silence.
    pub fn check(&self, field: &str, spec: &SweepSpec, violations: &mut Violations) {
        let indices: Vec<u32> = (0_u32..).take(spec.hyperparameters.len()).collect();
        let axis = |name: &str| format!("{field}.{name}");
        check_known(&axis("models"), (&self.models, &spec.models), violations);
        check_known(
            &axis("datasets"),
            (&self.datasets, &spec.datasets),
            violations,
        );
        let schedules = (&self.schedules[..], &spec.schedules[..]);
        check_known(&axis("schedules"), schedules, violations);
        let targets = (&self.target_epsilons[..], &spec.target_epsilons[..]);
        check_known(&axis("target_epsilons"), targets, violations);
        check_known(&axis("seeds"), (&self.seeds, &spec.seeds), violations);
        let hyperparameters = (&self.hyperparameters[..], &indices[..]);
        check_known(&axis("hyperparameters"), hyperparameters, violations);
    }
}

/// Adds a violation for each of the values that is not on the axis.
fn check_known<T: Eq + Hash + Display>(
    field: &str,
    (values, axis): (&[T], &[T]),
    violations: &mut Violations,
) {
    if values.is_empty() {
        return;
    }
    let known: HashSet<&T> = axis.iter().collect();
    for (i, value) in values.iter().enumerate() {
        violations.require(known.contains(value), &format!("{field}[{i}]"), || {
            let named: Vec<_> = axis.iter().take(NAMED).map(ToString::to_string).collect();
            let more = if axis.len() > NAMED { ", …" } else { "" };
            format!("the sweep has no `{value}`, but {}{more}", named.join(", "))
        });
    }
}

/// Other settings for some cells. Where several rules speak of one setting the last has its way.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Override {
    /// Which cells.
    pub cells: CellMatch,
    /// What they take instead.
    pub settings: Patch,
}

/// Settings that an override gives; what is absent stays as it was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Patch {
    /// As [`Hyperparameters::learning_rate`].
    pub learning_rate: Option<f64>,
    /// As [`Hyperparameters::head_learning_rate`].
    pub head_learning_rate: Option<f64>,
    /// As [`Hyperparameters::weight_decay`].
    pub weight_decay: Option<f64>,
    /// As [`Hyperparameters::batch_size`].
    pub batch_size: Option<u32>,
    /// As [`TrainingSettings::micro_batch_size`].
    pub micro_batch_size: Option<u32>,
    /// As [`TrainingSettings::epochs`].
    pub epochs: Option<u32>,
    /// As [`TrainingSettings::precision`].
    pub precision: Option<Precision>,
    /// As [`TrainingSettings::drop_path`].
    pub drop_path: Option<f64>,
    /// As [`DataRequest::image_size`].
    pub image_size: Option<u32>,
    /// As [`DataRequest::train_samples`].
    pub train_samples: Option<u32>,
    /// As [`DataRequest::validation_samples`].
    pub validation_samples: Option<u32>,
}

/// What a cell trains with, after all rules.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Optimiser.
    pub hyperparameters: Hyperparameters,
    /// Training.
    pub training: TrainingSettings,
    /// Images.
    pub data: DataRequest,
}

impl Patch {
    /// Whether it gives nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The numbers of which there are such as are not finite, by the names of their fields.
    #[must_use]
    pub fn numbers(&self) -> [(&'static str, Option<f64>); 4] {
        [
            ("learning_rate", self.learning_rate),
            ("head_learning_rate", self.head_learning_rate),
            ("weight_decay", self.weight_decay),
            ("drop_path", self.drop_path),
        ]
    }

    /// The same without numbers that are not finite.
    #[must_use]
    pub fn finite(&self) -> Self {
        let finite = |number: Option<f64>| number.filter(|number| number.is_finite());
        Self {
            learning_rate: finite(self.learning_rate),
            head_learning_rate: finite(self.head_learning_rate),
            weight_decay: finite(self.weight_decay),
            drop_path: finite(self.drop_path),
            ..*self
        }
    }

    /// `settings` with what is given here.
    #[must_use]
    pub fn applied_to(&self, settings: Settings) -> Settings {
        let Settings {
            mut hyperparameters,
            mut training,
            mut data,
        } = settings;
        set(&mut hyperparameters.learning_rate, self.learning_rate);
        set(
            &mut hyperparameters.head_learning_rate,
            self.head_learning_rate,
        );
        set(&mut hyperparameters.weight_decay, self.weight_decay);
        set(&mut hyperparameters.batch_size, self.batch_size);
        set(&mut training.micro_batch_size, self.micro_batch_size);
        set(&mut training.epochs, self.epochs);
        set(&mut training.precision, self.precision);
        set(&mut training.drop_path, self.drop_path);
        set(&mut data.image_size, self.image_size);
        set(&mut data.train_samples, self.train_samples);
        if self.validation_samples.is_some() {
            data.validation_samples = self.validation_samples;
        }
        Settings {
            hyperparameters,
            training,
            data,
        }
    }
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

/// A point of the axes, by the index on each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Index of the model.
    pub model: u32,
    /// Index of the dataset.
    pub dataset: u32,
    /// Index of the hyper-parameters.
    pub hyperparameters: u32,
    /// Index of the target strength.
    pub target: u32,
    /// Index of the schedule.
    pub schedule: u32,
    /// Index of the seed.
    pub seed: u32,
}

/// The cells of a sweep: the product of its axes in their order, the seeds running fastest, less
/// what is excluded.
#[derive(Debug)]
pub struct Cells<'a> {
    spec: &'a SweepSpec,
    exclude: Vec<Matcher>,
    overrides: Vec<Matcher>,
}

impl<'a> Cells<'a> {
    /// Makes the rules of `spec` ready.
    #[must_use]
    pub fn of(spec: &'a SweepSpec) -> Self {
        let matcher = |cells: &CellMatch| Matcher::of(cells, spec);
        Self {
            spec,
            exclude: spec.exclude.iter().map(matcher).collect(),
            overrides: spec
                .overrides
                .iter()
                .map(|rule| matcher(&rule.cells))
                .collect(),
        }
    }

    /// The cells.
    pub fn places(&self) -> impl Iterator<Item = Place> {
        self.product()
            .filter(|place| !self.exclude.iter().any(|rule| rule.covers(place)))
    }

    /// Which overrides speak of a cell: bit `i` stands for the rule with index `i`.
    #[must_use]
    pub fn overrides_of(&self, place: &Place) -> u64 {
        let rules = self.overrides.iter().take(MAX_RULES).enumerate();
        rules
            .filter(|(_, rule)| rule.covers(place))
            .fold(0, |mask, (i, _)| mask | 1 << i)
    }

    /// What cells with these hyper-parameters train with of whom these overrides speak.
    #[must_use]
    pub fn settings(&self, hyperparameters: u32, overrides: u64) -> Settings {
        let spec = self.spec;
        let base = Settings {
            hyperparameters: spec.hyperparameters[hyperparameters as usize],
            training: spec.training,
            data: spec.data,
        };
        let rules = spec.overrides.iter().take(MAX_RULES).enumerate();
        rules
            .filter(|(i, _)| overrides & 1 << i != 0)
            .fold(base, |settings, (_, rule)| {
                rule.settings.applied_to(settings)
            })
    }

    /// Every point of the axes, excluded ones too.
    fn product(&self) -> impl Iterator<Item = Place> {
        (0..points(self.spec)).map(|index| self.place(index))
    }

    /// The point with this number: a digit for each axis, the seeds' the lowest.
    fn place(&self, index: usize) -> Place {
        let mut rest = index;
        let mut digit = |length: usize| {
            let digit = rest % length;
            rest /= length;
            // Lists of more than 2^32 values do not fit in a request.
            u32::try_from(digit).unwrap_or(u32::MAX)
        };
        let spec = self.spec;
        let seed = digit(spec.seeds.len());
        let schedule = digit(spec.schedules.len());
        let target = digit(spec.target_epsilons.len());
        let hyperparameters = digit(spec.hyperparameters.len());
        let dataset = digit(spec.datasets.len());
        let model = digit(spec.models.len());
        Place {
            model,
            dataset,
            hyperparameters,
            target,
            schedule,
            seed,
        }
    }
}

/// Points of the axes, excluded ones too.
#[must_use]
pub fn points(spec: &SweepSpec) -> usize {
    lengths(spec).into_iter().fold(1, usize::saturating_mul)
}

/// Points of those axes that have any: no axis is longer than this.
#[must_use]
pub fn span(spec: &SweepSpec) -> usize {
    let lengths = lengths(spec).into_iter();
    lengths
        .filter(|length| *length > 0)
        .fold(1, usize::saturating_mul)
}

fn lengths(spec: &SweepSpec) -> [usize; 6] {
    [
        spec.models.len(),
        spec.datasets.len(),
        spec.schedules.len(),
        spec.target_epsilons.len(),
        spec.seeds.len(),
        spec.hyperparameters.len(),
    ]
}

/// A rule's cells, by the index on each axis; none: every value.
#[derive(Debug)]
struct Matcher {
    models: Option<Vec<bool>>,
    datasets: Option<Vec<bool>>,
    schedules: Option<Vec<bool>>,
    targets: Option<Vec<bool>>,
    seeds: Option<Vec<bool>>,
    hyperparameters: Option<Vec<bool>>,
}

impl Matcher {
    fn of(cells: &CellMatch, spec: &SweepSpec) -> Self {
        let indices: Vec<u32> = (0_u32..).take(spec.hyperparameters.len()).collect();
        Self {
            models: named(&spec.models, &cells.models),
            datasets: named(&spec.datasets, &cells.datasets),
            schedules: named(&spec.schedules, &cells.schedules),
            targets: named(&spec.target_epsilons, &cells.target_epsilons),
            seeds: named(&spec.seeds, &cells.seeds),
            hyperparameters: named(&indices, &cells.hyperparameters),
        }
    }

    fn covers(&self, place: &Place) -> bool {
        let covers = |axis: &Option<Vec<bool>>, index: u32| {
            axis.as_ref().is_none_or(|axis| axis[index as usize])
        };
        covers(&self.models, place.model)
            && covers(&self.datasets, place.dataset)
            && covers(&self.schedules, place.schedule)
            && covers(&self.targets, place.target)
            && covers(&self.seeds, place.seed)
            && covers(&self.hyperparameters, place.hyperparameters)
    }
}

/// Which values of an axis are named; none when no name is.
fn named<T: Eq + Hash>(axis: &[T], names: &[T]) -> Option<Vec<bool>> {
    let names: HashSet<&T> = names.iter().collect();
    (!names.is_empty()).then(|| axis.iter().map(|value| names.contains(value)).collect())
}
