//! An assignment, read once at the edge.

use temper_core::{
    Digest,
    spec::{EvaluateSpec, JobSpec, TrainSpec},
};
use temper_proto::v1;

use crate::JobError;

/// What a lease asks for.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    /// The job's key: the folder in the object store for what it makes.
    pub key: Digest,
    pub task: Task,
}

#[derive(Debug, Clone)]
pub(crate) enum Task {
    /// Fine-tune, from the first checkpoint that is whole.
    Train {
        spec: Box<TrainSpec>,
        checkpoints: Vec<Object>,
    },
    /// Measure what a training made.
    Evaluate {
        spec: Box<EvaluateSpec>,
        artifact: Object,
    },
}

/// Something in the object store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    pub path: String,
    pub sha256: Digest,
    pub size: u64,
}

impl Work {
    /// Reads `assignment`.
    pub(crate) fn read(assignment: &v1::Assignment) -> Result<Self, JobError> {
        let unreadable = |what: String| JobError::Assignment(what);
        let key = assignment
            .key
            .parse()
            .map_err(|error| unreadable(format!("key: {error}")))?;
        let spec = assignment
            .spec
            .as_ref()
            .ok_or_else(|| unreadable("it has no spec".into()))?;
        let task = match JobSpec::try_from(spec).map_err(|error| unreadable(error.to_string()))? {
            JobSpec::Train(spec) => {
                let checkpoints = assignment.checkpoints.iter();
                let checkpoints = checkpoints
                    .map(|found| object(&found.path, &found.sha256, found.size))
                    .collect::<Result<_, _>>()?;
                Task::Train {
                    spec: Box::new(spec),
                    checkpoints,
                }
            }
            JobSpec::Evaluate(spec) => {
                let found = assignment.artifact.as_ref();
                let found = found.ok_or_else(|| unreadable("it has no artifact".into()))?;
                let artifact = object(&found.path, &found.sha256, found.size)?;
                Task::Evaluate {
                    spec: Box::new(spec),
                    artifact,
                }
            }
        };
        Ok(Self { key, task })
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
