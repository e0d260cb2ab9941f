//! The announcement that wakes workers.

use std::time::Duration;

use sqlx::{
    PgPool,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout_at},
};

use crate::{Store, StoreError};

/// Where it is announced that jobs became ready.
const CHANNEL: &str = "temper_job_ready";
/// Least time between two announcements of a process.
const PAUSE: Duration = Duration::from_millis(50);

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

/// Announces for all transactions of a process, after they are committed and at most once a [`PAUSE`]. In
/// each of them a NOTIFY would hold a lock of the whole cluster's until its commit is on disk: all
/// commits would take turns.
#[derive(Debug, Clone)]
pub(crate) struct Announcer(mpsc::Sender<()>);

impl Announcer {
    /// Begins; it ends with the last clone.
    pub(crate) fn start(pool: PgPool) -> Self {
        let (wake, mut wishes) = mpsc::channel(1);
        tokio::spawn(async move {
            while wishes.recv().await.is_some() && !pool.is_closed() {
                if let Err(error) = announce(&pool).await {
                    tracing::warn!(%error, "cannot announce ready jobs; others find them by polling");
                }
                sleep(PAUSE).await;
            }
        });
        Self(wake)
    }

    /// Announces soon.
    pub(crate) fn wake(&self) {
        // Where there is no room, an announcement is about to be made that stands for this one too.
        let _ = self.0.try_send(());
    }
}

async fn announce(pool: &PgPool) -> Result<(), sqlx::Error> {
    sqlx::query!("SELECT pg_notify($1, '')", CHANNEL)
        .execute(pool)
        .await?;
    Ok(())
}
