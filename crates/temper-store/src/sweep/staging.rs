//! Bulk insert of jobs: COPY into a temporary table, then one INSERT.
//!
//! The statements here are not checked at compile time: the table that they speak of exists within
//! one transaction. Every test that submits a sweep runs them.

use serde::Serialize;
use temper_core::{
    expand::{Expansion, Job},
    job::JobKind,
    schedule::Ramp,
    spec::{Precision, RESULT_VERSION},
    trace::TraceParent,
};

use super::{templates::Templates, title::job_title};
use crate::{
    StoreError,
    copy::{Rows, Source, copy_in},
    queue::Wish,
    store::Tx,
    value::column,
};

/// For sorting and joining as many rows as a large sweep has.
const MEMORY: &str = "SET LOCAL work_mem = '64MB'";

const CREATE: &str = "CREATE TEMPORARY TABLE job_staging (
    place integer, key bytea, kind text, blocked_by integer, epochs integer, precision text,
    template_id integer, training_template_id integer, spec jsonb, title text
) ON COMMIT DROP";

const COPY: &str = "COPY pg_temp.job_staging FROM STDIN (FORMAT binary)";

/// In one order, so that two inserts of the same footprints take turns.
const FOOTPRINTS: &str = "INSERT INTO temper.footprint
    (template_id, training_template_id, precision, result_version)
SELECT DISTINCT template_id, training_template_id, precision, $1 FROM pg_temp.job_staging
ORDER BY 1, 2, 3 ON CONFLICT DO NOTHING";

/// Trainings first, so that their ids are below those of their evaluations; then by key, so that
/// two inserts of the same keys take turns instead of waiting for each other in a circle.
const INSERT: &str = "INSERT INTO temper.job
    (key, kind, owner, priority, queue_id, blocked_by, result_version, epochs, precision, footprint_id,
    template_id, spec, title, trace_parent)
SELECT key, kind, $1, $2, $4, blocked_by, $3, epochs, precision, footprint.id, template_id, spec, title, $5
FROM pg_temp.job_staging
JOIN temper.footprint USING (template_id, training_template_id, precision)
WHERE footprint.result_version = $3
ORDER BY kind DESC, key
ON CONFLICT (key) DO NOTHING";

/// What was just inserted bears the mark of this transaction.
const IDS: &str = "SELECT job.id, job.changed_in = pg_current_xact_id() AS fresh
FROM pg_temp.job_staging AS staging JOIN temper.job USING (key) ORDER BY staging.place";

/// Jobs of an expansion as they are stored, in its order.
pub(super) struct Stored(Vec<(i64, bool)>);

impl Stored {
    /// The id of the job with this index.
    pub fn id(&self, job: u32) -> Result<i64, StoreError> {
        let missing = || StoreError::corrupt("expansion", "a job was not stored");
        let found = self.0.get(job as usize).ok_or_else(missing)?;
        Ok(found.0)
    }

    /// Whether the job with this index is new.
    pub fn is_fresh(&self, job: usize) -> bool {
        self.0.get(job).is_some_and(|(_, fresh)| *fresh)
    }

    /// Every id, in the order of the expansion.
    pub fn all(&self) -> impl Iterator<Item = i64> {
        self.0.iter().map(|(id, _)| *id)
    }

    /// Ids of the jobs that are new, or of those that were there.
    pub fn ids(&self, fresh: bool) -> Vec<i64> {
        let some = self.0.iter().filter(|(_, is_fresh)| *is_fresh == fresh);
        some.map(|(id, _)| *id).collect()
    }
}

/// Inserts those of the jobs whose keys are new, as a sweep wants them done.
pub(super) async fn jobs_insert(
    tx: &mut Tx,
    expansion: &Expansion,
    wish: Wish<'_>,
) -> Result<Stored, StoreError> {
    let templates = Templates::insert(tx, expansion.layout()).await?;
    sqlx::query(MEMORY).execute(&mut **tx).await?;
    sqlx::query(CREATE).execute(&mut **tx).await?;
    copy_in(tx, COPY, rows(expansion, &templates)).await?;
    let version: i32 = column(RESULT_VERSION, "the result version")?;
    sqlx::query(FOOTPRINTS)
        .bind(version)
        .execute(&mut **tx)
        .await?;
    sqlx::query(INSERT)
        .bind(wish.owner)
        .bind(wish.priority)
        .bind(version)
        .bind(wish.queue)
        .bind(wish.trace.map(TraceParent::to_bytes))
        .execute(&mut **tx)
        .await?;
    Ok(Stored(sqlx::query_as(IDS).fetch_all(&mut **tx).await?))
}

fn rows<'a>(expansion: &'a Expansion, templates: &'a Templates) -> Source<'a> {
    let mut jobs = (0_i32..).zip(expansion.jobs());
    Box::new(move |rows| {
        let Some((place, (key, job))) = jobs.next() else {
            return Ok(false);
        };
        let layout = expansion.layout();
        let template = templates.of(layout.kindred(job))?;
        let of_training = templates.of(layout.kindred_training(job))?;
        let training = layout.training(job);
        let own = Own::of(job, training.ramp, training.seed);
        let (kind, epochs, precision) = match job.depends_on {
            None => {
                let epochs = column(training.training.epochs, "epochs")?;
                (JobKind::Train, epochs, training.training.precision)
            }
            Some(_) => (JobKind::Evaluate, 0, Precision::Fp32),
        };
        let rows: &mut Rows = rows.row(10).int(place).bytes(key.as_bytes())?;
        rows.bytes(kind.as_str().as_bytes())?
            .int(i32::from(job.depends_on.is_some()))
            .int(epochs)
            .bytes(precision.as_str().as_bytes())?
            .int(template)
            .int(of_training)
            .jsonb(&own)?
            .bytes(job_title(layout, job).as_bytes())?;
        Ok(true)
    })
}

/// What of a spec is a job's own.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Own {
    Train { ramp: Ramp, seed: u64 },
    Evaluate,
}

impl Own {
    fn of(job: &Job, ramp: Ramp, seed: u64) -> Self {
        match job.depends_on {
            None => Self::Train { ramp, seed },
            Some(_) => Self::Evaluate,
        }
    }
}
