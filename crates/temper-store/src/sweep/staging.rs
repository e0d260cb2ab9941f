//! Bulk insert of jobs: COPY into a temporary table, then one INSERT.
//!
//! The statements here are the only ones that are not checked at compile time: the table that they
//! speak of exists within one transaction. Every test that submits a sweep runs them.

use std::collections::HashMap;

use temper_core::{
    Digest,
    expand::Job,
    job::JobKind,
    spec::{JobSpec, Precision, RESULT_VERSION},
};

use super::{NewSweep, title::job_title};
use crate::{
    StoreError,
    store::Tx,
    value::{column, digest},
};

const CREATE: &str = "CREATE TEMPORARY TABLE job_staging (
    key bytea, kind text, blocked_by integer, epochs integer, precision text, spec jsonb, title text
) ON COMMIT DROP";

const COPY: &str = "COPY pg_temp.job_staging FROM STDIN (FORMAT binary)";

/// Trainings first, so that their ids are below those of their evaluations; then by key, so that
/// two inserts of the same keys take turns instead of waiting for each other in a circle.
const INSERT: &str = "INSERT INTO temper.job
    (key, kind, owner, priority, blocked_by, result_version, epochs, precision, spec, title)
SELECT key, kind, $1, $2, blocked_by, $3, epochs, precision, spec, title
FROM pg_temp.job_staging ORDER BY kind DESC, key
ON CONFLICT (key) DO NOTHING
RETURNING id, key";

/// Bytes that are sent to the server at a time.
const CHUNK: usize = 1 << 20;

/// Inserts those of the sweep's jobs whose keys are new, and gives their ids.
pub(super) async fn jobs_insert(
    tx: &mut Tx,
    sweep: &NewSweep<'_>,
) -> Result<HashMap<Digest, i64>, StoreError> {
    sqlx::query(CREATE).execute(&mut **tx).await?;
    copy_in(tx, &sweep.expansion.jobs).await?;
    let version: i32 = column(RESULT_VERSION, "the result version")?;
    let inserted: Vec<(i64, Vec<u8>)> = sqlx::query_as(INSERT)
        .bind(sweep.owner)
        .bind(sweep.priority)
        .bind(version)
        .fetch_all(&mut **tx)
        .await?;
    inserted
        .into_iter()
        .map(|(id, key)| Ok((digest(&key, "job key")?, id)))
        .collect()
}

async fn copy_in(tx: &mut Tx, jobs: &[Job]) -> Result<(), StoreError> {
    let mut copy = tx.copy_in_raw(COPY).await?;
    let mut rows = BinaryRows::new();
    for job in jobs {
        // An error here drops `copy`, which aborts it; the transaction then rolls back.
        rows.push_job(job)?;
        if rows.0.len() >= CHUNK {
            copy.send(std::mem::take(&mut rows.0)).await?;
        }
    }
    rows.finish();
    copy.send(rows.0).await?;
    copy.finish().await?;
    Ok(())
}

/// Rows in the binary format of COPY, which knows no escapes
/// (PostgreSQL's documentation, COPY, "Binary Format").
struct BinaryRows(Vec<u8>);

impl BinaryRows {
    fn new() -> Self {
        let mut header = b"PGCOPY\n\xff\r\n\0".to_vec();
        // Flags, and the length of an extension: none.
        header.extend([0; 8]);
        Self(header)
    }

    fn push_job(&mut self, job: &Job) -> Result<(), StoreError> {
        let (kind, epochs, precision) = match &job.spec {
            JobSpec::Train(spec) => {
                let training = &spec.training;
                let epochs = column(training.epochs, "epochs")?;
                (JobKind::Train, epochs, training.precision)
            }
            JobSpec::Evaluate(_) => (JobKind::Evaluate, 0_i32, Precision::Fp32),
        };
        let blocked_by = i32::from(job.depends_on.is_some());
        // jsonb starts with the version of its format.
        let mut spec = vec![1];
        serde_json::to_writer(&mut spec, &job.spec)
            .map_err(|error| StoreError::corrupt("job spec", &error))?;
        self.0.extend(7_i16.to_be_bytes());
        self.field(job.key.as_bytes())?;
        self.field(kind.as_str().as_bytes())?;
        self.field(&blocked_by.to_be_bytes())?;
        self.field(&epochs.to_be_bytes())?;
        self.field(precision.as_str().as_bytes())?;
        self.field(&spec)?;
        self.field(job_title(&job.spec).as_bytes())
    }

    fn field(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let length: i32 = column(bytes.len(), "a job")?;
        self.0.extend(length.to_be_bytes());
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(&mut self) {
        self.0.extend((-1_i16).to_be_bytes());
    }
}
