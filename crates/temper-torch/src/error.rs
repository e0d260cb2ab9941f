//! What can go wrong here, and what a caller can do about it.

use std::io;

use temper_core::ErrorKind;

use crate::engine::THROWN;

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
            Self::Loader(_) | Self::Torch(_) => ErrorKind::Internal,
        }
    }

    /// Sorts a message of libtorch or of a panic; what follows its first line is a C++ backtrace.
    pub(crate) fn from_message(message: &str) -> Self {
        // A panic by `unwrap` shows the error in its debug form, with the line ends escaped.
        let text = message.strip_prefix(THROWN).unwrap_or(message);
        let first = text
            .split("\\n")
            .next()
            .unwrap_or(text)
            .lines()
            .next()
            .unwrap_or(text);
        let first = first
            .trim_end_matches("\")")
            .trim_start_matches("Internal torch error: ");
        let lower = message.to_lowercase();
        let signs = [
            "out of memory",
            "can't allocate memory",
            "can\\'t allocate memory",
        ];
        if signs.iter().any(|sign| lower.contains(sign)) {
            Self::OutOfMemory(first.to_owned())
        } else {
            Self::Torch(first.to_owned())
        }
    }
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
        ] {
            assert_eq!(
                TorchError::from_message(message).kind(),
                ErrorKind::OutOfMemory
            );
        }
    }
}
