//! One assignment, from its lease to its end.

use std::{sync::Arc, time::Duration};

use temper_proto::v1;
use temper_service::{
    objects::Objects,
    status,
    stop::{Stop, Tasks},
};
use temper_torch::{Control, Device};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    JobError,
    assignment::Task,
    backend::Backend,
    coordinator::Coordinator,
    engine::Engine,
    evaluate::{self, Models},
    lease::{Lease, Timing, confirm, keep},
    logs::{Capture, Logs},
    metrics,
    report::{ReportError, Reports},
    train,
};

/// What outlives jobs.
#[derive(Debug)]
pub(crate) struct Host {
    pub engine: Engine,
    pub backend: Arc<dyn Backend>,
    pub models: Models,
    pub capture: Capture,
    pub device: Device,
    pub checkpoint_every: Duration,
    /// When this process has to be gone; none: never.
    pub leaves_at: Option<Instant>,
    /// Cancelled once there is too little time for anything more.
    pub time_over: CancellationToken,
    /// Cancelled once a drain has used up its grace.
    pub late: CancellationToken,
    pub stop: Stop,
    pub tasks: Tasks,
}

impl Host {
    /// How long this process may still stay on the machine; none: for ever.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        let now = Instant::now();
        self.leaves_at.map(|end| end.saturating_duration_since(now))
    }
}

/// What came with a registration.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub coordinator: Coordinator,
    pub incarnation: String,
    pub timing: Timing,
    pub objects: Objects,
}

/// How a job ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done {
    /// Its result was accepted.
    Completed,
    /// The job is to be given back: this process has to stop, or no sweep wants it just now.
    Drained,
}

/// The device failed, and this process gets to work on it no more; what it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeviceFailed(pub String);

/// A try at a job.
pub(crate) struct Attempt<'a> {
    pub host: &'a Host,
    pub reports: Reports,
    pub switch: Switch,
}

/// Tells what runs on the libtorch thread when to stop.
#[derive(Debug, Clone)]
pub(crate) struct Switch {
    lease: Arc<Lease>,
    stop: Stop,
    /// Cancelled when the result is not wanted for another reason.
    pub abort: CancellationToken,
}

impl Switch {
    fn new(lease: &Arc<Lease>, stop: &Stop) -> Self {
        let abort = CancellationToken::new();
        Self {
            lease: Arc::clone(lease),
            stop: stop.clone(),
            abort,
        }
    }

    pub(crate) fn control(&self) -> Control {
        let tokens = [self.lease.over(), &self.stop.cut, &self.abort];
        if tokens.iter().any(|token| token.is_cancelled()) {
            Control::Abort
        } else if self.stop.graceful.is_cancelled() || self.lease.release().is_cancelled() {
            Control::Drain
        } else {
            Control::Continue
        }
    }
}

/// Runs an assignment, in the span that is its log. Whatever becomes of it is reported, logged and counted
/// here.
///
/// # Errors
/// When no other may follow it in this process.
pub(crate) async fn run(
    host: &Host,
    terms: &Terms,
    assignment: v1::Assignment,
) -> Result<(), DeviceFailed> {
    let task = Task::read(&assignment);
    let kind = match &task {
        Ok(Task::Train(_)) => "train",
        Ok(Task::Evaluate(_)) => "evaluate",
        Err(_) => "none",
    };
    let lease = assignment.lease.unwrap_or_default();
    let (outcome, device) = attempt(host, terms, lease, task).await;
    metrics::job(kind, outcome);
    device
}

/// The same, but for counting: its outcome as well.
async fn attempt(
    host: &Host,
    terms: &Terms,
    lease: v1::LeaseRef,
    task: Result<Task, JobError>,
) -> (&'static str, Result<(), DeviceFailed>) {
    let captured = host.capture.attach(&tracing::Span::current());
    let _busy = metrics::busy();
    tracing::info!("leased");
    let lease = Arc::new(Lease::new(lease));
    let reference = lease.reference().clone();
    let coordinator = terms.coordinator.clone();
    let mut beat = move || coordinator.clone().heartbeat(reference.clone());
    let Some(since) = confirm(&lease, terms.timing, &mut beat).await else {
        tracing::warn!(why = ?lease.ended(), "the lease was over before the job began");
        return (DISCARDED, Ok(()));
    };
    // Both tasks end when the job is done or dropped, the heartbeats with the lease too.
    let until = CancellationToken::new();
    let done = until.clone().drop_guard();
    let (coordinator, objects) = (terms.coordinator.clone(), terms.objects.clone());
    let logs = Logs::new(coordinator.clone(), lease.reference().clone(), captured);
    let sending = host
        .tasks
        .spawn("logs", logs.clone().send_until(until.clone()));
    let heartbeats = keep(Arc::clone(&lease), terms.timing, since, beat);
    let heartbeats = host.tasks.spawn("heartbeats", async move {
        tokio::select! {
            () = heartbeats => {}
            () = until.cancelled() => {}
        }
    });
    let switch = Switch::new(&lease, &host.stop);
    let attempt = Attempt {
        host,
        reports: Reports::new(coordinator, objects, lease).with_logs(logs),
        switch,
    };
    let ended = attempt.run(task).await;
    drop(done);
    // The tasks were just told to end.
    let _ended = tokio::join!(heartbeats, sending);
    ended
}

impl Attempt<'_> {
    /// Runs it to its end; its outcome, and whether the device is still of use.
    async fn run(&self, task: Result<Task, JobError>) -> (&'static str, Result<(), DeviceFailed>) {
        let result = tokio::select! {
            biased;
            result = async { self.work(task?).await } => result,
            () = self.host.late.cancelled() => {
                // What still computes stops at its next step, and is not waited for.
                self.switch.abort.cancel();
                tracing::warn!("giving the job back without what was done since its last checkpoint");
                Ok(Done::Drained)
            }
        };
        let failed = result.as_ref().err().and_then(JobError::of_device);
        let device = failed.map_or(Ok(()), |said| Err(DeviceFailed(said.to_owned())));
        (conclude(&self.reports, result).await, device)
    }

    async fn work(&self, task: Task) -> Result<Done, JobError> {
        match task {
            Task::Train(task) => {
                let spec = &task.spec;
                tracing::info!(
                    model = spec.model.name,
                    dataset = spec.dataset.name,
                    "training"
                );
                train::run(self, &task).await
            }
            Task::Evaluate(task) => {
                let spec = &task.spec.train;
                tracing::info!(
                    model = spec.model.name,
                    dataset = spec.dataset.name,
                    "evaluating"
                );
                evaluate::run(self, &task).await
            }
        }
    }

    /// What gets a job ready; none when it is to be given back before that: there is nothing to keep of
    /// it. Images that are being read are left to themselves then, and the next job does not wait.
    ///
    /// # Errors
    /// That of `preparing`, or that the lease is over.
    pub(crate) async fn ready<T>(
        &self,
        preparing: impl Future<Output = Result<T, JobError>>,
    ) -> Result<Option<T>, JobError> {
        let lease = self.reports.lease();
        tokio::select! {
            biased;
            () = lease.over().cancelled() => Err(ReportError::LeaseOver.into()),
            () = self.host.stop.graceful.cancelled() => {
                tracing::info!("stopping before the job began");
                Ok(None)
            }
            () = lease.release().cancelled() => {
                tracing::info!("the job is not wanted now: giving it back before it began");
                Ok(None)
            }
            ready = preparing => ready.map(Some),
        }
    }

    /// What an aborted run amounts to: with the lease over, nothing; else this process is stopping.
    pub(crate) fn aborted(&self) -> Result<Done, JobError> {
        match self.reports.lease().ended() {
            Some(_) => Err(ReportError::LeaseOver.into()),
            None => Ok(Done::Drained),
        }
    }
}

/// The outcome of an attempt whose lease is over: nobody hears of it any more.
const DISCARDED: &str = "discarded";
/// The outcome of an attempt whose end the coordinator does not take.
const REFUSED: &str = "refused";

/// Says how the attempt ended, to the coordinator and to the log; the outcome for whoever counts, which
/// is what the coordinator has taken.
async fn conclude(reports: &Reports, result: Result<Done, JobError>) -> &'static str {
    let (outcome, told) = match result {
        Ok(Done::Completed) => ("completed", Ok(())),
        Ok(Done::Drained) => ("released", reports.release().await),
        Err(error) => match error.class() {
            None => (DISCARDED, Err(ReportError::LeaseOver)),
            Some(class) => {
                let message = status::chain(&error);
                // Before it is told: the job's log, which this is a line of, goes first.
                tracing::error!(%class, error = message, "failed");
                ("failed", reports.fail(class, message).await)
            }
        },
    };
    match told {
        Ok(()) => {
            tracing::info!(outcome, "the attempt has ended");
            outcome
        }
        Err(ReportError::LeaseOver) => {
            tracing::info!(why = ?reports.lease().ended(), "discarded: the lease is over");
            DISCARDED
        }
        Err(ReportError::Refused(status)) => {
            let reason = status::explain(&status);
            tracing::error!(outcome, reason, "the coordinator took no report");
            REFUSED
        }
    }
}

#[cfg(test)]
mod tests;
