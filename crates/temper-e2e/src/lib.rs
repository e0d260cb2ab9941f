//! What the end-to-end tests share: a whole system of real processes in a folder of its own, and
//! small sweeps for it. Tests are under `tests/`; nothing else uses this crate.

mod grpcurl;
pub mod paper;
pub mod sweeps;
mod system;

pub use grpcurl::Grpcurl;
pub use system::{Options, System, checkout, program, signal};
