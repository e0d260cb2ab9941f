//! The process shell that every Temper binary shares: logs, metrics, traces, health, reflection, who may call what,
//! TLS, errors as gRPC statuses, graceful stop, connections to peers, and the object store.

pub mod access;
pub mod arguments;
pub mod client;
pub mod database;
pub mod health;
pub mod metrics;
pub mod objects;
mod opening;
pub mod page;
pub mod server;
pub mod status;
pub mod stop;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
pub mod tls;
pub mod traces;
