//! What a job goes on from.

use bytes::Bytes;
use temper_service::{objects::ObjectsError, status};
use temper_torch::TorchError;

use crate::{JobError, assignment::Object, report::Reports};

/// What a job may start from, the best first: its checkpoints, which come newest first, then
/// nothing.
pub(crate) struct Starts<'a> {
    checkpoints: std::slice::Iter<'a, Object>,
    reports: &'a Reports,
}

impl<'a> Starts<'a> {
    pub(crate) fn new(checkpoints: &'a [Object], reports: &'a Reports) -> Self {
        Self {
            checkpoints: checkpoints.iter(),
            reports,
        }
    }

    /// The bytes of the next checkpoint that is whole; none when the job is to start anew.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, JobError> {
        for object in self.checkpoints.by_ref() {
            if let Some(bytes) = whole(self.reports, object).await? {
                tracing::info!(checkpoint = object.path, "resuming");
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }
}

/// Whether what a job ended with says that its checkpoint cannot be used, and the one before may.
pub(crate) fn is_unusable<T>(result: &Result<T, JobError>) -> bool {
    let unusable = matches!(result, Err(JobError::Torch(TorchError::BadCheckpoint(_))));
    if let (true, Err(error)) = (unusable, result) {
        tracing::warn!(error = status::chain(error), "trying the checkpoint before");
    }
    unusable
}

/// The checkpoint's bytes; none when it is torn or gone.
async fn whole(reports: &Reports, object: &Object) -> Result<Option<Bytes>, JobError> {
    match reports.fetch(object).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(JobError::Objects(
            error @ (ObjectsError::Torn { .. } | ObjectsError::Missing { .. }),
        )) => {
            tracing::warn!(
                error = status::chain(&error),
                "trying the checkpoint before"
            );
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
