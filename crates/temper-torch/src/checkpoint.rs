//! All that a run needs to go on exactly where it was, as safetensors.

use serde::{Deserialize, Serialize};
use temper_core::{Digest, schedule::Plateau};

use crate::{
    TorchError,
    best::{Best, Rank, Values},
    models::Network,
    optim::AdamW,
    plan::LEAST_MICRO_BATCH,
    tensors,
    tensors::{HostTensor, Tensors},
};

/// Layout of the file; another one is refused.
const VERSION: u32 = 4;
const MODEL: &str = "model.";
const OPTIMISER: &str = "optimiser.";
const BEST: &str = "best.";

/// A run's state after some step: copies on the host, which may go to another thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Optimiser steps done.
    pub step: u64,
    /// Epochs done and reported.
    pub epochs: u32,
    /// Weights, running statistics, moments.
    state: Vec<(String, HostTensor)>,
    /// The best model, where it is not the state's own; shared with the run.
    best: Option<Values>,
    /// Counters.
    header: String,
}

impl Checkpoint {
    /// A state without tensors, for what stands in for a training in tests: all that there is to go on
    /// from is in `header`, which [`crate::tensors::Tensors::metadata`] gives back.
    #[must_use]
    pub fn without_tensors((step, epochs): (u64, u32), header: String) -> Self {
        Self {
            step,
            epochs,
            state: Vec::new(),
            best: None,
            header,
        }
    }

    /// Safetensors, counters in their metadata; equal states give equal bytes.
    ///
    /// # Errors
    /// When the format cannot hold it.
    pub fn to_bytes(&self) -> Result<Vec<u8>, TorchError> {
        let state = self.state.iter().map(|(name, value)| (name.clone(), value));
        let best = self.best.iter().flat_map(|values| values.iter());
        let best = best.map(|(name, value)| (format!("{BEST}{name}"), value));
        tensors::write_host(state.chain(best).collect(), self.header.clone())
    }
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
    /// Samples a forward pass: fewer than asked for where memory was short.
    micro_batch: usize,
    best: Option<Rank>,
}

/// A run's state as it is.
pub(crate) struct State<'a> {
    pub counters: Counters,
    pub micro_batch: usize,
    pub network: &'a Network,
    pub optimiser: &'a AdamW,
    pub best: Option<&'a Best>,
}

/// A checkpoint that has been read.
pub(crate) struct Saved<'a> {
    pub counters: Counters,
    pub micro_batch: usize,
    pub best: Option<Best>,
    pub model: Tensors<'a>,
    pub optimiser: Tensors<'a>,
}

/// Copies the state of the job with the key `training`.
pub(crate) fn take(training: Digest, state: &State<'_>) -> Result<Checkpoint, TorchError> {
    let counters = state.counters;
    let header = serde_json::to_string(&Header {
        version: VERSION,
        training,
        counters,
        micro_batch: state.micro_batch,
        best: state.best.map(|best| best.rank),
    })
    .map_err(|error| TorchError::Torch(error.to_string()))?;
    let model = state.network.parameters().iter();
    let model = model.map(|p| (format!("{MODEL}{}", p.name), &p.tensor));
    let moments = state.optimiser.state();
    let moments = moments.map(|(name, tensor)| (format!("{OPTIMISER}{name}"), tensor));
    let copies = model.chain(moments);
    let copies = copies.map(|(name, tensor)| Ok((name, HostTensor::of(tensor)?)));
    let apart = state.best.filter(|best| best.rank.step != counters.step);
    Ok(Checkpoint {
        step: counters.step,
        epochs: counters.epochs,
        state: copies.collect::<Result<_, TorchError>>()?,
        best: apart.map(|best| best.values.clone()),
        header,
    })
}

/// Reads a checkpoint of the job with the key `training`, whose micro-batches are of `most` samples
/// where memory is not short.
///
/// # Errors
/// [`TorchError::BadCheckpoint`].
pub(crate) fn decode(
    (training, most): (Digest, usize),
    bytes: &[u8],
) -> Result<Saved<'_>, TorchError> {
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
    let micro_batch = header.micro_batch;
    if !(LEAST_MICRO_BATCH..=most).contains(&micro_batch) {
        return Err(bad(format!(
            "its micro-batches are of {micro_batch} samples, not of {LEAST_MICRO_BATCH} to {most}"
        )));
    }
    let (model, optimiser) = (tensors.below(MODEL), tensors.below(OPTIMISER));
    let counters = header.counters;
    let best = header.best.map(|rank| {
        let values = if rank.step == counters.step {
            tensors.below(MODEL)
        } else {
            tensors.below(BEST)
        };
        let values = values.to_host()?;
        if values.is_empty() {
            return Err(bad("its best model is missing".to_owned()));
        }
        Ok(Best {
            rank,
            values: values.into(),
        })
    });
    Ok(Saved {
        counters,
        micro_batch,
        best: best.transpose()?,
        model,
        optimiser,
    })
}
