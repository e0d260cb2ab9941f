//! What a watched sweep looks like so far, and what is worth a line.

use std::collections::BTreeMap;

use temper_proto::v1::{Job, JobState, Sweep, WatchSweepResponse};

use crate::output;

/// The newest of each job, by name. Snapshots that repeat what is known change nothing.
#[derive(Default)]
pub struct Progress {
    jobs: BTreeMap<String, Job>,
    started: bool,
}

impl Progress {
    /// Takes a change over; returns a line for each new state and epoch.
    pub fn take(&mut self, change: &WatchSweepResponse) -> Vec<String> {
        let mut lines = Vec::new();
        if let (false, Some(sweep)) = (self.started, &change.sweep) {
            self.started = true;
            lines.push(headline(sweep));
        }
        for job in &change.jobs {
            let before = self.jobs.insert(job.name.clone(), job.clone());
            lines.extend(line(before.as_ref(), job));
        }
        lines
    }

    /// Jobs that a worker holds.
    pub fn running(&self) -> impl Iterator<Item = &Job> {
        self.jobs
            .values()
            .filter(|job| job.state() == JobState::Leased)
    }
}

/// Where the whole sweep stands, `3 of 8 cells, 7 of 16 jobs`.
pub fn summary(sweep: &Sweep) -> String {
    let jobs = sweep.jobs.unwrap_or_default();
    let total = jobs.queued + jobs.leased + jobs.succeeded + jobs.failed + jobs.cancelled;
    let failed = match jobs.failed {
        0 => String::new(),
        failed => format!(", {failed} failed"),
    };
    format!(
        "{} of {} cells, {} of {total} jobs{failed}",
        sweep.cells_succeeded, sweep.cells, jobs.succeeded
    )
}

/// How the sweep ended.
pub fn verdict(sweep: &Sweep) -> String {
    format!(
        "{} {}: {}",
        sweep.name,
        output::sweep_state(sweep.state),
        summary(sweep)
    )
}

/// Where a running job stands: its epoch and the newest accuracies.
pub fn position(job: &Job) -> String {
    let Some(epoch) = &job.last_epoch else {
        return output::job_kind(job.kind);
    };
    format!(
        "epoch {}/{}, clean/robust {}, {:.0} images/s",
        job.epochs_done,
        job.epochs,
        output::validation(epoch),
        epoch.images_per_second
    )
}

fn headline(sweep: &Sweep) -> String {
    format!("{} {}: {}", sweep.name, sweep.display_name, summary(sweep))
}

/// A line when the job changed; of a snapshot only what runs or needs a person.
fn line(before: Option<&Job>, job: &Job) -> Option<String> {
    let seen = |job: &Job| (job.state, job.epochs_done);
    let unchanged = before.is_some_and(|before| seen(before) == seen(job));
    let of_now = matches!(job.state(), JobState::Leased | JobState::Failed);
    if unchanged || (before.is_none() && !of_now) {
        return None;
    }
    let what = match job.state() {
        JobState::Leased => position(job),
        _ => output::job_state(job.state),
    };
    let reason = if job.message.is_empty() {
        String::new()
    } else {
        format!(" ({})", job.message)
    };
    Some(format!("{} {}: {what}{reason}", job.name, job.title))
}

#[cfg(test)]
mod tests {
    use temper_proto::v1::{EpochMetrics, JobCounts, JobKind, SweepState};

    use super::*;

    fn job(number: u32, state: JobState, epochs_done: i32) -> Job {
        let epoch = EpochMetrics {
            validation_accuracy: Some(0.72),
            validation_robust_accuracy: Some(0.25),
            ..Default::default()
        };
        Job {
            name: format!("jobs/{number}"),
            title: "mobilenetv2 fixed".into(),
            kind: JobKind::Train.into(),
            state: state.into(),
            epochs_done,
            epochs: 6,
            last_epoch: (epochs_done > 0).then_some(epoch),
            ..Default::default()
        }
    }

    fn change(jobs: Vec<Job>) -> WatchSweepResponse {
        let sweep = Sweep {
            name: "sweeps/x".into(),
            display_name: "demo".into(),
            state: SweepState::Running.into(),
            cells: 2,
            jobs: Some(JobCounts {
                queued: 3,
                leased: 1,
                ..Default::default()
            }),
            ..Default::default()
        };
        WatchSweepResponse {
            sweep: Some(sweep),
            jobs,
        }
    }

    #[test]
    fn snapshot_tells_what_runs_and_leaves_out_what_waits_or_is_done() {
        let snapshot = change(vec![
            job(1, JobState::Leased, 0),
            job(2, JobState::Queued, 0),
            job(3, JobState::Succeeded, 6),
        ]);
        assert_eq!(
            Progress::default().take(&snapshot),
            [
                "sweeps/x demo: 0 of 2 cells, 0 of 4 jobs",
                "jobs/1 mobilenetv2 fixed: train"
            ]
        );
    }

    #[test]
    fn epochs_and_states_are_told_once_also_after_reconnecting() {
        let mut progress = Progress::default();
        progress.take(&change(vec![job(1, JobState::Leased, 0)]));
        let epoch = change(vec![job(1, JobState::Leased, 1)]);
        assert_eq!(
            progress.take(&epoch),
            ["jobs/1 mobilenetv2 fixed: epoch 1/6, clean/robust 0.720/0.250, 0 images/s"]
        );
        assert_eq!(progress.take(&epoch), Vec::<String>::new());
        assert_eq!(progress.running().count(), 1);
        let end = progress.take(&change(vec![job(1, JobState::Succeeded, 6)]));
        assert_eq!(end, ["jobs/1 mobilenetv2 fixed: succeeded"]);
        assert_eq!(progress.running().count(), 0);
    }

    #[test]
    fn change_is_one_line_of_json() {
        let line = output::json_line(&change(vec![job(1, JobState::Leased, 1)])).unwrap();
        assert!(!line.contains('\n'));
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["jobs"][0]["epochsDone"], 1);
        assert_eq!(value["sweep"]["jobs"]["queued"], 3);
    }

    #[test]
    fn failure_is_told_with_its_reason() {
        let failed = Job {
            message: "truncated weights".into(),
            ..job(1, JobState::Failed, 0)
        };
        let lines = Progress::default().take(&change(vec![failed]));
        assert_eq!(
            lines[1],
            "jobs/1 mobilenetv2 fixed: failed (truncated weights)"
        );
    }

    #[test]
    fn job_that_returns_to_the_queue_is_told() {
        let mut progress = Progress::default();
        progress.take(&change(vec![job(1, JobState::Leased, 2)]));
        let lines = progress.take(&change(vec![job(1, JobState::Queued, 2)]));
        assert_eq!(lines, ["jobs/1 mobilenetv2 fixed: queued"]);
    }
}
