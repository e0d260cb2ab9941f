//! When to try again, and after how long.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use crate::HubError;

/// How often and after how long a request is tried again: after connection errors, silence, cut
/// transfers, 429 and 5xx, never after another refusal. Waits double, each with up to as much again
/// by chance, so that many workers do not come back together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Tries after the first, without progress between them.
    pub retries: usize,
    /// The first wait.
    pub first_wait: Duration,
    /// No wait is chosen longer.
    pub longest_wait: Duration,
    /// The longest wait that a server may ask for by `Retry-After`; one that asks for more is
    /// given up.
    pub longest_asked: Duration,
}

/// What is left of a policy in one call.
pub(crate) struct Patience<'a> {
    policy: &'a RetryPolicy,
    waits: ExponentialBackoff,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            retries: 5,
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(30),
            longest_asked: Duration::from_mins(5),
        }
    }
}

impl RetryPolicy {
    fn waits(&self) -> ExponentialBackoff {
        ExponentialBuilder::default()
            .with_jitter()
            .with_min_delay(self.first_wait)
            .with_max_delay(self.longest_wait)
            .with_max_times(self.retries)
            .build()
    }
}

impl<'a> Patience<'a> {
    pub(crate) fn new(policy: &'a RetryPolicy) -> Self {
        Self {
            policy,
            waits: policy.waits(),
        }
    }

    /// Progress was made: count from the beginning.
    pub(crate) fn renew(&mut self) {
        self.waits = self.policy.waits();
    }

    /// Waits before another try, or gives the error back.
    pub(crate) async fn wait(&mut self, error: HubError) -> Result<(), HubError> {
        if !error.is_transient() {
            return Err(error);
        }
        let asked = error.retry_after().unwrap_or_default();
        if asked > self.policy.longest_asked {
            return Err(error);
        }
        let Some(wait) = self.waits.next() else {
            return Err(error);
        };
        let wait = wait.max(asked);
        tracing::warn!(%error, ?wait, "the hub is tried again");
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    fn limited(seconds: u64) -> HubError {
        HubError::RateLimited {
            retry_after: Some(Duration::from_secs(seconds)),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waits_double_until_no_try_is_left() {
        let policy = RetryPolicy {
            retries: 3,
            ..RetryPolicy::default()
        };
        let mut patience = Patience::new(&policy);
        for shortest in [1, 2, 4] {
            let begin = Instant::now();
            patience.wait(limited(0)).await.unwrap();
            let waited = begin.elapsed().as_secs_f64();
            let shortest = f64::from(shortest);
            assert!(
                (shortest..=2.0 * shortest + 0.01).contains(&waited),
                "{waited}"
            );
        }
        assert!(patience.wait(limited(0)).await.is_err());
        patience.renew();
        assert!(patience.wait(limited(0)).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_the_hub_asks_for_is_kept_up_to_a_limit() {
        let policy = RetryPolicy::default();
        let mut patience = Patience::new(&policy);
        let begin = Instant::now();
        patience.wait(limited(77)).await.unwrap();
        assert!(begin.elapsed() >= Duration::from_secs(77));
        let begin = Instant::now();
        assert!(patience.wait(limited(3600)).await.is_err());
        assert_eq!(begin.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_are_not_tried_again() {
        let policy = RetryPolicy::default();
        let mut patience = Patience::new(&policy);
        let refusal = HubError::RepoNotFound {
            kind: crate::RepoKind::Model,
            repo: "a/b".to_owned(),
        };
        assert!(patience.wait(refusal).await.is_err());
    }
}
