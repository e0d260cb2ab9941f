//! A place for one child after the other.

use std::{process::ExitStatus, sync::Arc, time::Duration};

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
use crate::CUT;

/// What tells a child to drain.
const DRAIN: &[u8] = b"drain\n";

/// The place.
pub(crate) struct Seat {
    pub index: usize,
    pub own: Own,
    pub program: Arc<Program>,
    pub leaves_at: Option<Instant>,
    pub grace: Duration,
    pub health: Arc<Health>,
}

/// How a seat was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SeatEnd {
    /// Nothing is held any more.
    Well,
    /// What the child held is not given back.
    Cut,
}

impl Seat {
    /// Starts children one after the other: whoever dies is followed by another, after a pause.
    pub(crate) async fn keep_filled(self, stop: Stop) -> SeatEnd {
        let mut deaths = Deaths::default();
        while !stop.graceful.is_cancelled() {
            let ended = match self.spawn() {
                Ok((child, lifeline)) => {
                    match self.watch(child, lifeline, &mut deaths, &stop).await {
                        Watched::Drained(end) => return end,
                        Watched::Ended(status) => Ok(status),
                    }
                }
                Err(error) => Err(error),
            };
            let Own { device, name, .. } = &self.own;
            if ended.as_ref().is_ok_and(ExitStatus::success) {
                tracing::info!(device, worker = name, "a worker ended by itself");
                self.health.leave(self.index);
                return SeatEnd::Well;
            }
            let wait = deaths.add();
            let why = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
            tracing::warn!(
                device,
                worker = name,
                why,
                ?wait,
                "a worker died: starting another"
            );
            self.health.note(self.index, deaths.are_hopeless());
            if self.health.is_hopeless() {
                stop.gracefully();
            }
            tokio::select! {
                () = sleep(wait) => {}
                () = stop.graceful.cancelled() => {}
            }
        }
        SeatEnd::Well
    }

    fn spawn(&self) -> std::io::Result<(Child, ChildStdin)> {
        let now = Instant::now();
        let left = self.leaves_at.map(|end| end.saturating_duration_since(now));
        let mut child = self.program.child(&self.own, left).spawn()?;
        // Taken out, because waiting for a child closes what is left of its pipe.
        let lifeline = child.stdin.take();
        let lifeline =
            lifeline.ok_or_else(|| std::io::Error::other("a child without its input"))?;
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
    ) -> Watched {
        let well = Instant::now() + WELL;
        let mut is_well = false;
        loop {
            tokio::select! {
                status = child.wait() => {
                    // What cannot be waited for is gone as well.
                    return status.map_or(Watched::Drained(SeatEnd::Cut), Watched::Ended);
                }
                () = sleep_until(well), if !is_well => {
                    is_well = true;
                    deaths.forget();
                    self.health.note(self.index, false);
                }
                () = stop.graceful.cancelled() => {
                    return Watched::Drained(self.drain(child, lifeline, stop).await);
                }
            }
        }
    }

    /// Tells the child to drain, and waits; kills it when the stop cuts.
    async fn drain(&self, mut child: Child, mut lifeline: ChildStdin, stop: &Stop) -> SeatEnd {
        // One that has ended this moment reads nothing any more.
        let _ended = lifeline.write_all(DRAIN).await;
        let Own { device, name, .. } = &self.own;
        let status = tokio::select! {
            status = timeout(patience(self.grace), child.wait()) => status.ok().and_then(Result::ok),
            () = stop.cut.cancelled() => None,
        };
        match status {
            Some(status) if status.success() => SeatEnd::Well,
            Some(status) => {
                tracing::warn!(device, worker = name, %status, "a worker did not end well");
                let was_cut = status.code() == Some(CUT.into());
                // Whatever it was: it held its job to the end.
                tracing::debug!(was_cut, "its lease runs out");
                SeatEnd::Cut
            }
            None => {
                tracing::warn!(device, worker = name, "killing a worker");
                let _gone = child.kill().await;
                SeatEnd::Cut
            }
        }
    }
}

/// What became of a child.
enum Watched {
    /// It ended by itself.
    Ended(ExitStatus),
    /// It was told to.
    Drained(SeatEnd),
}
