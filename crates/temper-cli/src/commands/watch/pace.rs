//! How long a watched sweep still takes, by what has ended since it is watched.

use std::time::Duration;

use temper_proto::v1::{JobCounts, Sweep};

/// Jobs that had been begun and had ended when watching began, and the newest counts.
#[derive(Debug, Default, Clone, Copy)]
pub struct Pace {
    first: Option<JobCounts>,
    now: JobCounts,
}

/// When the jobs in a state will have left it; none while too little is known.
#[derive(Debug, PartialEq, Eq)]
pub struct Estimates {
    /// Until the last of what waits is begun.
    pub queued: Option<Duration>,
    /// Until what runs has ended.
    pub running: Option<Duration>,
    /// Until all has ended.
    pub all: Option<Duration>,
}

impl Pace {
    /// Takes the newest counts.
    pub fn take(&mut self, sweep: &Sweep) {
        let Some(counts) = sweep.jobs else { return };
        self.first.get_or_insert(counts);
        self.now = counts;
    }

    /// Jobs by state.
    pub fn counts(&self) -> JobCounts {
        self.now
    }

    /// Estimates after watching for so long: jobs are taken to end as fast as they have since.
    pub fn estimates(&self, watched: Duration) -> Estimates {
        let first = self.first.unwrap_or_default();
        let since = ended(self.now) - ended(first);
        let a_job = (since > 0).then(|| watched.as_secs_f64() / f64::from(since));
        let after = |jobs: i32| Some(Duration::from_secs_f64(a_job? * f64::from(jobs.max(0))));
        Estimates {
            queued: after(self.now.queued),
            running: after(self.now.leased),
            all: after(self.now.queued + self.now.leased),
        }
    }
}

/// Jobs that nothing more happens to.
pub fn ended(jobs: JobCounts) -> i32 {
    jobs.succeeded + jobs.failed + jobs.cancelled
}

/// `2h 05m`, `5m 10s`, `40s`; a question mark while it is not known.
pub fn short(time: Option<Duration>) -> String {
    let Some(time) = time else {
        return "?".to_owned();
    };
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m {seconds:02}s"),
        (hours, minutes, _) => format!("{hours}h {minutes:02}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sweep(queued: i32, leased: i32, succeeded: i32) -> Sweep {
        Sweep {
            jobs: Some(JobCounts {
                queued,
                leased,
                succeeded,
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn jobs_that_had_ended_before_do_not_count() {
        let mut pace = Pace::default();
        pace.take(&sweep(10, 2, 100));
        let minute = Duration::from_mins(1);
        let unknown = Estimates {
            queued: None,
            running: None,
            all: None,
        };
        assert_eq!(pace.estimates(minute), unknown);
        pace.take(&sweep(6, 2, 104));
        let a_job = Duration::from_secs(15);
        assert_eq!(
            pace.estimates(minute),
            Estimates {
                queued: Some(a_job * 6),
                running: Some(a_job * 2),
                all: Some(a_job * 8),
            }
        );
    }

    #[test]
    fn times_read_at_a_glance() {
        let texts = [40, 310, 7500].map(|s| short(Some(Duration::from_secs(s))));
        assert_eq!(texts, ["40s", "5m 10s", "2h 05m"]);
        assert_eq!(short(None), "?");
    }
}
