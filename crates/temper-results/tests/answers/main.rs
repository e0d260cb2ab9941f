//! Curves that workers hand in, as they come out of a real results service.
#![expect(clippy::unwrap_used, reason = "a test's helpers may panic")]

mod aggregates;
mod curves;
mod diagnoses;
mod documented;
mod exports;
#[path = "../lab/mod.rs"]
mod lab;
mod published;
mod reading;
mod system;
