//! The domain of Temper, pure: sweep specs and their expansion, content-addressed keys, catalog
//! types, the job state machine, epsilon schedules, the curves' statistics, and callers' roles.
//!
//! Nothing here does I/O, reads a clock, or knows tokio, SQL, gRPC or libtorch.

pub mod access;
pub mod attack;
pub mod catalog;
pub mod curve;
pub mod diagnosis;
mod digest;
mod epsilon;
mod error;
pub mod expand;
pub mod job;
pub mod key;
pub mod placement;
pub mod published;
pub mod random;
pub mod report;
pub mod rules;
pub mod schedule;
pub mod spec;
pub mod statistics;
pub mod trace;
pub mod validate;

pub use digest::{Digest, DigestBuilder, ParseDigestError};
pub use epsilon::{Epsilon, Fraction, ParseRatioError};
pub use error::{ErrorKind, FieldViolation, Violations, shortened};
