//! The crate from outside, on real weights: one binary, because each links libtorch.
#![expect(clippy::unwrap_used, reason = "tests")]

mod attack;
mod attack_search;
mod augment;
mod check;
mod evaluation;
mod killed;
mod memory;
mod models;
mod objective;
mod optim;
mod parity;
mod precision;
mod prefetch;
mod support;
mod training;
