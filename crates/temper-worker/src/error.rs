//! Why a job ends without a result.

use temper_core::{ErrorKind, job::FailureClass};
use temper_data::DataError;
use temper_service::objects::ObjectsError;
use temper_torch::TorchError;

use crate::{engine::Panicked, report::ReportError};

/// Why a job ends without a result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JobError {
    /// The assignment makes no sense to this worker.
    #[error("the assignment cannot be read: {0}")]
    Assignment(String),
    /// Images or weights.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Training or evaluation.
    #[error(transparent)]
    Torch(#[from] TorchError),
    /// Checkpoints or artifacts.
    #[error(transparent)]
    Objects(#[from] ObjectsError),
    /// A defect in what ran on the libtorch thread.
    #[error(transparent)]
    Engine(#[from] Panicked),
    /// A defect in what read images.
    #[error("reading images panicked: {0}")]
    Reader(String),
    /// The coordinator takes no more reports.
    #[error(transparent)]
    Report(#[from] ReportError),
}

impl JobError {
    /// How the attempt failed; none when the lease is over and there is nobody to tell.
    #[must_use]
    pub(crate) fn class(&self) -> Option<FailureClass> {
        let kind = match self {
            Self::Report(ReportError::LeaseOver) => return None,
            // Damaged bytes are a matter of input wherever they lie.
            Self::Objects(ObjectsError::Torn { .. }) => ErrorKind::InvalidInput,
            Self::Assignment(_) | Self::Engine(_) | Self::Reader(_) | Self::Report(_) => {
                ErrorKind::Internal
            }
            Self::Data(error) => error.kind(),
            Self::Torch(error) => error.kind(),
            Self::Objects(error) => error.kind(),
        };
        Some(match kind {
            ErrorKind::InvalidInput | ErrorKind::NotFound => FailureClass::BadInput,
            ErrorKind::OutOfMemory => FailureClass::OutOfMemory,
            ErrorKind::Diverged => FailureClass::Diverged,
            ErrorKind::Unavailable => FailureClass::Infrastructure,
            ErrorKind::AlreadyExists
            | ErrorKind::FailedPrecondition
            | ErrorKind::Conflict
            | ErrorKind::LeaseLost
            | ErrorKind::Internal => FailureClass::Code,
        })
    }

    /// What the device said, where it failed for all that this process could still do on it.
    #[must_use]
    pub(crate) fn of_device(&self) -> Option<&str> {
        match self {
            Self::Torch(TorchError::Device(said)) => Some(said),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use temper_service::status;

    use super::*;

    #[test]
    fn errors_fall_into_the_class_whose_retry_policy_fits() {
        let torn = ObjectsError::Torn {
            path: "key/1/model.safetensors".to_owned(),
            found: "3 bytes".to_owned(),
            expected: "9 bytes".to_owned(),
        };
        let refused = ReportError::Refused(tonic::Status::invalid_argument("gaps"));
        for (error, class) in [
            (
                TorchError::Diverged {
                    step: 3,
                    checkpoint: Some(2),
                }
                .into(),
                FailureClass::Diverged,
            ),
            (
                TorchError::OutOfMemory("2 GiB".to_owned()).into(),
                FailureClass::OutOfMemory,
            ),
            (
                TorchError::Device("CUDA error".to_owned()).into(),
                FailureClass::Infrastructure,
            ),
            (
                TorchError::Torch("shape".to_owned()).into(),
                FailureClass::Code,
            ),
            (
                TorchError::BadInput("no images".to_owned()).into(),
                FailureClass::BadInput,
            ),
            (JobError::Objects(torn), FailureClass::BadInput),
            (Panicked("index".to_owned()).into(), FailureClass::Code),
            (refused.into(), FailureClass::Code),
        ] {
            let error: JobError = error;
            assert_eq!(error.class(), Some(class), "{error}");
        }
        assert_eq!(JobError::from(ReportError::LeaseOver).class(), None);
    }

    #[test]
    fn message_names_the_file_and_the_reason() {
        let source = std::io::Error::other("input/output error");
        let file = "weights.safetensors".to_owned();
        let error = JobError::from(TorchError::Unreadable { file, source });
        assert_eq!(error.class(), Some(FailureClass::Infrastructure));
        assert_eq!(
            status::chain(&error),
            "cannot read weights.safetensors: input/output error"
        );
    }
}
