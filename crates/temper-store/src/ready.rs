//! The announcement that wakes workers.

use std::time::Duration;

use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::{Store, StoreError, store::Tx};

/// Where it is announced that jobs became ready.
const CHANNEL: &str = "temper_job_ready";

/// Wakes when there may be a job to lease: a hint, behind which callers poll.
#[derive(Debug)]
pub struct JobReady {
    listener: PgListener,
}

impl Store {
    /// Listens for jobs that become ready, on a connection of its own.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn job_ready(&self) -> Result<JobReady, StoreError> {
        let options = self.pool.connect_options().as_ref().clone();
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_lazy_with(options);
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.listen(CHANNEL).await?;
        Ok(JobReady { listener })
    }
}

impl JobReady {
    /// Waits until a job may be ready, at most `limit`; says whether one was announced. A lost
    /// connection is made anew; without one it waits out the limit, so that callers' polls keep
    /// their pace.
    pub async fn wait(&mut self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        match timeout_at(end, self.listener.recv()).await {
            Ok(Ok(_)) => {
                // What was announced meanwhile is one reason to look, not many.
                while self.listener.next_buffered().is_some() {}
                true
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "cannot listen for ready jobs; polling goes on");
                sleep_until(end).await;
                false
            }
            Err(_) => false,
        }
    }
}

/// Wakes everybody who waits for a job, once the transaction commits.
pub(crate) async fn announce(tx: &mut Tx) -> Result<(), StoreError> {
    sqlx::query!("SELECT pg_notify($1, '')", CHANNEL)
        .execute(&mut **tx)
        .await?;
    Ok(())
}
