//! The services. Handlers are thin: decode, one call, encode.

mod admin;
mod encode;
mod explain;
mod job;
mod list;
mod logs;
mod page;
mod result;
mod scaler;
mod steer;
mod submission;
mod sweep;
#[cfg(test)]
mod tests;
mod watch;
mod worker;

use std::sync::Arc;

use chrono::{DateTime, Datelike as _, Utc};
use temper_proto::{
    externalscaler::external_scaler_server::ExternalScalerServer,
    v1::{
        admin_service_server::AdminServiceServer, job_service_server::JobServiceServer,
        sweep_service_server::SweepServiceServer, worker_service_server::WorkerServiceServer,
    },
};
use temper_service::{server::Server, status};
use temper_store::StoreError;
use tonic::Status;

use crate::Shared;

/// Largest request: a sweep with the longest axes fits many times.
const MAX_REQUEST_BYTES: usize = 16 << 20;

/// Largest message about a trigger, which is a few short lines.
const MAX_TRIGGER_BYTES: usize = 64 << 10;

/// Adds the coordinator's services.
pub fn services(server: Server, shared: &Arc<Shared>) -> Server {
    let sweeps = SweepServiceServer::new(sweep::Sweeps(Arc::clone(shared)));
    let jobs = JobServiceServer::new(job::Jobs(Arc::clone(shared)));
    let workers = WorkerServiceServer::new(worker::Workers(Arc::clone(shared)));
    let admin = AdminServiceServer::new(admin::Admin(Arc::clone(shared)));
    let scaler = ExternalScalerServer::new(scaler::Scaler(Arc::clone(shared)));
    server
        .with(sweeps.max_decoding_message_size(MAX_REQUEST_BYTES))
        .with(jobs.max_decoding_message_size(MAX_REQUEST_BYTES))
        .with(workers.max_decoding_message_size(MAX_REQUEST_BYTES))
        .with(admin)
        // Strangers' messages are read, too: the token is in them.
        .with(scaler.max_decoding_message_size(MAX_TRIGGER_BYTES))
}

fn refused(error: StoreError) -> Status {
    match error {
        StoreError::Filter(violations) => status::bad_request(&violations.below("filter")),
        error => status::of(error.kind(), &error),
    }
}

/// A time that can be stored and told: protobuf's are of the years 1 to 9999, and PostgreSQL does not
/// have all of chrono's.
fn storable(time: DateTime<Utc>) -> Option<DateTime<Utc>> {
    (1..=9999).contains(&time.year()).then_some(time)
}

/// A count in the protocol's width; counts beyond it do not occur.
fn count(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}
