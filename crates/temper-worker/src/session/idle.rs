//! When a worker that gets nothing ends.

use std::time::Duration;

use tokio::time::Instant;

/// How long this process goes on without a job.
#[derive(Debug, Clone, Copy)]
pub(super) struct Idle {
    until: Option<Instant>,
}

impl Idle {
    /// From now on; for ever when there is no limit.
    pub(super) fn new(limit: Option<Duration>) -> Self {
        let until = limit.map(|limit| Instant::now() + limit);
        Self { until }
    }

    pub(super) fn left(self) -> Option<Duration> {
        let now = Instant::now();
        self.until.map(|until| until.saturating_duration_since(now))
    }

    pub(super) fn is_over(self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }

    /// Resolves when it is over.
    pub(super) async fn over(self) {
        match self.until {
            Some(until) => tokio::time::sleep_until(until).await,
            None => std::future::pending().await,
        }
    }
}
