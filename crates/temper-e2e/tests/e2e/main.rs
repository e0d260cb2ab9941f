//! The Temper processes together: `temper up` with its PostgreSQL, coordinator, results service and
//! worker processes, on real weights and images.

mod access;
mod bad_inputs;
mod bench_queue;
mod chaos;
mod check;
mod coordinators;
mod crashes;
mod drain;
mod fleet;
mod grpcurl;
mod hosts;
mod observability;
mod paper;
mod queue;
mod restore;
mod results;
mod retries;
mod session;
mod sharing;
mod slurm;
mod telemetry;
mod upgrade;
