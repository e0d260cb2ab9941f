//! Why a job is not running, and what may keep a sweep's jobs from it, for people.

use std::collections::BTreeMap;

use temper_core::{
    expand::Layout,
    job::JobState,
    placement::{Constraint, Placement},
};
use temper_proto::{JobName, SweepName, v1};
use temper_store::{Explanation, Store, StoreError, SweepState, WorkerFit};

use super::{count, encode};

pub fn explained(explanation: Explanation) -> v1::ExplainJobResponse {
    let fitting = explanation.workers.iter();
    let fitting = fitting
        .filter(|worker| worker.constraints.is_empty())
        .count();
    let mut kept: BTreeMap<Constraint, u32> = BTreeMap::new();
    for worker in &explanation.workers {
        for &constraint in &worker.constraints {
            *kept.entry(constraint).or_default() += 1;
        }
    }
    let constraints = kept
        .iter()
        .map(|(&constraint, &workers)| v1::ConstraintCount {
            constraint: v1::Constraint::from(constraint).into(),
            workers: count(workers),
        });
    v1::ExplainJobResponse {
        reasons: reasons(&explanation, fitting, &kept),
        constraints: constraints.collect(),
        workers_fitting: i32::try_from(fitting).unwrap_or(i32::MAX),
        jobs_ahead: count(explanation.ahead),
        workers: explanation.workers.into_iter().map(worker_fit).collect(),
        job: Some(encode::job(explanation.job)),
    }
}

/// What may keep a sweep's jobs from running with the workers that are there now.
pub async fn warnings(
    store: &Store,
    placement: &Placement,
    layout: &Layout,
) -> Result<Vec<String>, StoreError> {
    let mut warnings = Vec::new();
    for precision in layout.precisions() {
        let fitness = store.placement_fitness(placement, precision).await?;
        if fitness.workers == 0 {
            return Ok(vec!["no worker is there: the jobs wait for one".to_owned()]);
        }
        if fitness.fitting == 0 {
            warnings.push(format!(
                "no worker that is there can run its {} jobs: {}, of {} in all",
                precision.as_str(),
                kept_out(&fitness.constraints),
                fitness.workers
            ));
        }
    }
    Ok(warnings)
}

fn reasons(
    explanation: &Explanation,
    fitting: usize,
    kept: &BTreeMap<Constraint, u32>,
) -> Vec<String> {
    let job = &explanation.job;
    let ended = match job.state {
        JobState::Queued => None,
        JobState::Leased => Some(
            match explanation.workers.iter().find(|w| w.holds == Some(job.id)) {
                Some(worker) => format!("it runs, on worker {}", worker.name),
                None => "it runs".to_owned(),
            },
        ),
        JobState::Succeeded => Some("it has succeeded".to_owned()),
        JobState::Failed => Some(format!(
            "it has failed ({}); RetryJobs queues it again",
            job.message
        )),
        JobState::Cancelled => Some(format!(
            "it was cancelled ({}); a sweep that is submitted with it queues it again",
            job.message
        )),
    };
    if let Some(ended) = ended {
        return vec![ended];
    }
    let mut reasons = Vec::new();
    if !explanation.wanted {
        reasons.extend(unwanted(explanation));
    }
    if let (Some(state), Some(train)) = (explanation.train_state, job.train_job) {
        reasons.push(format!(
            "it waits for its training {}, which is {state}",
            JobName(train.0)
        ));
    }
    if let Some(until) = explanation.pauses_until {
        reasons.push(format!(
            "it pauses after a failure until {}",
            encode::timestamp(until)
        ));
    }
    if let Some((leased, limit)) = explanation.limit
        && leased >= limit
    {
        reasons.push(format!(
            "{leased} jobs of its sweep are leased, and no more than {limit} may be"
        ));
    }
    reasons.extend(of_workers(explanation, fitting, kept));
    reasons
}

/// Why nobody wants the job just now.
fn unwanted(explanation: &Explanation) -> Vec<String> {
    let paused = explanation.sweeps.iter();
    let paused = paused.filter(|sweep| sweep.state == SweepState::Paused);
    let reasons: Vec<_> = paused
        .map(|sweep| match sweep.pause_reason.as_str() {
            "" => format!("{} is paused", SweepName(sweep.id)),
            reason => format!("{} is paused: {reason}", SweepName(sweep.id)),
        })
        .collect();
    if reasons.is_empty() {
        vec!["no live sweep wants it".to_owned()]
    } else {
        reasons
    }
}

fn of_workers(
    explanation: &Explanation,
    fitting: usize,
    kept: &BTreeMap<Constraint, u32>,
) -> Option<String> {
    let workers = explanation.workers.len();
    if workers == 0 {
        return Some("no worker was heard of within the hour".to_owned());
    }
    if fitting == 0 {
        return Some(format!(
            "no worker can take it now: {}, of {workers} in all",
            kept_out(kept)
        ));
    }
    let ahead = explanation.ahead;
    (ahead > 0).then(|| format!("{ahead} jobs of its owner come before it"))
}

/// `2 do not fit by device-kind, 1 are busy`.
fn kept_out(kept: &BTreeMap<Constraint, u32>) -> String {
    let lacking: Vec<_> = kept
        .iter()
        .map(|(constraint, workers)| match constraint {
            Constraint::Busy | Constraint::Silent => format!("{workers} are {constraint}"),
            _ => format!("{workers} do not fit by {constraint}"),
        })
        .collect();
    lacking.join(", ")
}

fn worker_fit(worker: WorkerFit) -> v1::WorkerFit {
    let constraints = worker.constraints.into_iter();
    let holds = worker.holds.map(|job| JobName(job.0).to_string());
    v1::WorkerFit {
        worker: worker.name,
        device: worker.device,
        constraints: constraints
            .map(|constraint| v1::Constraint::from(constraint).into())
            .collect(),
        free_memory_bytes: encode::length(worker.free_memory_bytes.unwrap_or_default()),
        wanted_memory_bytes: encode::length(worker.wanted_memory_bytes.unwrap_or_default()),
        holds: holds.unwrap_or_default(),
        last_seen_time: Some(encode::timestamp(worker.seen_at)),
    }
}
