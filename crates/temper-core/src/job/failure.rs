//! Why attempts fail, and what follows: each class has a policy of tries and pauses.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::random::{Keyed, Purpose};

/// Why an attempt ended without a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureClass {
    /// The machine was taken away.
    Preempted,
    /// Network, disk, device, database or object store.
    Infrastructure,
    /// The lease ran out with no word from the worker.
    Lost,
    /// Too little memory.
    OutOfMemory,
    /// A loss that is not finite.
    Diverged,
    /// A file is missing, damaged, or not what its digest says.
    BadInput,
    /// A defect.
    Code,
}

/// How often a job may fail in a class, and how long it waits in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Tries that may end in the class until the job has failed; none: without limit.
    pub tries: Option<u32>,
    /// The pause after the first; it doubles with each further one, up to [`LONGEST_PAUSE`].
    pub first_pause: Duration,
}

/// What follows a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Queue again, not before this has passed.
    RetryAfter(Duration),
    /// The job has failed.
    GiveUp,
}

/// Pauses do not double beyond this.
pub const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// Share of a pause by which it is made shorter or longer at most, so that jobs which failed
/// together are not tried again together.
pub const JITTER: f64 = 0.25;

impl FailureClass {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Preempted,
        Self::Infrastructure,
        Self::Lost,
        Self::OutOfMemory,
        Self::Diverged,
        Self::BadInput,
        Self::Code,
    ];

    /// The policy of the class.
    #[must_use]
    pub fn policy(self) -> Policy {
        let (tries, first_seconds) = match self {
            // It says nothing against the job. The pause keeps one that is preempted as soon as it
            // starts from circling as fast as leases are given.
            Self::Preempted => (None, 2),
            Self::Infrastructure => (Some(5), 5),
            // A job that kills its worker must not circle for ever.
            Self::Lost => (Some(3), 2),
            Self::OutOfMemory | Self::Code => (Some(2), 5),
            // Deterministic: another try would end the same way.
            Self::Diverged | Self::BadInput => (Some(1), 0),
        };
        Policy {
            tries,
            first_pause: Duration::from_secs(first_seconds),
        }
    }

    /// What follows when an attempt at the job of this number failed this way and `earlier`
    /// attempts of it did before. The pause is that of the class's [`Policy`], made shorter or
    /// longer by up to [`JITTER`] of it: by how much is a pure function of the job's number and of
    /// `earlier`, so that every coordinator comes to the same.
    #[must_use]
    pub fn verdict(self, job: u64, earlier: u32) -> Verdict {
        let policy = self.policy();
        let failed = earlier.saturating_add(1);
        if policy.tries.is_some_and(|tries| failed >= tries) {
            return Verdict::GiveUp;
        }
        Verdict::RetryAfter(policy.pause(earlier).mul_f64(jitter(job, failed)))
    }
}

impl Policy {
    /// The pause when `earlier` tries ended in the class before this one, without jitter.
    #[must_use]
    pub fn pause(self, earlier: u32) -> Duration {
        // 2^16 seconds are beyond the longest pause already.
        let doubled = self.first_pause.saturating_mul(1 << earlier.min(16));
        doubled.min(LONGEST_PAUSE)
    }
}

/// What a pause is multiplied by: uniform in `1 - JITTER ..= 1 + JITTER`.
fn jitter(job: u64, failed: u32) -> f64 {
    let mut stream = Keyed::new(job, Purpose::Backoff, failed, 0).stream(0);
    1.0 + JITTER * (2.0 * f64::from(stream.uniform()) - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(verdict: Verdict) -> f64 {
        match verdict {
            Verdict::RetryAfter(pause) => pause.as_secs_f64(),
            Verdict::GiveUp => panic!("given up"),
        }
    }

    #[test]
    fn each_class_gives_up_after_its_tries_and_preemption_never() {
        for class in FailureClass::ALL {
            let given_up = |earlier| class.verdict(1, earlier) == Verdict::GiveUp;
            match class.policy().tries {
                None => assert!(!given_up(1000) && !given_up(u32::MAX), "{class}"),
                Some(tries) => {
                    assert!(given_up(tries - 1), "{class}");
                    assert!(tries == 1 || !given_up(tries - 2), "{class}");
                }
            }
        }
        assert_eq!(FailureClass::Lost.policy().tries, Some(3));
        assert_eq!(FailureClass::BadInput.policy().tries, Some(1));
    }

    #[test]
    fn every_class_that_is_tried_again_waits_longer_each_time_up_to_five_minutes() {
        for class in FailureClass::ALL {
            let policy = class.policy();
            if policy.tries == Some(1) {
                continue;
            }
            assert!(policy.pause(0) > Duration::ZERO, "{class}");
            assert_eq!(policy.pause(1), 2 * policy.pause(0), "{class}");
            assert_eq!(policy.pause(40), LONGEST_PAUSE, "{class}");
        }
        let pauses = (0..4).map(|earlier| FailureClass::Infrastructure.policy().pause(earlier));
        let pauses: Vec<_> = pauses.map(|pause| pause.as_secs()).collect();
        assert_eq!(pauses, [5, 10, 20, 40]);
    }

    #[test]
    fn jobs_that_failed_together_are_spread_over_half_the_pause() {
        let class = FailureClass::Infrastructure;
        let mut pauses: Vec<f64> = (1..=1000)
            .map(|job| seconds(class.verdict(job, 0)))
            .collect();
        let mean = pauses.iter().sum::<f64>() / 1000.0;
        assert!((mean - 5.0).abs() < 0.1, "{mean}");
        pauses.sort_by(f64::total_cmp);
        assert!((3.75..3.8).contains(&pauses[0]), "{}", pauses[0]);
        assert!((6.2..=6.25).contains(&pauses[999]), "{}", pauses[999]);
        pauses.dedup();
        assert!(pauses.len() > 990, "{} distinct pauses", pauses.len());
    }

    #[test]
    fn pause_is_a_function_of_job_and_try() {
        let class = FailureClass::Preempted;
        assert_eq!(class.verdict(7, 3), class.verdict(7, 3));
        // Beyond the longest pause it is the jitter alone that tells tries apart.
        assert_ne!(class.verdict(7, 30), class.verdict(7, 31));
        assert_ne!(class.verdict(7, 30), class.verdict(8, 30));
        assert!(seconds(class.verdict(7, 30)) <= 375.0);
    }
}
