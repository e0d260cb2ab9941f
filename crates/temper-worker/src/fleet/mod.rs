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
use tokio::{
    task::{JoinError, spawn_blocking},
    time::Instant,
};

use crate::{config::Config, session::Left};
use command::{Own, Program};
use devices::Surroundings;
pub use devices::{Devices, DevicesError};
use health::{FIRST_WAIT, Health};
use seat::{Seat, SeatEnd};

/// Why a fleet cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// No such devices.
    #[error("--devices cannot be had")]
    Devices(#[from] DevicesError),
    /// A defect in what asks the driver.
    #[error("asking the driver for GPUs broke off")]
    Driver(#[source] JoinError),
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
    /// Nothing is held any more.
    Well(Left),
    /// The same, but a child failed when it was told to stop.
    Failed,
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
    // It asks the driver, which may hang: not on the thread that stops this.
    let around = tokio::select! {
        around = spawn_blocking(Surroundings::here) => around.map_err(FleetError::Driver)?,
        () = stop.graceful.cancelled() => return Ok(FleetEnd::Well(Left::Told)),
    };
    let devices = devices.resolve(around, config.share_device)?;
    let path = std::env::current_exe().map_err(FleetError::Program)?;
    let program = Arc::new(Program { path, arguments });
    tracing::info!(devices = devices.join(","), "starting one worker a device");
    let health = Arc::new(Health::new(devices.len()));
    let seats = seats(config, devices, &program, &health);
    let end = fill(seats, &health, &stop).await?;
    tracing::info!(?end, "every worker has ended");
    Ok(end)
}

/// A seat a device.
fn seats(
    config: &Config,
    devices: Vec<String>,
    program: &Arc<Program>,
    health: &Arc<Health>,
) -> Vec<Seat> {
    let leaves_at = config.wall_time.map(|time| Instant::now() + time);
    let (base, share) = (config.worker_name(), config.share.get() * devices.len());
    let seat = |(index, device)| Seat {
        index,
        own: Own {
            device,
            name: format!("{base}-{index}"),
            share,
            metrics: address_of(config.metrics.metrics, index),
        },
        program: Arc::clone(program),
        leaves_at,
        grace: config.grace,
        first_pause: FIRST_WAIT,
        health: Arc::clone(health),
    };
    devices.into_iter().enumerate().map(seat).collect()
}

/// Keeps the seats filled.
async fn fill(seats: Vec<Seat>, health: &Health, stop: &Stop) -> Result<FleetEnd, FleetError> {
    let tasks = Tasks::new(stop);
    // Each ends with the stop, when its child ends well, or when all is hopeless.
    let filled: Vec<_> = seats
        .into_iter()
        .map(|seat| tasks.spawn("seat", seat.keep_filled(stop.clone())))
        .collect();
    let mut ends = Vec::new();
    for end in filled {
        // One that panicked is told below.
        ends.extend(end.await.ok().flatten());
    }
    tasks.finish().await?;
    // Whoever asked for the stop gets it, whatever the children were like.
    if health.has_failed() && stop.signal().is_none() {
        return Err(FleetError::Hopeless);
    }
    Ok(end(&ends))
}

/// How a fleet ends whose seats were left like this.
fn end(seats: &[SeatEnd]) -> FleetEnd {
    if seats.contains(&SeatEnd::Cut) {
        return FleetEnd::Cut;
    }
    if seats.contains(&SeatEnd::Failed) {
        return FleetEnd::Failed;
    }
    // The time is every seat's; and one that was told while others had nothing to do was at work.
    let by_weight = [Left::TimeOver, Left::Told, Left::Idle];
    let left = by_weight
        .into_iter()
        .find(|left| seats.contains(&SeatEnd::Well(*left)));
    FleetEnd::Well(left.unwrap_or(Left::Told))
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

/// How long children that were told to stop are waited for: they end by themselves after twice the
/// grace, unless they are stuck where no code runs.
fn patience(grace: Duration) -> Duration {
    2 * grace + Duration::from_secs(10)
}

#[cfg(test)]
mod tests;
