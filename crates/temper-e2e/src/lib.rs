//! What the end-to-end tests share: a whole system of real processes in a folder of its own, small
//! sweeps for it, a cluster to be hurt, and hosts to be cut off. Tests are under `tests/`; nothing else uses this crate.

pub mod chaos;
mod grpcurl;
pub mod hosts;
#[cfg(feature = "worker")]
pub mod paper;
pub mod processes;
pub mod relay;
pub mod site;
pub mod sweeps;
mod system;
pub mod upgrade;

pub use grpcurl::Grpcurl;
pub use system::{Options, System, checkout, program, signal};
