//! Content-addressed keys: SHA-256 of the canonical JSON (RFC 8785) of all that determines a
//! result. Two sweeps that contain one key share one job.

use serde::Serialize;

use crate::{
    Digest, Epsilon,
    attack::Attack,
    catalog::{Layout, Normalisation, PinnedDataset, Scripted, Source},
    schedule::Ramp,
    spec::{
        CurveMode, DataSettings, EvaluateSpec, Hyperparameters, JobSpec, RESULT_VERSION, Selection,
        TrainSpec, TrainingSettings, ValidationSettings,
    },
};

/// What determines a training job's accepted result: weights and epoch rows. Neither names nor
/// places: the same bytes under another name are the same training.
#[derive(Serialize)]
struct TrainingDocument<'a> {
    kind: &'static str,
    result_version: u32,
    architecture: &'a str,
    weights: Digest,
    prefix: &'a str,
    scripted: Option<Scripted>,
    normalisation: Normalisation,
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
    attacks: &'a [Attack],
    model: Selection,
    grid: &'a [Epsilon],
    mode: CurveMode,
    split: &'static str,
    samples: u32,
    seed: u64,
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
    digest_of(&TrainingDocument {
        kind: "train",
        result_version: RESULT_VERSION,
        architecture: &spec.model.architecture,
        weights: spec.model.content(),
        prefix: &spec.model.prefix,
        scripted: spec.model.scripted,
        normalisation: spec.model.normalisation,
        dataset: spec.dataset.digest(),
        ramp: spec.ramp,
        hyperparameters: spec.hyperparameters,
        training: spec.training,
        data: spec.data,
        validation: spec.validation,
        seed: spec.seed,
    })
}

/// The evaluation key.
#[must_use]
pub fn evaluation_key(spec: &EvaluateSpec) -> Digest {
    digest_of(&EvaluationDocument {
        kind: "evaluate",
        result_version: RESULT_VERSION,
        training: training_key(&spec.train),
        attacks: &spec.attacks,
        model: spec.model,
        grid: &spec.grid,
        mode: spec.mode,
        split: "test",
        samples: spec.samples,
        seed: spec.seed,
    })
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
