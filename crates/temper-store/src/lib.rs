//! The only SQL of Temper: its tables, one file a resource, and the leases that keep them true.
//!
//! Everything is a method of [`Store`], named noun first. Each is one statement or one transaction;
//! none spans a call to anything but the database, and every time comes from the database's clock.
//!
//! **Locks.** Rows of `job` are the only ones that are waited for, always in ascending order of
//! their ids and always `FOR NO KEY UPDATE` (which foreign keys do not wait for). A training has a
//! smaller id than its evaluations, so that a job may lock those that depend on it. A lease is
//! inserted and deleted only under its job's lock. What many workers write in the same moment goes
//! into one transaction (`coalesce.rs`), which waits for no lock: what others have locked is left
//! to a transaction of its own, which does.

mod artifact;
mod attempt;
mod audit;
mod checkpoint;
mod coalesce;
mod complete;
mod copy;
mod curve;
mod demand;
mod epoch;
mod error;
mod export;
mod janitor;
mod job;
mod lease;
mod log;
#[cfg(feature = "local")]
pub mod postgres;
mod queue;
mod ready;
mod restore;
mod roles;
mod standing;
mod store;
mod sweep;
#[cfg(feature = "testing")]
pub mod testing;
mod token;
mod training;
mod value;
mod worker;

pub use artifact::Artifact;
pub use attempt::{Attempt, AttemptOutcome, AttemptPage, AttemptsQuery, FailedAttempt};
pub use audit::{Actor, AuditEntry, AuditPage, AuditQuery};
pub use checkpoint::Checkpoint;
pub use complete::{BestModel, Measured, Trained};
pub use curve::{CellCurve, Curve, CurveFacts, CurveFilter, CurvePage, CurvePlace, CurvesQuery};
pub use demand::Demand;
pub use error::StoreError;
pub use export::{
    CellAxes, Exported, ExportedEpoch, ExportedJob, ExportedPoint, JobFigures, Provenance, Ran,
};
pub use job::{
    Explanation, JobChanges, JobDetail, JobId, JobPage, JobRow, JobsQuery, Retried, SnapshotToken,
    WantingSweep, WorkerFit,
};
pub use lease::{Claim, LeaseRef, LeaseStatus};
pub use log::{LogLine, LogPage, LogQuery, MAX_LOG_LINES, MAX_LOG_MESSAGE};
pub use queue::Fitness;
pub use ready::JobReady;
pub use restore::Restored;
pub use roles::{READER, RESULTS, RolePasswords, Verifier};
pub use standing::{Connections, LeaseStanding, QueueStanding};
pub use store::Store;
pub use sweep::{
    BREAKER, JobCounts, NewSweep, SweepChanges, SweepCreated, SweepCursor, SweepExtension,
    SweepFilter, SweepPage, SweepPreview, SweepRequest, SweepRow, SweepState,
};
pub use token::{NewToken, TokenCursor, TokenPage, TokenRow};
pub use training::Course;
pub use worker::{NewWorker, WorkerRef};
