use std::time::Duration;

use sqlx::postgres::PgListener;

use crate::{Store, StoreError};

/// Wakes when there may be a job to lease: a hint, behind which callers poll.
#[derive(Debug)]
pub struct JobReady {
    listener: Option<PgListener>,
}

impl Store {
    /// Listens for jobs that become ready, on a connection of its own.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn job_ready(&self) -> Result<JobReady, StoreError> {
        todo!()
    }
}

impl JobReady {
    /// Waits until a job may be ready, at most `limit`; says whether one was announced. Without a
    /// connection it waits out the limit, so that callers' polls keep their pace.
    pub async fn wait(&mut self, limit: Duration) -> bool {
        todo!()
    }
}
