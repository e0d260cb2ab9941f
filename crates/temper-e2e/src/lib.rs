//! What the end-to-end tests share: a whole system of real processes in a folder of its own, small
//! sweeps for it, and a cluster to be hurt. Tests are under `tests/`; nothing else uses this crate.

pub mod chaos;
mod grpcurl;
#[cfg(feature = "worker")]
pub mod paper;
pub mod processes;
pub mod site;
pub mod sweeps;
mod system;

pub use grpcurl::Grpcurl;
pub use system::{Options, System, checkout, program, signal};
