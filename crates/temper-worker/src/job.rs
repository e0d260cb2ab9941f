//! One assignment, from its lease to its end.

use std::sync::Arc;

use temper_data::Sources;
use temper_proto::v1;
use temper_service::{
    objects::Objects,
    status,
    stop::{Stop, Tasks},
};
use temper_torch::{Control, Device};
use tokio_util::sync::CancellationToken;

use crate::{
    JobError,
    assignment::{Task, Work},
    coordinator::Coordinator,
    engine::Engine,
    evaluate::{self, Models},
    lease::{Lease, Timing, confirm, keep},
    report::{ReportError, Reports},
    train,
};

/// What outlives jobs.
#[derive(Debug)]
pub(crate) struct Host {
    pub engine: Engine,
    pub sources: Arc<Sources>,
    pub models: Models,
    pub device: Device,
    pub eval_batch: usize,
    pub stop: Stop,
    pub tasks: Tasks,
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
    /// This process has to stop: the job is to be given back.
    Drained,
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
        } else if self.stop.graceful.is_cancelled() {
            Control::Drain
        } else {
            Control::Continue
        }
    }
}

/// Runs an assignment. Whatever becomes of it is reported and logged here.
pub(crate) async fn run(host: &Host, terms: &Terms, assignment: v1::Assignment) {
    let lease = Arc::new(Lease::new(assignment.lease.clone().unwrap_or_default()));
    let reference = lease.reference().clone();
    let coordinator = terms.coordinator.clone();
    let mut beat = move || coordinator.clone().heartbeat(reference.clone());
    let Some(since) = confirm(&lease, terms.timing, &mut beat).await else {
        tracing::warn!(why = ?lease.ended(), "the lease was over before the job began");
        return;
    };
    // Ends with the lease, or when the job is done.
    let done = CancellationToken::new();
    let heartbeats = keep(Arc::clone(&lease), terms.timing, since, beat);
    let until = done.clone();
    let heartbeats = host.tasks.spawn("heartbeats", async move {
        tokio::select! {
            () = heartbeats => {}
            () = until.cancelled() => {}
        }
    });
    match Work::read(&assignment) {
        Ok(work) => attempt(host, terms, &lease, work).await,
        Err(error) => {
            // There may be no key to report under; a failure needs none.
            let key = temper_core::Digest::of(&[]);
            let reports =
                Reports::new(terms.coordinator.clone(), terms.objects.clone(), lease, key);
            conclude(&reports, Err(error)).await;
        }
    }
    done.cancel();
    // The task was just told to end.
    let _ended = heartbeats.await;
}

async fn attempt(host: &Host, terms: &Terms, lease: &Arc<Lease>, work: Work) {
    let reports = Reports::new(
        terms.coordinator.clone(),
        terms.objects.clone(),
        Arc::clone(lease),
        work.key,
    );
    let switch = Switch::new(lease, &host.stop);
    let result = match work.task {
        Task::Train { spec, checkpoints } => {
            tracing::info!(
                model = spec.model.name,
                dataset = spec.dataset.name,
                "training"
            );
            train::run(host, &reports, &switch, Arc::new(*spec), &checkpoints).await
        }
        Task::Evaluate { spec, artifact } => {
            let model = &spec.train.model.name;
            tracing::info!(model, dataset = spec.train.dataset.name, "evaluating");
            evaluate::run(host, &reports, &switch, *spec, &artifact).await
        }
    };
    conclude(&reports, result).await;
}

/// Says how the attempt ended, to the coordinator and to the log.
async fn conclude(reports: &Reports, result: Result<Done, JobError>) {
    let told = match result {
        Ok(Done::Completed) => {
            tracing::info!("completed");
            Ok(())
        }
        Ok(Done::Drained) => {
            let told = reports.release().await;
            tracing::info!("released");
            told
        }
        Err(error) => match error.class() {
            None => Err(ReportError::LeaseOver),
            Some(class) => {
                let message = status::chain(&error);
                tracing::error!(%class, error = message, "failed");
                reports.fail(class, message).await
            }
        },
    };
    match told {
        Ok(()) => {}
        Err(ReportError::LeaseOver) => {
            tracing::info!(why = ?reports.lease().ended(), "discarded: the lease is over");
        }
        Err(ReportError::Refused(status)) => {
            tracing::error!(
                reason = status::explain(&status),
                "the coordinator took no report"
            );
        }
    }
}
