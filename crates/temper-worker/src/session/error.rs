//! Why a worker ends before it is told to.

use temper_data::DataError;
use temper_service::{
    client::{ConnectError, CredentialsError},
    metrics::MetricsError,
    objects::ObjectsError,
    status,
    stop::TaskPanicked,
};
use temper_torch::Device;
use tokio::task::JoinError;
use tonic::Status;

use crate::lock::LockError;

/// Why a worker cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// No such address.
    #[error(transparent)]
    Address(#[from] ConnectError),
    /// By what this worker shows who it is cannot be read.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The system gives no thread to libtorch.
    #[error("the libtorch thread cannot be started")]
    Engine(#[source] std::io::Error),
    /// Where images and weights lie cannot be made out.
    #[error(transparent)]
    Inputs(#[from] DataError),
    /// The coordinator does not want this worker.
    #[error("the coordinator refuses this worker: {}", status::explain(.0))]
    Refused(Status),
    /// The coordinator's terms make no sense.
    #[error("the coordinator's terms cannot be kept: {0}")]
    Terms(&'static str),
    /// The coordinator's object store is out of reach from here.
    #[error("the coordinator's object store cannot be used from this machine")]
    Objects(#[from] ObjectsError),
    /// Metrics cannot be told.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// Others use the device.
    #[error(transparent)]
    Device(#[from] LockError),
    /// The device failed while a job was at work, and every further one would fail on it.
    #[error(
        "{device} failed, and this process gets to work on it no more ({said}): start another one, and \
         where that fails too see what the driver says (`nvidia-smi -q`, `Xid` in the kernel's log)"
    )]
    Failed {
        /// The device.
        device: Device,
        /// What it said.
        said: String,
    },
    /// A defect in what asks for the device.
    #[error("asking for the device broke off")]
    Claim(#[source] JoinError),
    /// A task of this process broke.
    #[error(transparent)]
    Task(#[from] TaskPanicked),
}
