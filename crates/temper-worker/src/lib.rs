//! The worker: leases a job over gRPC, runs it on one device, heartbeats, checkpoints, reports.
//!
//! [`session::run`] registers and leases; `job` takes one assignment to its end; `train` and
//! `evaluate` do what it asks for, through `report`. libtorch ([`backend`]) runs on one OS thread
//! (`engine`) that async code never blocks on; `lease` tells it when to stop; [`logs`] takes down what is
//! logged meanwhile. [`lock`] keeps others off the device, [`fleet`] has one such process a device, [`slurm`]
//! asks the batch system. [`check`] leases nothing: it looks at this machine's device.
//!
//! Absent on purpose: the database. All that a worker knows of a job came with its lease, and all
//! that it says of it carries the lease's fence.

mod assignment;
pub mod backend;
mod cadence;
pub mod check;
pub mod config;
mod coordinator;
mod drain;
mod engine;
mod error;
mod evaluate;
pub mod exit;
#[cfg(test)]
mod fake;
pub mod fleet;
mod job;
mod lease;
pub mod lock;
pub mod logs;
mod metrics;
mod report;
mod resume;
pub mod session;
pub mod slurm;
mod train;

pub(crate) use error::JobError;
pub use metrics::METRICS;
