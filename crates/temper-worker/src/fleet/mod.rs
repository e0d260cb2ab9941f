//! A process that has one worker a device, each a child of its own: what breaks one leaves the rest.
//!
//! The parent computes nothing and calls no coordinator. Its children are told to drain through their
//! standard input, which is also their lifeline: batch systems signal every process of a job, and a
//! signal that came from there and from the parent too would be the second one, which cuts.

mod command;
mod devices;
mod health;
mod seat;

use std::{ffi::OsString, io, net::SocketAddr, sync::Arc, time::Duration};

use temper_service::stop::{Stop, TaskPanicked, Tasks};
use tokio::time::Instant;

use crate::{config::Config, session::Left};
use command::{Own, Program};
use devices::Surroundings;
pub use devices::{Devices, DevicesError};
use health::Health;
use seat::{Seat, SeatEnd};

/// Why a fleet cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// No such devices.
    #[error("--devices cannot be had")]
    Devices(#[from] DevicesError),
    /// This program cannot be found.
    #[error("cannot tell where this program is, to start it for each device")]
    Program(#[source] io::Error),
    /// Every child dies.
    #[error("no worker of this fleet lives for long: what they say is above")]
    Hopeless,
    /// A task of this process broke.
    #[error(transparent)]
    Task(#[from] TaskPanicked),
}

/// How a fleet ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FleetEnd {
    /// Every child ended well.
    Well(Left),
    /// A child was cut, or had to be killed: what it held is not given back.
    Cut,
}

/// Keeps a worker at work on each of the devices, until `stop`, or until all have ended well.
/// `arguments`: what this program was called with, less its name.
///
/// # Errors
/// When the devices are not there, or no child lives for long.
pub async fn run(
    config: &Config,
    devices: &Devices,
    arguments: Vec<OsString>,
    stop: Stop,
) -> Result<FleetEnd, FleetError> {
    let devices = devices.resolve(Surroundings::here(), config.share_device)?;
    let path = std::env::current_exe().map_err(FleetError::Program)?;
    let program = Arc::new(Program { path, arguments });
    let leaves_at = config.wall_time.map(|time| Instant::now() + time);
    let health = Arc::new(Health::new(devices.len()));
    let (tasks, base) = (Tasks::new(&stop), config.worker_name());
    tracing::info!(devices = devices.join(","), "starting one worker a device");
    let mut ends = Vec::new();
    let share = config.share.get() * devices.len();
    for (index, device) in devices.into_iter().enumerate() {
        let name = format!("{base}-{index}");
        let seat = Seat {
            index,
            own: Own {
                device,
                name,
                share,
                metrics: address_of(config.metrics.metrics, index),
            },
            program: Arc::clone(&program),
            leaves_at,
            grace: config.grace,
            health: Arc::clone(&health),
        };
        // Ends with the stop, when its child ends well, or when all is hopeless.
        ends.push(tasks.spawn("seat", seat.keep_filled(stop.clone())));
    }
    let mut cut = false;
    for end in ends {
        // One that panicked is told below.
        cut |= matches!(end.await, Ok(Some(SeatEnd::Cut)));
    }
    tasks.finish().await?;
    if health.is_hopeless() {
        return Err(FleetError::Hopeless);
    }
    if cut {
        return Ok(FleetEnd::Cut);
    }
    tracing::info!("every worker has ended");
    Ok(FleetEnd::Well(left(config, &stop)))
}

/// Where a child tells metrics: one port after the other, or a free one each.
fn address_of(first: Option<SocketAddr>, index: usize) -> Option<SocketAddr> {
    let mut address = first?;
    if address.port() != 0 {
        let index = u16::try_from(index).unwrap_or(u16::MAX);
        address.set_port(address.port().saturating_add(index));
    }
    Some(address)
}

/// Why children that nobody told to stop have ended.
fn left(config: &Config, stop: &Stop) -> Left {
    if stop.graceful.is_cancelled() {
        Left::Told
    } else if config.wall_time.is_some() && config.exit_when_idle.is_none() {
        Left::TimeOver
    } else {
        Left::Idle
    }
}

/// How long children that were told to stop are waited for: they end by themselves after twice the
/// grace, unless they are stuck where no code runs.
fn patience(grace: Duration) -> Duration {
    2 * grace + Duration::from_secs(10)
}
