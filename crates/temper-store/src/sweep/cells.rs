//! Bulk insert of what ties jobs to a sweep. Each statement takes its columns as arrays.

use std::collections::HashMap;

use temper_core::{
    Digest,
    expand::{Cell, Expansion},
};
use uuid::Uuid;

use crate::{StoreError, store::Tx, value::column};

/// Ids of a sweep's jobs.
pub(super) struct JobIds(pub(super) HashMap<Digest, i64>);

impl JobIds {
    fn of(&self, key: &Digest) -> Result<i64, StoreError> {
        let missing = || StoreError::corrupt("expansion", &format!("job {key} is not listed"));
        self.0.get(key).copied().ok_or_else(missing)
    }
}

pub(super) async fn dependencies_insert(
    tx: &mut Tx,
    expansion: &Expansion,
    ids: &JobIds,
) -> Result<(), StoreError> {
    let (mut jobs, mut trains) = (Vec::new(), Vec::new());
    for job in &expansion.jobs {
        if let Some(train) = &job.depends_on {
            jobs.push(ids.of(&job.key)?);
            trains.push(ids.of(train)?);
        }
    }
    sqlx::query!(
        "INSERT INTO temper.job_dependency (job_id, depends_on)
        SELECT * FROM unnest($1::bigint[], $2::bigint[]) AS pair (job_id, depends_on)
        ORDER BY job_id, depends_on
        ON CONFLICT DO NOTHING",
        &jobs,
        &trains,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn links_insert(
    tx: &mut Tx,
    sweep: Uuid,
    expansion: &Expansion,
    ids: &JobIds,
) -> Result<(), StoreError> {
    let jobs: Vec<i64> = expansion
        .jobs
        .iter()
        .map(|job| ids.of(&job.key))
        .collect::<Result<_, _>>()?;
    sqlx::query!(
        "INSERT INTO temper.sweep_job (sweep_id, position, job_id)
        SELECT $1, position - 1, job_id
        FROM unnest($2::bigint[]) WITH ORDINALITY AS link (job_id, position)",
        sweep,
        &jobs,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Cells as columns.
#[derive(Default)]
struct CellColumns<'a> {
    models: Vec<&'a str>,
    datasets: Vec<&'a str>,
    schedules: Vec<String>,
    target_nums: Vec<i32>,
    target_dens: Vec<i32>,
    seeds: Vec<i64>,
    hyperparameters: Vec<i32>,
    trains: Vec<i64>,
}

impl<'a> CellColumns<'a> {
    fn push(&mut self, cell: &'a Cell, ids: &JobIds) -> Result<(), StoreError> {
        self.models.push(&cell.model);
        self.datasets.push(&cell.dataset);
        self.schedules.push(cell.schedule.to_string());
        self.target_nums
            .push(column(cell.target.numerator(), "the target")?);
        self.target_dens
            .push(column(cell.target.denominator(), "the target")?);
        self.seeds.push(column(cell.seed, "the seed")?);
        self.hyperparameters
            .push(column(cell.hyperparameters, "the hyper-parameters' index")?);
        self.trains.push(ids.of(&cell.train)?);
        Ok(())
    }
}

pub(super) async fn cells_insert(
    tx: &mut Tx,
    sweep: Uuid,
    expansion: &Expansion,
    ids: &JobIds,
) -> Result<(), StoreError> {
    let mut columns = CellColumns::default();
    for cell in &expansion.cells {
        columns.push(cell, ids)?;
    }
    sqlx::query!(
        "INSERT INTO temper.sweep_cell (sweep_id, ordinal, model, dataset, schedule, target_num,
            target_den, seed, hyperparameters, train_job)
        SELECT $1, ordinal - 1, model, dataset, schedule, target_num, target_den, seed,
            hyperparameters, train_job
        FROM unnest($2::text[], $3::text[], $4::text[], $5::int[], $6::int[], $7::bigint[],
            $8::int[], $9::bigint[])
        WITH ORDINALITY AS cell (model, dataset, schedule, target_num, target_den, seed,
            hyperparameters, train_job, ordinal)",
        sweep,
        &columns.models as _,
        &columns.datasets as _,
        &columns.schedules,
        &columns.target_nums,
        &columns.target_dens,
        &columns.seeds,
        &columns.hyperparameters,
        &columns.trains,
    )
    .execute(&mut **tx)
    .await?;
    evaluations_insert(tx, sweep, &expansion.cells, ids).await
}

async fn evaluations_insert(
    tx: &mut Tx,
    sweep: Uuid,
    cells: &[Cell],
    ids: &JobIds,
) -> Result<(), StoreError> {
    let (mut ordinals, mut places, mut jobs) = (Vec::new(), Vec::new(), Vec::new());
    for (ordinal, cell) in cells.iter().enumerate() {
        for (place, key) in cell.evaluations.iter().enumerate() {
            ordinals.push(column(ordinal, "the cell's ordinal")?);
            places.push(column(place, "the evaluation's index")?);
            jobs.push(ids.of(key)?);
        }
    }
    sqlx::query!(
        "INSERT INTO temper.cell_evaluation (sweep_id, cell, evaluation, job_id)
        SELECT $1, cell, evaluation, job_id
        FROM unnest($2::int[], $3::int[], $4::bigint[]) AS row (cell, evaluation, job_id)",
        sweep,
        &ordinals,
        &places,
        &jobs,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
