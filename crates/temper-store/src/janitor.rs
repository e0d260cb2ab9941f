//! Checkpoints that nobody will resume from: condemned, their bytes deleted by the caller, forgotten.
//!
//! A checkpoint is condemned before its bytes are touched, under its job's lock, and claims hand out
//! none that is: whoever resumes never finds that the bytes have gone meanwhile. Every step can be
//! repeated, and any number of coordinators may take them at once.

use crate::{Store, StoreError};

impl Store {
    /// Condemns at most `limit` checkpoints: all of jobs that have ended, and of the others all but
    /// the newest two. Two of the present lease stay too, even where older leases came further: the
    /// worker has found those torn. Says how many were condemned. Jobs that somebody else has in
    /// hand are left for the next time.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn checkpoints_condemn(&self, limit: u32) -> Result<u64, StoreError> {
        // The table is small: what is condemned does not stay, and of the others each job has few.
        let condemned = sqlx::query!(
            "WITH ranked AS MATERIALIZED (
                SELECT path, job_id, fence,
                    row_number() OVER (PARTITION BY job_id ORDER BY step DESC, fence DESC) AS place,
                    row_number() OVER (PARTITION BY job_id, fence ORDER BY step DESC) AS own_place
                FROM temper.checkpoint WHERE condemned_at IS NULL
            ), doomed AS MATERIALIZED (
                SELECT ranked.path FROM ranked JOIN temper.job ON job.id = ranked.job_id
                WHERE job.state IN ('succeeded', 'failed', 'cancelled') OR (
                    ranked.place > 2 AND (ranked.fence <> job.fence OR ranked.own_place > 2)
                )
                LIMIT $1 FOR NO KEY UPDATE OF job SKIP LOCKED
            )
            UPDATE temper.checkpoint SET condemned_at = now()
            FROM doomed WHERE checkpoint.path = doomed.path AND checkpoint.condemned_at IS NULL",
            i64::from(limit),
        )
        .execute(&self.pool)
        .await?;
        Ok(condemned.rows_affected())
    }

    /// At most `limit` paths of condemned checkpoints, ascending, after the path `after`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn checkpoints_condemned(
        &self,
        after: &str,
        limit: u32,
    ) -> Result<Vec<String>, StoreError> {
        Ok(sqlx::query_scalar!(
            "SELECT path FROM temper.checkpoint
            WHERE condemned_at IS NOT NULL AND path > $1 ORDER BY path LIMIT $2",
            after,
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?)
    }

    /// Forgets condemned checkpoints, whose bytes are gone. Says how many there still were.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn checkpoints_forget(&self, paths: &[String]) -> Result<u64, StoreError> {
        let gone = sqlx::query!(
            "DELETE FROM temper.checkpoint WHERE path = ANY($1) AND condemned_at IS NOT NULL",
            paths,
        )
        .execute(&self.pool)
        .await?;
        Ok(gone.rows_affected())
    }
}
