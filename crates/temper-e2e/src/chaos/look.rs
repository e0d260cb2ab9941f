//! What is seen of a cluster while it works: in its tables, and in what its processes log.

use anyhow::ensure;
use temper_store::{
    Store,
    testing::tables::{self, Held, Progress},
};
use tokio::time::{Instant, sleep};

use super::cluster::{PATIENCE, PAUSE};

/// What a worker says that gives a job up of its own accord: one that it works on, or one that it heard of
/// too late.
pub const GIVEN_UP: [&str; 2] = [
    "discarded: the lease is over",
    "the lease was over before the job began",
];
/// What a coordinator says to a result that comes too late.
pub const REFUSED: &str = "late result refused";

/// A look at the tables, which may be away for a while.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a>(pub &'a Store);

impl Look<'_> {
    /// Waits until so many jobs have succeeded, or there is nothing left to do.
    ///
    /// # Errors
    /// When jobs fail, or none succeeds for long.
    pub async fn wait_ended(&self, succeeded: i64) -> anyhow::Result<()> {
        let (mut end, mut last) = (Instant::now() + PATIENCE, 0);
        loop {
            let now = self.progress().await?;
            if now.succeeded > last {
                (end, last) = (Instant::now() + PATIENCE, now.succeeded);
            }
            ensure!(now.given_up == 0, "jobs have failed: {now:?}");
            if now.succeeded >= succeeded || now.open == 0 {
                return Ok(());
            }
            ensure!(Instant::now() < end, "the work does not go on: {now:?}");
            sleep(PAUSE).await;
        }
    }

    /// How far the work is.
    ///
    /// # Errors
    /// When the database stays away.
    pub async fn progress(&self) -> anyhow::Result<Progress> {
        self.asked(|| tables::progress(self.0)).await
    }

    /// Waits until the worker holds a job that may be lost once more. One that was lost before is spared:
    /// jobs fail at their third loss, and restarts of PostgreSQL may cost one.
    /// None once there is no work left: what was planned and not done is missing in the tally.
    ///
    /// # Errors
    /// When it gets none for long.
    pub async fn busy(&self, worker: &str) -> anyhow::Result<Option<Held>> {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.held_by(worker).await? {
                Some(held) if held.lost == 0 => return Ok(Some(held)),
                _ => sleep(PAUSE).await,
            }
            if self.progress().await?.open == 0 {
                return Ok(None);
            }
            ensure!(Instant::now() < end, "{worker} has nothing to do");
        }
    }

    /// What the worker holds.
    ///
    /// # Errors
    /// When the database stays away.
    pub async fn held_by(&self, worker: &str) -> anyhow::Result<Option<Held>> {
        let leases = self.asked(|| tables::leases(self.0)).await?;
        Ok(leases.into_iter().find(|held| held.worker == worker))
    }

    /// Waits for the end of an attempt. When it is lost, waits until another worker has the job.
    ///
    /// # Errors
    /// When neither happens for long.
    pub async fn lost(&self, held: &Held) -> anyhow::Result<bool> {
        let end = Instant::now() + PATIENCE;
        let attempt = (held.job, held.fence);
        loop {
            let outcome = || tables::attempt_outcome(self.0, attempt);
            let (outcome, fence) = self.asked(outcome).await?;
            match outcome.as_deref() {
                // Given back: the worker had never heard of it.
                Some("succeeded" | "released") => return Ok(false),
                Some("lost") if fence > held.fence => return Ok(true),
                other if Instant::now() > end => {
                    anyhow::bail!("job {} stays as it is: {other:?}", held.job)
                }
                _ => sleep(PAUSE).await,
            }
        }
    }

    /// Asks the database, again while it is away.
    async fn asked<T, F>(&self, question: impl Fn() -> F) -> anyhow::Result<T>
    where
        F: Future<Output = Result<T, temper_store::StoreError>>,
    {
        let end = Instant::now() + PATIENCE;
        loop {
            match question().await {
                Ok(answer) => return Ok(answer),
                Err(error) if Instant::now() > end => return Err(error.into()),
                Err(_) => sleep(PAUSE).await,
            }
        }
    }
}

/// Waits for something to be so.
///
/// # Errors
/// When it does not happen for long.
pub async fn until(is_so: impl Fn() -> bool) -> anyhow::Result<()> {
    let end = Instant::now() + PATIENCE / 4;
    while !is_so() {
        ensure!(Instant::now() < end, "it does not happen");
        sleep(PAUSE).await;
    }
    Ok(())
}

/// Whether a log has this message about this lease: in its own fields, or in those of a span.
#[must_use]
pub fn says(log: &str, message: &str, held: &Held) -> bool {
    let lines = log.lines().filter(|line| line.contains(message));
    let mut lines = lines.filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    lines.any(|line| {
        let spans = line["spans"].as_array().into_iter().flatten();
        std::iter::once(&line["fields"]).chain(spans).any(|fields| {
            let job = fields["job"].as_str().unwrap_or_default();
            let job = job.trim_start_matches("jobs/");
            job == held.job.to_string() && fields["fence"] == held.fence
        })
    })
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    #[test]
    fn logs_tell_of_leases_in_fields_and_spans() {
        let held = Held {
            job: 5,
            fence: 9,
            worker: String::new(),
            evaluates: false,
            lost: 0,
            seen_at: DateTime::UNIX_EPOCH,
        };
        let refused =
            r#"{"fields":{"message":"late result refused","job":"5","fence":9,"reason":"r"}}"#;
        let discarded = r#"{"fields":{"message":"discarded: the lease is over","why":"Some(Lost)"},
            "spans":[{"name":"job","job":"jobs/5","fence":9}]}"#
            .replace('\n', "");
        assert!(says(refused, REFUSED, &held));
        assert!(says(&discarded, GIVEN_UP[0], &held));
        assert!(!says(&discarded, REFUSED, &held));
        let other = Held { fence: 8, ..held };
        assert!(!says(&discarded, GIVEN_UP[0], &other));
    }
}
