//! What can go wrong here, and what a caller can do about it.

use std::io;

use temper_core::ErrorKind;

use crate::engine::THROWN;

/// What messages hold that tell of too little memory, in small letters.
const NO_MEMORY: [&str; 6] = [
    "out of memory",
    "can't allocate memory",
    "can\\'t allocate memory",
    // cuBLAS and cuDNN; the second is what cuDNN calls it from version 9 on.
    "_status_alloc_failed",
    "_allocation_failed",
    "std::bad_alloc",
];

/// The same of a device that failed. An error of CUDA's stays: the process has no other context.
const BROKEN: [&str; 8] = [
    "cuda error:",
    "cuda driver error:",
    "cuda runtime error",
    // cuBLAS, cuDNN and their like.
    "_status_execution_failed",
    "_status_not_initialized",
    "_status_internal_error",
    "uncorrectable ecc",
    "fallen off the bus",
];

/// The same of CUDA's errors that refuse one call and leave the device as it was.
const BAD_CALL: [&str; 5] = [
    "invalid argument",
    "invalid configuration argument",
    "too many resources requested for launch",
    "_status_invalid_value",
    "_status_not_supported",
];

/// An error of training, evaluation or model loading.
#[derive(Debug, thiserror::Error)]
pub enum TorchError {
    /// A weights file that cannot be read from disk.
    #[error("cannot read {file}")]
    Unreadable {
        /// The file.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// Bytes that are no sound safetensors: damaged, truncated, or of an unknown number format.
    #[error("{file} is damaged or no safetensors file: {reason}")]
    Damaged {
        /// The file, or what the bytes are.
        file: String,
        /// What the parser says.
        reason: String,
    },
    /// Weights without tensors that the architecture needs.
    #[error("{file} lacks {}", .names.join(", "))]
    MissingTensors {
        /// The file, or what the bytes are.
        file: String,
        /// Names of the tensors, all of them.
        names: Vec<String>,
    },
    /// A tensor of a wrong shape.
    #[error("{file}: {name} has shape {found:?}, {wanted:?} is wanted")]
    Shape {
        /// The file, or what the bytes are.
        file: String,
        /// Name of the tensor.
        name: String,
        /// Its shape.
        found: Vec<i64>,
        /// The architecture's shape.
        wanted: Vec<i64>,
    },
    /// An architecture that is not built here.
    #[error("unknown architecture `{name}`: known are {known}")]
    UnknownArchitecture {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// An image size that an architecture does not take.
    #[error("{architecture} cannot use images of {size} pixels a side: {reason}")]
    ImageSize {
        /// The architecture.
        architecture: String,
        /// The size asked for.
        size: u32,
        /// Why not, and what would do.
        reason: String,
    },
    /// A scripted module that cannot be loaded, or not be trained.
    #[error("the scripted module {file} cannot be used: {reason}")]
    Module {
        /// The file.
        file: String,
        /// Why not, and what would do.
        reason: String,
    },
    /// A device that does not exist, or is not there.
    #[error("no device `{0}`: cpu, or cuda:N with N below the count of GPUs that libtorch sees")]
    UnknownDevice(String),
    /// Images, labels or settings that cannot be worked with.
    #[error("{0}")]
    BadInput(String),
    /// A checkpoint that is damaged, or of another job: an older one may do.
    #[error("the checkpoint cannot be used: {0}")]
    BadCheckpoint(String),
    /// Logits that are not finite, seen outside of training.
    #[error("the model's outputs are not finite")]
    NotFinite,
    /// Training reached a loss, or a gradient, that is not finite.
    #[error(
        "the loss or its gradient is not finite at step {step}; {}",
        last_checkpoint(*.checkpoint)
    )]
    Diverged {
        /// Optimiser steps done before it.
        step: u64,
        /// Steps done at the last checkpoint, where there is one.
        checkpoint: Option<u64>,
    },
    /// The thread that makes training batches could not start, or failed; what it said.
    #[error("training images cannot be loaded: {0}")]
    Loader(String),
    /// The device or host has too little memory.
    #[error("out of memory: {0}")]
    OutOfMemory(String),
    /// The device failed, and with it every later call of this process to it; the first line of the
    /// message. Another process may find it well.
    #[error("the device failed: {0}")]
    Device(String),
    /// Any other failure inside libtorch or this crate; the first line of its message.
    #[error("libtorch: {0}")]
    Torch(String),
}

impl TorchError {
    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Unreadable { source, .. } if source.kind() != io::ErrorKind::NotFound => {
                ErrorKind::Unavailable
            }
            Self::Unreadable { .. }
            | Self::Damaged { .. }
            | Self::MissingTensors { .. }
            | Self::Shape { .. }
            | Self::UnknownArchitecture { .. }
            | Self::ImageSize { .. }
            | Self::Module { .. }
            | Self::UnknownDevice(_)
            | Self::BadInput(_) => ErrorKind::InvalidInput,
            Self::BadCheckpoint(_) => ErrorKind::FailedPrecondition,
            Self::NotFinite | Self::Diverged { .. } => ErrorKind::Diverged,
            Self::OutOfMemory(_) => ErrorKind::OutOfMemory,
            Self::Device(_) => ErrorKind::Unavailable,
            Self::Loader(_) | Self::Torch(_) => ErrorKind::Internal,
        }
    }

    /// Sorts a message of libtorch or of a panic; what follows its first line is a C++ backtrace.
    pub(crate) fn from_message(message: &str) -> Self {
        let first = first_line(message).to_owned();
        let lower = message.to_lowercase();
        let has = |signs: &[&str]| signs.iter().any(|sign| lower.contains(sign));
        if has(&NO_MEMORY) {
            Self::OutOfMemory(first)
        } else if has(&BROKEN) && !has(&BAD_CALL) {
            Self::Device(first)
        } else {
            Self::Torch(first)
        }
    }
}

/// The first line of a message, less what tch and a panic put around it.
fn first_line(message: &str) -> &str {
    // A panic by `unwrap` shows the error in its debug form, with the line ends escaped.
    let text = message.strip_prefix(THROWN).unwrap_or(message);
    let first = text.split("\\n").next().unwrap_or(text);
    let first = first.lines().next().unwrap_or(text);
    first
        .trim_end_matches("\")")
        .trim_start_matches("Internal torch error: ")
}

fn last_checkpoint(step: Option<u64>) -> String {
    step.map_or_else(
        || "there is no checkpoint before".to_owned(),
        |step| format!("the last checkpoint is of step {step}"),
    )
}

impl From<tch::TchError> for TorchError {
    fn from(error: tch::TchError) -> Self {
        Self::from_message(&error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_of_libtorch_keeps_its_first_line() {
        let message = "called `Result::unwrap()` on an `Err` value: Torch(\"The size of tensor a \
                       (3) must match\\nException raised from infer_size\\nframe #0\")";
        let error = TorchError::from_message(message);
        assert_eq!(
            error.to_string(),
            "libtorch: The size of tensor a (3) must match"
        );
        assert_eq!(error.kind(), ErrorKind::Internal);
    }

    #[test]
    fn lack_of_memory_is_told_apart() {
        for message in [
            "CUDA out of memory. Tried to allocate 2.00 GiB",
            "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried",
            "Torch(\"DefaultCPUAllocator: can\\'t allocate memory\\nframe\")",
            "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported",
            "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
            "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
            "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
            "Internal torch error: std::bad_alloc",
        ] {
            let kind = TorchError::from_message(message).kind();
            assert_eq!(kind, ErrorKind::OutOfMemory, "{message}");
        }
    }

    #[test]
    fn device_that_fails_for_good_is_told_apart_and_named_by_one_line() {
        for what in [
            "CUDA error: an illegal memory access was encountered",
            "CUDA error: device-side assert triggered",
            "CUDA error: unspecified launch failure",
            "CUDA error: uncorrectable ECC error encountered",
            "CUDA driver error: unknown error",
            "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm( handle )`",
            "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
            "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
            "GPU 0000:3B:00.0 has fallen off the bus",
        ] {
            let thrown = format!("{THROWN}{what}\\nCompile with `TORCH_USE_CUDA_DSA`\\n\")");
            let returned = format!("Internal torch error: {what}\nCompile with\nframe #0");
            for message in [thrown, returned] {
                let error = TorchError::from_message(&message);
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{message}");
                assert_eq!(error.to_string(), format!("the device failed: {what}"));
            }
        }
    }

    #[test]
    fn call_that_the_device_refuses_is_a_defect_and_not_the_devices() {
        for message in [
            "CUDA error: invalid configuration argument\nCompile with `TORCH_USE_CUDA_DSA` to \
             enable device-side assertions.",
            "CUDA error: CUBLAS_STATUS_INVALID_VALUE when calling `cublasSgemm( handle )`",
            "cuDNN error: CUDNN_STATUS_BAD_PARAM",
            "Expected all tensors to be on the same device, but found cuda:0 and cpu",
        ] {
            let kind = TorchError::from_message(message).kind();
            assert_eq!(kind, ErrorKind::Internal, "{message}");
        }
    }
}
