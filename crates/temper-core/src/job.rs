//! The life of a job, as pure functions; SQL guards the same transitions again by the fence.

mod failure;
mod filter;

use serde::{Deserialize, Serialize};

pub use self::{
    failure::{FailureClass, JITTER, LONGEST_PAUSE, Policy, Verdict},
    filter::JobFilter,
};

/// What a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobKind {
    /// Fine-tunes a model.
    Train,
    /// Measures a trained model.
    Evaluate,
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobState {
    /// Waits for a worker (or for the job that it depends on).
    Queued,
    /// A worker holds the right to write to it.
    Leased,
    /// Has an accepted result.
    Succeeded,
    /// Gave up; only Retry brings it back.
    Failed,
    /// No live sweep wants it, or the job that it depends on cannot succeed.
    Cancelled,
}

/// What can happen to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobEvent {
    /// A worker took it.
    Leased,
    /// Its result was accepted.
    Completed,
    /// The attempt failed; the policy allows another one.
    FailedForNow,
    /// The attempt failed; the policy allows no other.
    FailedForGood,
    /// The worker gave it back.
    Released,
    /// The worker's lease ran out.
    Expired,
    /// No live sweep wants it any more, or what it depends on failed.
    Cancelled,
    /// A live sweep wants it again.
    Wanted,
    /// A person asked for another try.
    Retried,
}

impl JobEvent {
    /// Every one.
    pub const ALL: [Self; 9] = [
        Self::Leased,
        Self::Completed,
        Self::FailedForNow,
        Self::FailedForGood,
        Self::Released,
        Self::Expired,
        Self::Cancelled,
        Self::Wanted,
        Self::Retried,
    ];
}

/// A transition that a job's life does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a job that is {state:?} cannot become {event:?}")]
pub struct TransitionError {
    /// Where the job stands.
    pub state: JobState,
    /// What should have happened.
    pub event: JobEvent,
}

impl JobState {
    /// The state after `event`.
    ///
    /// # Errors
    /// When a job in this state cannot take the event.
    pub fn after(self, event: JobEvent) -> Result<Self, TransitionError> {
        use JobEvent as E;
        match (self, event) {
            (Self::Queued, E::Leased) => Ok(Self::Leased),
            (Self::Leased, E::Completed) => Ok(Self::Succeeded),
            (Self::Leased, E::FailedForGood) => Ok(Self::Failed),
            (Self::Leased, E::FailedForNow | E::Released | E::Expired)
            | (Self::Failed, E::Retried)
            | (Self::Cancelled, E::Wanted) => Ok(Self::Queued),
            (Self::Queued | Self::Leased, E::Cancelled) => Ok(Self::Cancelled),
            (state, event) => Err(TransitionError { state, event }),
        }
    }

    /// Whether nothing more will happen by itself.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// An enum's name in SQL and on the command line is its serde name.
macro_rules! names {
    ($type:ident { $($variant:ident => $name:literal),+ $(,)? }) => {
        impl $type {
            /// The stable name, as stored and shown.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// The variant of that name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)+ _ => None }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

names!(JobKind { Train => "train", Evaluate => "evaluate" });
names!(JobState {
    Queued => "queued",
    Leased => "leased",
    Succeeded => "succeeded",
    Failed => "failed",
    Cancelled => "cancelled",
});
names!(FailureClass {
    Preempted => "preempted",
    Infrastructure => "infrastructure",
    Lost => "lost",
    OutOfMemory => "out-of-memory",
    Diverged => "diverged",
    BadInput => "bad-input",
    Code => "code",
});

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STATES: [JobState; 5] = [
        JobState::Queued,
        JobState::Leased,
        JobState::Succeeded,
        JobState::Failed,
        JobState::Cancelled,
    ];

    #[test]
    fn success_is_final() {
        for event in JobEvent::ALL {
            assert!(JobState::Succeeded.after(event).is_err(), "{event:?}");
        }
    }

    #[test]
    fn only_a_lease_leads_to_a_result() {
        for state in STATES {
            let completed = state.after(JobEvent::Completed).is_ok();
            assert_eq!(completed, state == JobState::Leased, "{state:?}");
        }
    }

    proptest! {
        #[test]
        fn every_walk_stays_within_the_designed_arrows(
            walk in prop::collection::vec(prop::sample::select(&JobEvent::ALL[..]), 0..40)
        ) {
            let mut state = JobState::Queued;
            for event in walk {
                let Ok(next) = state.after(event) else { continue };
                let allowed: &[JobState] = match state {
                    JobState::Queued => &[JobState::Leased, JobState::Cancelled],
                    JobState::Leased => &[
                        JobState::Succeeded, JobState::Failed, JobState::Cancelled, JobState::Queued,
                    ],
                    JobState::Failed | JobState::Cancelled => &[JobState::Queued],
                    JobState::Succeeded => &[],
                };
                prop_assert!(allowed.contains(&next), "{state:?} -> {next:?}");
                state = next;
            }
        }
    }

    #[test]
    fn stored_names_round_trip() {
        for state in STATES {
            assert_eq!(JobState::from_name(state.as_str()), Some(state));
        }
        assert_eq!(
            FailureClass::from_name("out-of-memory"),
            Some(FailureClass::OutOfMemory)
        );
        assert_eq!(JobKind::from_name("other"), None);
    }
}
