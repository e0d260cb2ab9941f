//! All that a run needs to go on exactly where it was, as safetensors.

use serde::{Deserialize, Serialize};
use temper_core::{Digest, schedule::Plateau};

use crate::{TorchError, models::Network, optim::AdamW, tensors, tensors::Tensors};

/// Layout of the file; another one is refused.
const VERSION: u32 = 3;
const MODEL: &str = "model.";
const OPTIMISER: &str = "optimiser.";

/// A run's state after some step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Optimiser steps done.
    pub step: u64,
    /// Epochs done and reported.
    pub epochs: u32,
    /// Safetensors: weights, running statistics, moments; counters in the metadata.
    pub bytes: Vec<u8>,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counters {
    /// Optimiser steps done.
    pub step: u64,
    /// Epochs done and reported.
    pub epochs: u32,
    /// Samples trained on in the epoch that is not reported yet.
    pub samples: u64,
    /// Their summed loss, as the bits of an `f64`: JSON numbers need not come back exactly.
    pub loss_bits: u64,
    /// Time spent on them, in microseconds.
    pub micros: u64,
    /// The part of it that was spent waiting for the loader.
    pub waiting_micros: u64,
    /// What the schedule `auto` has seen.
    pub plateau: Plateau,
}

/// What every layout of the header has.
#[derive(Deserialize)]
struct Layout {
    version: u32,
}

#[derive(Serialize, Deserialize)]
struct Header {
    version: u32,
    /// Key of the job, so that no other job goes on from here.
    training: Digest,
    counters: Counters,
}

/// A checkpoint that has been read.
pub(crate) struct Saved<'a> {
    pub counters: Counters,
    pub model: Tensors<'a>,
    pub optimiser: Tensors<'a>,
}

/// Writes a checkpoint of the job with the key `training`.
pub(crate) fn encode(
    training: Digest,
    counters: Counters,
    network: &Network,
    optimiser: &AdamW,
) -> Result<Checkpoint, TorchError> {
    let header = serde_json::to_string(&Header {
        version: VERSION,
        training,
        counters,
    })
    .map_err(|error| TorchError::Torch(error.to_string()))?;
    let model = network
        .parameters()
        .iter()
        .map(|p| (format!("{MODEL}{}", p.name), &p.tensor));
    let moments = optimiser
        .state()
        .map(|(name, tensor)| (format!("{OPTIMISER}{name}"), tensor));
    let bytes = tensors::write(model.chain(moments), header)?;
    Ok(Checkpoint {
        step: counters.step,
        epochs: counters.epochs,
        bytes,
    })
}

/// Reads a checkpoint of the job with the key `training`.
///
/// # Errors
/// [`TorchError::BadCheckpoint`].
pub(crate) fn decode(training: Digest, bytes: &[u8]) -> Result<Saved<'_>, TorchError> {
    let bad = |reason: String| TorchError::BadCheckpoint(reason);
    let tensors = Tensors::parse("the checkpoint", bytes).map_err(|e| bad(e.to_string()))?;
    let header = tensors
        .metadata()
        .ok_or_else(|| bad("it has no header".to_owned()))?;
    let Layout { version } = serde_json::from_str(header).map_err(|e| bad(e.to_string()))?;
    if version != VERSION {
        return Err(bad(format!("its layout is {version}, not {VERSION}")));
    }
    let header: Header = serde_json::from_str(header).map_err(|e| bad(e.to_string()))?;
    if header.training != training {
        return Err(bad(format!(
            "it is of job {}, not {training}",
            header.training
        )));
    }
    let (model, optimiser) = (tensors.below(MODEL), tensors.below(OPTIMISER));
    Ok(Saved {
        counters: header.counters,
        model,
        optimiser,
    })
}
