//! `WorkerService`.

use std::{sync::Arc, time::Duration};

use temper_core::{Violations, job::FailureClass, report::EpochMetrics, spec::RESULT_VERSION};
use temper_proto::{
    JobName,
    v1::{self, complete_request::Result as Outcome},
};
use temper_service::{
    access::principal,
    status::{self, bad_field, field},
    traces,
};
use temper_store::{
    AttemptOutcome, Checkpoint, Claim, FailedAttempt, JobId, LeaseRef, LeaseStatus, NewWorker,
    StoreError, WorkerRef,
};
use tokio::time::Instant;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{encode, logs, refused, result};
use crate::{Shared, metrics, submit};

/// Longest wait of a Lease call.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// How often a waiting Lease call looks by itself, should a wake-up be lost; where more than a few hundred
/// wait, as often as comes to one look each 5 ms over all of them.
const POLL: Duration = Duration::from_secs(2);
const POLL_OF_ONE: Duration = Duration::from_millis(5);
/// Longest message of a failure that is kept, in characters.
const MAX_MESSAGE: usize = 4000;

pub struct Workers(pub Arc<Shared>);

#[tonic::async_trait]
impl v1::worker_service_server::WorkerService for Workers {
    async fn register(
        &self,
        request: Request<v1::RegisterRequest>,
    ) -> Result<Response<v1::RegisterResponse>, Status> {
        let token = principal(&request)?.token;
        let request = request.into_inner();
        let worker = worker_ref(token, &request.incarnation)?;
        if !request.result_versions.contains(&RESULT_VERSION) {
            let wanted = format!("must contain {RESULT_VERSION}: worker and coordinator differ");
            return Err(bad_field("result_versions", wanted));
        }
        let labels = request.labels.into_iter().collect();
        let mut violations = Violations::default();
        submit::check_text("worker", &request.worker, &mut violations);
        submit::check_text("device", &request.device, &mut violations);
        submit::check_labels("labels", &labels, &mut violations);
        let labels = violations.into_result(labels);
        let labels = labels.map_err(|violations| status::bad_request(&violations))?;
        let checkpoints = result::duration("checkpoint_interval", request.checkpoint_interval)?;
        tracing::info!(
            worker = request.worker,
            device = request.device,
            "worker registered"
        );
        let worker = NewWorker {
            worker,
            name: request.worker,
            device: request.device,
            memory_bytes: u64::try_from(request.memory_bytes)
                .ok()
                .filter(|bytes| *bytes > 0),
            precisions: result::precisions(&request.precisions)?,
            result_versions: request.result_versions,
            labels,
            time_left: result::duration("time_left", request.time_left)?,
            // A lease, because that is how long a worker may be without word of it.
            least_time: checkpoints.unwrap_or_default() + self.0.config.lease,
        };
        self.0
            .store
            .worker_register(&worker)
            .await
            .map_err(refused)?;
        Ok(Response::new(v1::RegisterResponse {
            lease_duration: Some(duration(self.0.config.lease)),
            heartbeat_interval: Some(duration(self.0.config.heartbeat)),
            object_store: self.0.config.object_store.clone(),
        }))
    }

    async fn lease(
        &self,
        request: Request<v1::LeaseRequest>,
    ) -> Result<Response<v1::LeaseResponse>, Status> {
        let token = principal(&request)?.token;
        let request = request.into_inner();
        let worker = worker_ref(token, &request.incarnation)?;
        let wait = request
            .wait
            .and_then(|wait| Duration::try_from(wait).ok())
            .unwrap_or_default();
        let free = result::known("free_memory_bytes", request.free_memory_bytes)?;
        let held = self.0.store.worker_ask(worker, free).await;
        let held = held.map_err(refused)?;
        if request.idle {
            self.disown(&held).await?;
        }
        let claim = self.claim(worker, wait.min(MAX_WAIT)).await?;
        Ok(Response::new(v1::LeaseResponse {
            assignment: claim.map(|claim| handed_out(claim, worker)),
        }))
    }

    async fn heartbeat(
        &self,
        request: Request<v1::HeartbeatRequest>,
    ) -> Result<Response<v1::HeartbeatResponse>, Status> {
        let token = principal(&request)?.token;
        let request = request.into_inner();
        let worker = worker_ref(token, &request.incarnation)?;
        let leases = request
            .leases
            .iter()
            .enumerate()
            .map(|(i, lease)| {
                let JobName(job) = field(&format!("leases[{i}].job"), &lease.job)?;
                Ok((JobId(job), lease.fence))
            })
            .collect::<Result<Vec<_>, Status>>()?;
        let store = &self.0.store;
        let statuses = store
            .lease_heartbeat(worker, &leases, self.0.config.lease)
            .await
            .map_err(refused)?;
        let cancelled = statuses
            .iter()
            .filter(|status| **status == LeaseStatus::Cancel);
        // The worker stops at that, and asks no more.
        metrics::attempts(AttemptOutcome::Cancelled, None, cancelled.count());
        let statuses = statuses
            .into_iter()
            .map(|status| lease_status(status).into())
            .collect();
        Ok(Response::new(v1::HeartbeatResponse { statuses }))
    }

    async fn report_epochs(
        &self,
        request: Request<v1::ReportEpochsRequest>,
    ) -> Result<Response<v1::ReportEpochsResponse>, Status> {
        let token = principal(&request)?.token;
        let request = request.into_inner();
        let lease = lease_ref(token, request.lease.as_ref())?;
        let epochs: Vec<EpochMetrics> = request.epochs.iter().map(Into::into).collect();
        self.0
            .store
            .epochs_report(&lease, &epochs)
            .await
            .map_err(refused)?;
        Ok(Response::new(v1::ReportEpochsResponse {}))
    }

    async fn register_checkpoint(
        &self,
        request: Request<v1::RegisterCheckpointRequest>,
    ) -> Result<Response<v1::RegisterCheckpointResponse>, Status> {
        let token = principal(&request)?.token;
        let request = request.into_inner();
        let lease = lease_ref(token, request.lease.as_ref())?;
        let checkpoint = request.checkpoint.unwrap_or_default();
        let checkpoint = Checkpoint {
            step: result::unsigned("checkpoint.step", checkpoint.step)?,
            epochs: checkpoint.epochs,
            sha256: field("checkpoint.sha256", &checkpoint.sha256)?,
            size: result::unsigned("checkpoint.size", checkpoint.size)?,
            path: checkpoint.path,
        };
        result::check_path("checkpoint.path", &checkpoint.path, &lease)?;
        self.0
            .store
            .checkpoint_register(&lease, &checkpoint)
            .await
            .map_err(refused)?;
        Ok(Response::new(v1::RegisterCheckpointResponse {}))
    }

    async fn report_logs(
        &self,
        request: Request<v1::ReportLogsRequest>,
    ) -> Result<Response<v1::ReportLogsResponse>, Status> {
        let token = principal(&request)?.token;
        let request = request.into_inner();
        let lease = lease_ref(token, request.lease.as_ref())?;
        let lines = logs::reported(request.first_line, request.lines)?;
        let reported = self.0.store.logs_report(&lease, &lines).await;
        reported.map_err(refused)?;
        Ok(Response::new(v1::ReportLogsResponse {}))
    }

    async fn complete(
        &self,
        request: Request<v1::CompleteRequest>,
    ) -> Result<Response<v1::CompleteResponse>, Status> {
        let token = principal(&request)?.token;
        let request = request.into_inner();
        let lease = lease_ref(token, request.lease.as_ref())?;
        match request.result {
            None => return Err(bad_field("result", "must be one of train, evaluate")),
            Some(Outcome::Train(result)) => {
                let trained = result::trained(result, &lease)?;
                let complete = self.0.store.train_complete(&lease, &trained);
                complete.await.map_err(|error| not_taken(&lease, error))?;
            }
            Some(Outcome::Evaluate(result)) => {
                let measured = result::measured(&result)?;
                let complete = self.0.store.evaluation_complete(&lease, &measured);
                complete.await.map_err(|error| not_taken(&lease, error))?;
            }
        }
        metrics::attempts(AttemptOutcome::Succeeded, None, 1);
        tracing::info!(job = %lease.job, fence = lease.fence, "job succeeded");
        Ok(Response::new(v1::CompleteResponse {}))
    }

    async fn fail(
        &self,
        request: Request<v1::FailRequest>,
    ) -> Result<Response<v1::FailResponse>, Status> {
        let token = principal(&request)?.token;
        let request = request.into_inner();
        let lease = lease_ref(token, request.lease.as_ref())?;
        let invalid = |violations: Violations| status::bad_request(&violations);
        let class = FailureClass::try_from(request.failure_class()).map_err(invalid)?;
        let message: String = request.message.chars().take(MAX_MESSAGE).collect();
        let failed = FailedAttempt {
            class,
            message: &message,
            peak_memory_bytes: result::known("peak_memory_bytes", request.peak_memory_bytes)?,
        };
        let state = self.0.store.attempt_fail(&lease, failed).await;
        let state = state.map_err(refused)?;
        metrics::attempts(AttemptOutcome::Failed, Some(class), 1);
        tracing::warn!(job = %lease.job, %class, message, %state, "attempt failed");
        Ok(Response::new(v1::FailResponse {}))
    }

    async fn release(
        &self,
        request: Request<v1::ReleaseRequest>,
    ) -> Result<Response<v1::ReleaseResponse>, Status> {
        let token = principal(&request)?.token;
        let lease = lease_ref(token, request.get_ref().lease.as_ref())?;
        self.0.store.lease_release(&lease).await.map_err(refused)?;
        metrics::attempts(AttemptOutcome::Released, None, 1);
        Ok(Response::new(v1::ReleaseResponse {}))
    }
}

impl Workers {
    /// Gives back what a worker holds that says it holds nothing.
    async fn disown(&self, held: &[LeaseRef]) -> Result<(), Status> {
        let jobs = self.0.store.leases_disown(held).await.map_err(refused)?;
        metrics::attempts(AttemptOutcome::Released, None, jobs.len());
        for job in jobs {
            tracing::warn!(%job, "a worker knows nothing of its lease: given back");
        }
        Ok(())
    }

    /// Claims a job, waiting for one at most so long, and not beyond the graceful stop.
    async fn claim(&self, worker: WorkerRef, wait: Duration) -> Result<Option<Claim>, Status> {
        let deadline = Instant::now() + wait;
        let Shared { ready, looks, .. } = &*self.0;
        let mut news = ready.subscribe();
        let mut turn = None;
        loop {
            // Seen before the claim, so that what becomes ready during it is not missed.
            news.mark_unchanged();
            let claim = self.0.store.lease_claim(worker, self.0.config.lease);
            let claim = claim.await.map_err(refused)?;
            drop(turn);
            let left = deadline.saturating_duration_since(Instant::now());
            if claim.as_ref().is_some_and(|claim| claim.rescues) {
                metrics::rescued();
            }
            if claim.is_some() || left.is_zero() {
                return Ok(claim);
            }
            let waiting = u32::try_from(ready.receiver_count()).unwrap_or(u32::MAX);
            let poll = POLL.max(POLL_OF_ONE.saturating_mul(waiting));
            tokio::select! {
                _ = news.changed() => {}
                () = tokio::time::sleep(left.min(poll)) => {}
                () = self.0.stop.graceful.cancelled() => return Ok(None),
            }
            turn = looks.acquire().await.ok();
        }
    }
}

/// Refuses a result. One that comes too late is told of: work was done for nothing.
fn not_taken(lease: &LeaseRef, error: StoreError) -> Status {
    if let StoreError::LeaseLost { reason, .. } = &error {
        tracing::warn!(job = %lease.job, fence = lease.fence, reason, "late result refused");
    }
    refused(error)
}

/// What a worker is told of the job that it has leased. In traces the lease has a span, which the attempt goes on
/// with: the call of Lease itself began before anybody knew which job it would be.
fn handed_out(claim: Claim, worker: WorkerRef) -> v1::Assignment {
    let (job, fence, rescues) = (claim.lease.job, claim.lease.fence, claim.rescues);
    let incarnation = worker.incarnation;
    let span = tracing::info_span!("lease", %job, fence, %incarnation, rescues);
    if let Some(parent) = claim.trace {
        traces::follow(&span, parent);
    }
    // Where this coordinator sends no spans, another's trace goes on past it.
    let parent = span.in_scope(traces::current).or(claim.trace);
    v1::Assignment {
        traceparent: parent.map(|parent| parent.to_string()).unwrap_or_default(),
        ..assignment(claim)
    }
}

fn assignment(claim: Claim) -> v1::Assignment {
    v1::Assignment {
        lease: Some(v1::LeaseRef {
            job: JobName(claim.lease.job.0).to_string(),
            incarnation: claim.lease.incarnation.to_string(),
            fence: claim.lease.fence,
        }),
        key: claim.key.to_string(),
        spec: Some((&claim.spec).into()),
        checkpoints: claim
            .checkpoints
            .into_iter()
            .map(encode::checkpoint)
            .collect(),
        artifact: claim.artifact.map(encode::artifact),
        traceparent: String::new(),
    }
}

fn lease_status(status: LeaseStatus) -> v1::LeaseStatus {
    match status {
        LeaseStatus::Continue => v1::LeaseStatus::Continue,
        LeaseStatus::Release => v1::LeaseStatus::Release,
        LeaseStatus::Cancel => v1::LeaseStatus::Cancel,
        LeaseStatus::Lost => v1::LeaseStatus::Lost,
    }
}

/// A worker, as the caller with this token names it.
fn worker_ref(token: Uuid, incarnation: &str) -> Result<WorkerRef, Status> {
    let incarnation = field("incarnation", incarnation)?;
    Ok(WorkerRef { incarnation, token })
}

/// A lease, as the caller with this token names it.
fn lease_ref(token: Uuid, lease: Option<&v1::LeaseRef>) -> Result<LeaseRef, Status> {
    let lease = lease.ok_or_else(|| bad_field("lease", "must be given"))?;
    let JobName(job) = field("lease.job", &lease.job)?;
    let incarnation = field("lease.incarnation", &lease.incarnation)?;
    Ok(LeaseRef {
        job: JobId(job),
        incarnation,
        token,
        fence: lease.fence,
    })
}

fn duration(duration: Duration) -> prost_types::Duration {
    // Fails only beyond 292 billion years.
    prost_types::Duration::try_from(duration).unwrap_or_default()
}
