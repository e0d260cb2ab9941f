//! The process shell that every Temper binary shares: logs, health, reflection, errors as gRPC
//! statuses, graceful stop, connections to peers, and the object store.

pub mod client;
pub mod objects;
pub mod server;
pub mod status;
pub mod stop;
pub mod telemetry;
