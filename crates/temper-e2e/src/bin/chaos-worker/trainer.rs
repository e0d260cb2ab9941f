//! A trainer that waits, and yields what a job's key says.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use temper_core::{
    Digest, key,
    spec::{EvaluateSpec, TrainSpec},
};
use temper_data::DataError;
use temper_e2e::chaos::truth::{self, State};
use temper_torch::{
    Checkpoint, Control, EvaluateObserver, EvaluateOutcome, Interrupted, Measurement, Observer,
    Progress, Stage, TorchError, TrainOutcome, TrainedModel, tensors::Tensors,
};
use temper_worker::backend::{Backend, Evaluate, Train};

/// Optimiser steps that an epoch is said to have.
const STEPS: u64 = 10;
/// How often a trainer that waits looks whether it should stop.
const SLICE: Duration = Duration::from_millis(10);

/// Trains nothing, at this pace.
#[derive(Debug, Clone, Copy)]
pub struct Fake {
    pub epoch: Duration,
}

struct Training {
    key: Digest,
    epochs: u32,
    epoch: Duration,
}

struct Evaluation {
    spec: Arc<EvaluateSpec>,
    model: Bytes,
    takes: Duration,
}

/// What a checkpoint says.
#[derive(Serialize, Deserialize)]
struct Saved {
    training: Digest,
    epochs: u32,
    state: Digest,
}

impl Backend for Fake {
    fn training(&self, spec: &Arc<TrainSpec>) -> Result<Arc<dyn Train>, DataError> {
        Ok(Arc::new(Training {
            key: key::training_key(spec),
            epochs: spec.training.epochs,
            epoch: self.epoch,
        }))
    }

    fn evaluation(
        &self,
        spec: &Arc<EvaluateSpec>,
        model: Bytes,
    ) -> Result<Arc<dyn Evaluate>, DataError> {
        Ok(Arc::new(Evaluation {
            spec: Arc::clone(spec),
            model,
            takes: 2 * self.epoch,
        }))
    }
}

impl Train for Training {
    fn run(
        &self,
        resume: Option<&[u8]>,
        observer: &mut dyn Observer,
    ) -> Result<TrainOutcome, TorchError> {
        let mut state = match resume {
            None => State::start(&self.key),
            Some(bytes) => self.resumed(bytes)?,
        };
        while state.epochs < self.epochs {
            match wait(self.epoch, || observer.control()) {
                Control::Continue => {}
                // The checkpoint of the epoch before is all that there is to go on from.
                Control::Drain => return Ok(TrainOutcome::Drained),
                Control::Abort => return Ok(TrainOutcome::Aborted),
            }
            state = state.trained();
            let handed_over = observer
                .epoch(state.metrics())
                .and_then(|()| observer.checkpoint(self.checkpoint(state)));
            if handed_over == Err(Interrupted) {
                return Ok(TrainOutcome::Aborted);
            }
        }
        Ok(TrainOutcome::Finished(TrainedModel {
            bytes: state.model(),
            epochs: state.epochs,
            steps: STEPS * u64::from(state.epochs),
            best: None,
            micro_batch_size: 0,
        }))
    }
}

impl Training {
    fn checkpoint(&self, state: State) -> Checkpoint {
        let saved = Saved {
            training: self.key,
            epochs: state.epochs,
            state: state.digest,
        };
        let header = serde_json::json!(saved).to_string();
        Checkpoint::without_tensors((STEPS * u64::from(state.epochs), state.epochs), header)
    }

    /// Whatever is wrong with a checkpoint whose digest was right is a defect, and ends the job.
    fn resumed(&self, bytes: &[u8]) -> Result<State, TorchError> {
        let tensors = Tensors::parse("the checkpoint", bytes)?;
        let saved: Option<Saved> = tensors
            .metadata()
            .and_then(|header| serde_json::from_str(header).ok());
        saved
            .filter(|saved| saved.training == self.key)
            .map(|saved| State {
                epochs: saved.epochs,
                digest: saved.state,
            })
            .filter(|state| *state == State::after(&self.key, state.epochs))
            .ok_or_else(|| TorchError::Torch("a checkpoint that is not this job's".to_owned()))
    }
}

impl Evaluate for Evaluation {
    fn run(
        &self,
        _: Option<&[u8]>,
        observer: &mut dyn EvaluateObserver,
    ) -> Result<EvaluateOutcome, TorchError> {
        let spec = &self.spec;
        let progress = Progress {
            stage: Stage::Curve,
            round: 0,
            rounds: 1,
            done: 0,
            samples: 1,
            pairs: 0,
        };
        match wait(self.takes, || observer.control(progress)) {
            Control::Continue => {}
            Control::Drain => return Ok(EvaluateOutcome::Drained),
            Control::Abort => return Ok(EvaluateOutcome::Aborted),
        }
        let key = key::evaluation_key(spec);
        Ok(EvaluateOutcome::Finished(Measurement {
            points: truth::points(&key, &self.model, &spec.grid, spec.samples),
            audit: None,
            flags: Vec::new(),
            passes: 1,
        }))
    }
}

/// Waits so long, or until told to stop.
fn wait(time: Duration, mut control: impl FnMut() -> Control) -> Control {
    let end = Instant::now() + time;
    loop {
        let said = control();
        let left = end.saturating_duration_since(Instant::now());
        if said != Control::Continue || left.is_zero() {
            return said;
        }
        thread::sleep(left.min(SLICE));
    }
}
