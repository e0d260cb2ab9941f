//! A place for one child after the other.

use std::{io, process::ExitStatus, sync::Arc, time::Duration};

use temper_service::stop::Stop;
use tokio::{
    io::AsyncWriteExt as _,
    process::{Child, ChildStdin},
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    command::{Own, Program},
    health::{Deaths, Health, WELL},
    patience,
};
use crate::{
    exit::{self, Ending},
    session::Left,
};

/// What tells a child to drain.
const DRAIN: &[u8] = b"drain\n";
/// How long a child that is killed is waited for: one that is stuck in the driver dies when the driver
/// lets go of it, which may be never.
const LAST_BREATH: Duration = Duration::from_secs(5);

/// The place.
pub(crate) struct Seat {
    pub index: usize,
    pub own: Own,
    pub program: Arc<Program>,
    pub leaves_at: Option<Instant>,
    pub grace: Duration,
    /// Before a child follows the first that died.
    pub first_pause: Duration,
    pub health: Arc<Health>,
}

/// How a seat was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SeatEnd {
    /// Its child left well.
    Well(Left),
    /// No child was there: the last one had failed, and the next one was not started.
    Empty,
    /// Its child failed when it was told to stop.
    Failed,
    /// What the child held is not given back.
    Cut,
}

/// What became of a child.
enum Watched {
    /// It ended by itself.
    Ended(ExitStatus),
    /// It was told to.
    Drained(Ending),
}

impl Seat {
    /// Starts children one after the other: whoever dies is followed by another, after a pause, and so is
    /// one that was told to stop by somebody else.
    pub(crate) async fn keep_filled(self, stop: Stop) -> SeatEnd {
        let mut deaths = Deaths::new(self.first_pause);
        let mut end = SeatEnd::Empty;
        while !stop.graceful.is_cancelled() {
            let (ending, why) = match self.try_child(&mut deaths, &stop).await {
                Ok(Watched::Drained(ending)) => return drained(ending, &deaths),
                Ok(Watched::Ended(status)) => (exit::ending(status), status.to_string()),
                Err(error) => (Ending::Failed, error.to_string()),
            };
            if let Ending::Left(left @ (Left::Idle | Left::TimeOver)) = ending {
                let Own { device, name, .. } = &self.own;
                tracing::info!(device, worker = name, ?left, "a worker ended by itself");
                self.health.leave(self.index);
                self.give_up_with_the_others(&stop);
                return SeatEnd::Well(left);
            }
            let pause = self.mourn(ending, &why, &mut deaths, &stop);
            end = vacated(ending, &deaths);
            tokio::select! {
                () = sleep(pause) => {}
                () = stop.graceful.cancelled() => {}
            }
        }
        end
    }

    /// Notes the end of a child that is to be followed by another; says how long to wait before.
    fn mourn(&self, ending: Ending, why: &str, deaths: &mut Deaths, stop: &Stop) -> Duration {
        let Own { device, name, .. } = &self.own;
        if let Ending::Left(_) = ending {
            let wait = self.first_pause;
            tracing::warn!(
                device,
                worker = name,
                ?wait,
                "somebody told a worker to stop: starting another"
            );
            return wait;
        }
        let wait = deaths.add();
        tracing::warn!(
            device,
            worker = name,
            why,
            ?wait,
            "a worker died: starting another"
        );
        self.health.note(self.index, deaths.are_hopeless());
        self.give_up_with_the_others(stop);
        wait
    }

    /// Ends the fleet when nobody is left whose children live for long.
    fn give_up_with_the_others(&self, stop: &Stop) {
        if !stop.graceful.is_cancelled() && self.health.give_up() {
            tracing::error!("no worker that is left lives for long: ending");
            stop.gracefully();
        }
    }

    /// Starts a child and waits for its end.
    async fn try_child(&self, deaths: &mut Deaths, stop: &Stop) -> io::Result<Watched> {
        let (child, lifeline) = self.spawn()?;
        self.watch(child, lifeline, deaths, stop).await
    }

    fn spawn(&self) -> io::Result<(Child, ChildStdin)> {
        let now = Instant::now();
        let left = self.leaves_at.map(|end| end.saturating_duration_since(now));
        let mut child = self.program.child(&self.own, left).spawn()?;
        // Taken out, because waiting for a child closes what is left of its pipe.
        let lifeline = child.stdin.take();
        let lifeline = lifeline.ok_or_else(|| io::Error::other("a child without its input"))?;
        let Own { device, name, .. } = &self.own;
        let process = child.id();
        tracing::info!(device, worker = name, process, "started a worker");
        Ok((child, lifeline))
    }

    /// Waits for the child's end, by itself or by the stop.
    async fn watch(
        &self,
        mut child: Child,
        lifeline: ChildStdin,
        deaths: &mut Deaths,
        stop: &Stop,
    ) -> io::Result<Watched> {
        let well = Instant::now() + WELL;
        let mut is_well = false;
        loop {
            tokio::select! {
                status = child.wait() => return status.map(Watched::Ended),
                () = sleep_until(well), if !is_well => {
                    is_well = true;
                    deaths.forget();
                    self.health.note(self.index, false);
                }
                () = stop.graceful.cancelled() => {
                    return Ok(Watched::Drained(self.drain(child, lifeline, stop).await));
                }
            }
        }
    }

    /// Tells the child to drain, and waits; kills it when the stop cuts.
    async fn drain(&self, mut child: Child, mut lifeline: ChildStdin, stop: &Stop) -> Ending {
        // One that has ended this moment reads nothing any more.
        let _ended = lifeline.write_all(DRAIN).await;
        let Own { device, name, .. } = &self.own;
        let status = tokio::select! {
            status = timeout(patience(self.grace), child.wait()) => status.ok().and_then(Result::ok),
            () = stop.cut.cancelled() => None,
        };
        if let Some(status) = status {
            let ending = exit::ending(status);
            match ending {
                Ending::Left(_) => {}
                Ending::Cut => {
                    tracing::warn!(device, worker = name, %status, "a worker was cut: its lease runs out");
                }
                Ending::Failed => {
                    tracing::warn!(device, worker = name, %status, "a worker failed as it was to stop");
                }
            }
            return ending;
        }
        tracing::warn!(device, worker = name, "killing a worker");
        if timeout(LAST_BREATH, child.kill()).await.is_err() {
            tracing::error!(
                device,
                worker = name,
                process = child.id(),
                "a worker does not die, its driver holds it: leaving it"
            );
        }
        Ending::Cut
    }
}

/// How a seat is left whose child was told to stop.
fn drained(ending: Ending, deaths: &Deaths) -> SeatEnd {
    match ending {
        Ending::Left(left) => SeatEnd::Well(left),
        Ending::Cut => SeatEnd::Cut,
        // It would have failed without the stop too.
        Ending::Failed if deaths.are_hopeless() => SeatEnd::Empty,
        Ending::Failed => SeatEnd::Failed,
    }
}

/// How a seat is left whose child ended like this before the stop, and was followed by none.
fn vacated(ending: Ending, deaths: &Deaths) -> SeatEnd {
    match ending {
        Ending::Left(left) => SeatEnd::Well(left),
        // On a broken device they die before they hold anything.
        Ending::Cut if deaths.are_hopeless() => SeatEnd::Empty,
        Ending::Cut => SeatEnd::Cut,
        Ending::Failed => SeatEnd::Empty,
    }
}
