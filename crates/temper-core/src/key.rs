//! Content-addressed keys: SHA-256 of the canonical JSON (RFC 8785) of all that determines a
//! result. Two sweeps that contain one key share one job.

use serde::Serialize;

use crate::{
    Digest,
    catalog::{Layout, Normalisation, PinnedDataset, PinnedModel, Scripted, Source},
    expand::{Measurement, Training},
    schedule::Ramp,
    spec::{
        DataSettings, EvaluateSpec, Hyperparameters, JobSpec, RESULT_VERSION, TrainSpec,
        TrainingSettings, ValidationSettings,
    },
};

/// What determines a training job's accepted result: weights and epoch rows. Neither names nor
/// places: the same bytes under another name are the same training.
#[derive(Serialize)]
struct TrainingDocument<'a> {
    kind: &'static str,
    result_version: u32,
    #[serde(flatten)]
    model: ModelDocument<'a>,
    dataset: Digest,
    ramp: Ramp,
    hyperparameters: Hyperparameters,
    training: TrainingSettings,
    data: DataSettings,
    validation: ValidationSettings,
    seed: u64,
}

/// What determines an evaluation's accepted result. The model is named by the key of its training,
/// since its digest is not known before it is trained.
#[derive(Serialize)]
struct EvaluationDocument<'a> {
    kind: &'static str,
    result_version: u32,
    training: Digest,
    #[serde(flatten)]
    measurement: &'a Measurement<'a>,
    split: &'static str,
}

/// What of a model determines what is trained from it.
#[derive(Serialize)]
struct ModelDocument<'a> {
    architecture: &'a str,
    weights: Digest,
    prefix: &'a str,
    scripted: Option<Scripted>,
    normalisation: Normalisation,
}

impl<'a> ModelDocument<'a> {
    fn of(model: &'a PinnedModel) -> Self {
        Self {
            architecture: &model.architecture,
            weights: model.content(),
            prefix: &model.prefix,
            scripted: model.scripted,
            normalisation: model.normalisation,
        }
    }
}

/// What determines a dataset's samples.
#[derive(Serialize)]
struct DatasetDocument<'a> {
    classes: u32,
    format: &'static str,
    /// Of folders alone.
    layout: Option<Layout>,
    files: Vec<Digest>,
    /// Files of each split, where one kind of file serves several.
    split: Vec<usize>,
    columns: Vec<&'a str>,
    /// Images that become the test split, where there are no official splits.
    pooled_test: Option<u32>,
}

/// The key of a job.
#[must_use]
pub fn job_key(spec: &JobSpec) -> Digest {
    match spec {
        JobSpec::Train(spec) => training_key(spec),
        JobSpec::Evaluate(spec) => evaluation_key(spec),
    }
}

/// The training key.
#[must_use]
pub fn training_key(spec: &TrainSpec) -> Digest {
    let training = Training {
        model: &spec.model,
        dataset: &spec.dataset,
        ramp: spec.ramp,
        hyperparameters: spec.hyperparameters,
        training: spec.training,
        data: spec.data,
        validation: spec.validation,
        seed: spec.seed,
    };
    training_key_on(&training, spec.dataset.digest())
}

/// The training key, where the dataset's digest is known already.
#[must_use]
pub fn training_key_on(training: &Training<'_>, dataset: Digest) -> Digest {
    digest_of(&TrainingDocument {
        kind: "train",
        result_version: RESULT_VERSION,
        model: ModelDocument::of(training.model),
        dataset,
        ramp: training.ramp,
        hyperparameters: training.hyperparameters,
        training: training.training,
        data: training.data,
        validation: training.validation,
        seed: training.seed,
    })
}

/// The evaluation key.
#[must_use]
pub fn evaluation_key(spec: &EvaluateSpec) -> Digest {
    let measurement = Measurement {
        attacks: &spec.attacks,
        model: spec.model,
        grid: spec.grid.clone(),
        mode: spec.mode,
        samples: spec.samples,
        seed: spec.seed,
    };
    measurement_key(&measurement, training_key(&spec.train))
}

/// The evaluation key, where the key of the training is known already.
#[must_use]
pub fn measurement_key(measurement: &Measurement<'_>, training: Digest) -> Digest {
    digest_of(&EvaluationDocument {
        kind: "evaluate",
        result_version: RESULT_VERSION,
        training,
        measurement,
        split: "test",
    })
}

/// Digest of what a model brings to the key of its trainings.
pub(crate) fn model_digest(model: &PinnedModel) -> Digest {
    digest_of(&ModelDocument::of(model))
}

/// The digest of any value's canonical JSON.
///
/// # Panics
/// When the value holds a number that JSON lacks (NaN, an infinity) or a map key that is no
/// string: the domain's types hold neither once validated.
#[must_use]
pub fn digest_of<T: Serialize>(value: &T) -> Digest {
    #[expect(clippy::expect_used, reason = "validated values have a JSON form")]
    let json = serde_json_canonicalizer::to_vec(value).expect("the value has a JSON form");
    Digest::of(&json)
}

pub(crate) fn dataset_digest(dataset: &PinnedDataset) -> Digest {
    let (format, layout, split, columns) = match &dataset.source {
        Source::Idx { .. } => ("idx", None, Vec::new(), Vec::new()),
        Source::Parquet {
            train,
            validation,
            test,
            image_column,
            label_column,
            ..
        } => (
            "parquet",
            None,
            vec![train.len(), validation.len(), test.len()],
            vec![image_column.as_str(), label_column.as_str()],
        ),
        Source::Folder { layout, list, .. } => {
            let list = list.as_deref().into_iter().collect();
            ("folder", Some(*layout), Vec::new(), list)
        }
    };
    digest_of(&DatasetDocument {
        classes: dataset.classes,
        format,
        layout,
        files: dataset.source.contents().unwrap_or_default(),
        split,
        columns,
        pooled_test: dataset.counts.all.and(dataset.draw.test),
    })
}
