//! An assignment, read once at the edge.

use std::sync::Arc;

use temper_core::{
    Digest,
    spec::{EvaluateSpec, JobSpec, TrainSpec},
};
use temper_proto::v1;

use crate::JobError;

/// What a lease asks for.
#[derive(Debug, Clone)]
pub(crate) enum Task {
    Train(TrainTask),
    Evaluate(EvaluateTask),
}

/// Fine-tune, from the first checkpoint that is whole.
#[derive(Debug, Clone)]
pub(crate) struct TrainTask {
    /// The job's key: the folder in the object store for what it makes.
    pub key: Digest,
    pub spec: Arc<TrainSpec>,
    /// Newest first.
    pub checkpoints: Vec<Object>,
}

/// Measure what a training made, from the first checkpoint that is whole.
#[derive(Debug, Clone)]
pub(crate) struct EvaluateTask {
    /// The job's key: the folder in the object store for what it makes.
    pub key: Digest,
    pub spec: Arc<EvaluateSpec>,
    pub artifact: Object,
    /// Newest first.
    pub checkpoints: Vec<Object>,
}

/// Something in the object store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    pub path: String,
    pub sha256: Digest,
    pub size: u64,
}

impl Task {
    /// Reads `assignment`.
    pub(crate) fn read(assignment: &v1::Assignment) -> Result<Self, JobError> {
        let unreadable = |what: String| JobError::Assignment(what);
        let spec = assignment
            .spec
            .as_ref()
            .ok_or_else(|| unreadable("it has no spec".into()))?;
        let key = assignment.key.parse();
        let key = key.map_err(|error| unreadable(format!("its key: {error}")))?;
        let checkpoints = assignment.checkpoints.iter();
        let checkpoints = checkpoints
            .map(|found| object(&found.path, &found.sha256, found.size))
            .collect::<Result<_, _>>()?;
        match JobSpec::try_from(spec).map_err(|error| unreadable(error.to_string()))? {
            JobSpec::Train(spec) => Ok(Self::Train(TrainTask {
                key,
                spec: Arc::new(spec),
                checkpoints,
            })),
            JobSpec::Evaluate(spec) => {
                let found = assignment.artifact.as_ref();
                let found = found.ok_or_else(|| unreadable("it has no artifact".into()))?;
                let artifact = object(&found.path, &found.sha256, found.size)?;
                Ok(Self::Evaluate(EvaluateTask {
                    key,
                    spec: Arc::new(spec),
                    artifact,
                    checkpoints,
                }))
            }
        }
    }
}

fn object(path: &str, sha256: &str, size: i64) -> Result<Object, JobError> {
    let unreadable = |reason: String| JobError::Assignment(format!("`{path}`: {reason}"));
    Ok(Object {
        path: path.to_owned(),
        sha256: sha256
            .parse()
            .map_err(|error| unreadable(format!("{error}")))?,
        size: size
            .try_into()
            .map_err(|_| unreadable(format!("{size} is no length")))?,
    })
}
