//! Rows of the store as messages.

use chrono::{DateTime, Utc};
use temper_core::{
    catalog::{Input, InputKind},
    expand::Layout,
    placement::Placement,
};
use temper_proto::{JobName, SweepName, v1};
use temper_store::{
    Artifact, Attempt, AttemptOutcome, Checkpoint, JobCounts, JobDetail, JobId, JobRow, Retried,
    SweepPreview, SweepRequest, SweepRow, SweepState,
};

use super::count;

pub fn sweep(row: SweepRow, request: Option<&SweepRequest>) -> v1::Sweep {
    let inputs = request.map_or(&[][..], |request| &request.inputs);
    let state = match row.state {
        SweepState::Running => v1::SweepState::Running,
        SweepState::Paused => v1::SweepState::Paused,
        SweepState::Succeeded => v1::SweepState::Succeeded,
        SweepState::Failed => v1::SweepState::Failed,
        SweepState::Cancelled => v1::SweepState::Cancelled,
    };
    v1::Sweep {
        name: SweepName(row.id).to_string(),
        display_name: row.display_name,
        spec: request.map(|request| (&request.spec).into()),
        priority: row.priority,
        labels: row.labels.into_iter().collect(),
        state: state.into(),
        jobs: Some(job_counts(row.jobs)),
        cells: count(row.cells),
        cells_succeeded: count(row.cells_succeeded),
        jobs_created: count(row.jobs_created),
        create_time: Some(timestamp(row.created_at)),
        cancel_time: row.cancelled_at.map(timestamp),
        inputs: inputs.iter().map(input).collect(),
        etag: row.revision.to_string(),
        pause_time: row.paused_at.map(timestamp),
        pause_reason: row.pause_reason,
        owner: row.owner,
        preview: None,
        placement: placement(&row.placement),
        parallel_jobs: row.parallel_jobs.map_or(0, count),
        warnings: Vec::new(),
    }
}

/// What a sweep asks of workers; none for nothing.
pub fn placement(placement: &Placement) -> Option<v1::Placement> {
    (*placement != Placement::default()).then(|| placement.into())
}

/// A sweep that is not stored, with what it would come to.
pub fn previewed(preview: v1::SweepPreview, layout: &Layout) -> v1::Sweep {
    v1::Sweep {
        cells: whole(layout.cells().len() as u64),
        jobs: Some(v1::JobCounts {
            queued: preview.trainings + preview.evaluations - preview.jobs_succeeded,
            succeeded: preview.jobs_succeeded,
            ..v1::JobCounts::default()
        }),
        preview: Some(preview),
        ..v1::Sweep::default()
    }
}

pub fn preview(preview: SweepPreview, layout: &Layout) -> v1::SweepPreview {
    let trainings = layout.jobs().iter().filter(|job| job.depends_on.is_none());
    let trainings = trainings.count() as u64;
    v1::SweepPreview {
        trainings: whole(trainings),
        evaluations: whole(layout.jobs().len() as u64 - trainings),
        jobs_shared: whole(preview.shared),
        jobs_succeeded: whole(preview.succeeded),
        jobs_looked_up: whole(preview.looked_up),
        device_hours: preview.device_seconds / 3600.0,
        jobs_without_estimate: whole(preview.without_estimate),
    }
}

/// A count in the protocol's width; counts beyond it do not occur.
fn whole(count: u64) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

pub fn input(input: &Input) -> v1::SweepInput {
    let kind = match input.kind {
        InputKind::Model => v1::SweepInputKind::Model,
        InputKind::Dataset => v1::SweepInputKind::Dataset,
    };
    v1::SweepInput {
        kind: kind.into(),
        name: input.name.clone(),
        place: input.place.clone(),
        commit: input
            .commit
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        digest: input.digest.to_string(),
    }
}

fn job_counts(counts: JobCounts) -> v1::JobCounts {
    v1::JobCounts {
        queued: count(counts.queued),
        leased: count(counts.leased),
        succeeded: count(counts.succeeded),
        failed: count(counts.failed),
        cancelled: count(counts.cancelled),
    }
}

pub fn job(row: JobRow) -> v1::Job {
    v1::Job {
        name: JobName(row.id.0).to_string(),
        key: row.key.to_string(),
        kind: v1::JobKind::from(row.kind).into(),
        state: v1::JobState::from(row.state).into(),
        title: row.title,
        epochs_done: count(row.epochs_done),
        epochs: count(row.epochs),
        last_epoch: row.last_epoch.as_ref().map(Into::into),
        message: row.message,
        train_job: row
            .train_job
            .map(|id| JobName(id.0).to_string())
            .unwrap_or_default(),
        ..v1::Job::default()
    }
}

pub fn job_detail(detail: JobDetail) -> v1::Job {
    let (device_seconds, wasted_share) = (detail.device_seconds(), detail.wasted_share());
    v1::Job {
        attempts: detail.attempts.into_iter().map(attempt).collect(),
        epoch_metrics: detail.epochs.iter().map(Into::into).collect(),
        spec: Some((&detail.spec).into()),
        device_seconds,
        wasted_share,
        ..job(detail.job)
    }
}

pub fn attempt(attempt: Attempt) -> v1::Attempt {
    let outcome = match attempt.outcome {
        None => v1::AttemptOutcome::Running,
        Some(AttemptOutcome::Succeeded) => v1::AttemptOutcome::Succeeded,
        Some(AttemptOutcome::Failed) => v1::AttemptOutcome::Failed,
        Some(AttemptOutcome::Released) => v1::AttemptOutcome::Released,
        Some(AttemptOutcome::Lost) => v1::AttemptOutcome::Lost,
        Some(AttemptOutcome::Cancelled) => v1::AttemptOutcome::Cancelled,
    };
    let class = attempt
        .failure_class
        .map_or(v1::FailureClass::Unspecified, Into::into);
    v1::Attempt {
        number: count(attempt.number),
        worker: attempt.worker,
        device: attempt.device,
        start_time: Some(timestamp(attempt.started_at)),
        end_time: attempt.ended_at.map(timestamp),
        outcome: outcome.into(),
        failure_class: class.into(),
        message: attempt.message,
        fence: attempt.fence,
        peak_memory_bytes: length(attempt.peak_memory_bytes.unwrap_or_default()),
        device_seconds: attempt.device_seconds,
    }
}

pub fn retried(retried: Retried) -> v1::RetryJobsResponse {
    let names = |jobs: Vec<JobId>| jobs.iter().map(|id| JobName(id.0).to_string()).collect();
    let count = count(u32::try_from(retried.jobs.len()).unwrap_or(u32::MAX));
    v1::RetryJobsResponse {
        jobs: names(retried.jobs),
        count,
        revived_jobs: names(retried.revived),
    }
}

pub fn checkpoint(row: Checkpoint) -> v1::Checkpoint {
    v1::Checkpoint {
        step: length(row.step),
        epochs: row.epochs,
        path: row.path,
        sha256: row.sha256.to_string(),
        size: length(row.size),
    }
}

pub fn artifact(row: Artifact) -> v1::Artifact {
    v1::Artifact {
        path: row.path,
        sha256: row.sha256.to_string(),
        size: length(row.size),
    }
}

/// A length in the protocol's width.
pub fn length(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

pub fn timestamp(time: DateTime<Utc>) -> prost_types::Timestamp {
    let nanos = i32::try_from(time.timestamp_subsec_nanos()).unwrap_or_default();
    prost_types::Timestamp {
        seconds: time.timestamp(),
        nanos,
    }
}
