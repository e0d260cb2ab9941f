//! The only libtorch of Temper: models, attacks, trainer, evaluator, checkpoints.
//!
//! Synchronous. Tensors stay on the thread that made them: a process calls [`train`] and
//! [`evaluate`] on one OS thread of its own. Operations inside are written in tch's plain form,
//! which panics where libtorch throws; the entry points turn that into a [`TorchError`].
//!
//! On one thread ([`set_threads`], called on the thread that computes) everything is repeatable to the last bit.

pub mod attack;
pub mod augment;
mod batch;
mod best;
pub mod check;
mod checkpoint;
mod engine;
mod error;
mod evaluator;
mod gpu;
mod measure;
mod memory;
pub mod models;
pub mod objective;
pub mod optim;
mod plan;
pub mod prefetch;
mod run;
pub mod tensors;
mod trainer;
mod validation;

pub use checkpoint::Checkpoint;
pub use engine::{Device, run, set_threads};
pub use error::TorchError;
pub use evaluator::{
    EvaluateObserver, EvaluateOutcome, Interim, Measurement, Progress, Stage, StoredModel, evaluate,
};
pub use gpu::{Gpu, gpu, visible_gpus};
pub use memory::{DeviceMemory, PeakMemory, device_memory, free_memory, keep_freed_memory};
pub use models::ARCHITECTURES;
pub use trainer::{
    BestModel, Control, Interrupted, Observer, TrainOutcome, TrainedModel, Training, train,
};
