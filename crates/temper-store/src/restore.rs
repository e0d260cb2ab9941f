//! A database that was restored from a dump: what came after the dump has happened, and it does not know.

use std::time::Duration;

use serde_json::json;
use temper_core::job::{JobEvent, JobKind, JobState};

use crate::{
    Actor, AttemptOutcome, JobId, Store, StoreError,
    attempt::{End, attempt_end, job_requeue},
    audit::audit_note,
    lease::Held,
    store::Tx,
    value::{named, stored},
};

/// What the attempts say that were under way at the dump.
const MESSAGE: &str = "the database was restored from a dump that was made during this attempt";
/// Jobs that sweeps ask for only now may have had leases after the dump, too. `now()` is that of the
/// transaction.
const DEFAULT: &str = "DO $$ BEGIN EXECUTE format(
    'ALTER TABLE temper.job ALTER COLUMN fence SET DEFAULT %s', extract(epoch FROM now())::bigint
); END $$";

/// What was done to a restored database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// Leases that were given back.
    pub released: u32,
    /// Every lease from now on has a fence above this one.
    pub fence: i64,
}

impl Store {
    /// Makes a database that was restored from a dump fit for use, before coordinators run on it. Leases of
    /// the dump's moment are given back, no attempt burned. Fences go on where none has been, also not
    /// after the dump: at the seconds since 1970, of which there are more at each restore, and
    /// which no job's leases catch up with. So a worker that goes on under a lease of the time that was lost is
    /// refused, and no file of that time lies where another is to be written. Repeating it is harmless.
    ///
    /// # Errors
    /// When the caller does not own the tables.
    pub async fn restore_settle(&self, actor: &Actor<'_>) -> Result<Restored, StoreError> {
        let mut tx = self.begin().await?;
        sqlx::raw_sql(DEFAULT).execute(&mut *tx).await?;
        let leased = leased_lock(&mut tx).await?;
        for held in &leased {
            let end = End {
                message: MESSAGE,
                ..End::plain(AttemptOutcome::Released)
            };
            attempt_end(&mut tx, held, &end).await?;
            job_requeue(&mut tx, held, JobEvent::Released, Duration::ZERO).await?;
        }
        // What has succeeded is leased no more, and keeps the fence of its result.
        let fence = sqlx::query_scalar!(
            r#"WITH raised AS (
                UPDATE temper.job SET fence = greatest(fence, extract(epoch FROM now())::bigint)
                WHERE state <> 'succeeded'
            ) SELECT extract(epoch FROM now())::bigint AS "fence!""#,
        )
        .fetch_one(&mut *tx)
        .await?;
        let restored = Restored {
            released: stored(leased.len(), "count")?,
            fence,
        };
        let detail = json!({ "released": restored.released, "fence": fence });
        audit_note(&mut tx, actor, "AfterRestore", None, None, detail).await?;
        tx.commit().await?;
        Ok(restored)
    }
}

/// Every job that is leased, locked.
async fn leased_lock(tx: &mut Tx) -> Result<Vec<Held>, StoreError> {
    let rows = sqlx::query!(
        "SELECT job.id, job.kind, job.state, job.epochs, job.epochs_done, job.fence
        FROM temper.job JOIN temper.lease ON lease.job_id = job.id
        WHERE job.state = 'leased' ORDER BY job.id FOR NO KEY UPDATE OF job"
    )
    .fetch_all(&mut **tx)
    .await?;
    let held = rows.into_iter().map(|row| {
        Ok(Held {
            job: JobId(row.id),
            kind: named(JobKind::from_name, &row.kind, "job kind")?,
            state: named(JobState::from_name, &row.state, "job state")?,
            epochs: stored(row.epochs, "epochs")?,
            epochs_done: stored(row.epochs_done, "epochs")?,
            fence: row.fence,
        })
    });
    held.collect()
}
