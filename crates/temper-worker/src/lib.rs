//! The worker: leases a job over gRPC, runs it on one device, heartbeats, checkpoints, reports.
//!
//! [`session::run`] registers and leases; [`job`] takes one assignment to its end; `train` and
//! `evaluate` do what it asks for. libtorch runs on one OS thread ([`engine::Engine`]) that async
//! code never waits for without also watching the lease.
//!
//! Absent on purpose: the database. All that a worker knows of a job came with its lease, and all
//! that it says of it carries the lease's fence.

mod assignment;
pub mod config;
mod coordinator;
pub mod engine;
mod error;
mod evaluate;
mod job;
pub mod lease;
pub mod pin;
pub mod report;
pub mod session;
mod train;

pub use error::JobError;
