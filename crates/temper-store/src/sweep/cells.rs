//! Bulk insert of what ties jobs to a sweep.

use std::collections::{HashMap, HashSet};

use temper_core::expand::{Cell, Expansion, Layout};
use uuid::Uuid;

use super::staging::Stored;
use crate::{
    StoreError,
    copy::{Source, copy_in},
    store::Tx,
    value::column,
};

const DEPENDENCIES: &str =
    "COPY temper.job_dependency (job_id, depends_on) FROM STDIN (FORMAT binary)";
const LINKS: &str = "COPY temper.sweep_job (sweep_id, position, job_id) FROM STDIN (FORMAT binary)";
const CELLS: &str = "COPY temper.sweep_cell (sweep_id, ordinal, model, dataset, schedule,
    target_num, target_den, seed, hyperparameters, train_job) FROM STDIN (FORMAT binary)";
const EVALUATIONS: &str =
    "COPY temper.cell_evaluation (sweep_id, cell, evaluation, job_id) FROM STDIN (FORMAT binary)";

/// What a sweep holds before more is added to it; nothing of a new one.
#[derive(Default)]
pub(super) struct Held {
    /// Jobs that it wants.
    pub jobs: HashSet<i64>,
    /// Its cells' ordinals.
    pub cells: HashMap<CellName, i32>,
    /// How many evaluations each cell has.
    pub evaluations: usize,
}

/// A cell as it is stored: model, dataset, schedule, target, seed, index of the hyper-parameters.
pub(super) type CellName = (String, String, String, (i32, i32), i64, i32);

/// New jobs wait for what they depend on; the others have their dependencies.
pub(super) async fn dependencies_insert(
    tx: &mut Tx,
    expansion: &Expansion,
    ids: &Stored,
) -> Result<(), StoreError> {
    let jobs = (0_u32..).zip(expansion.layout().jobs());
    let fresh = jobs.filter(|(place, _)| ids.is_fresh(*place as usize));
    let mut pairs = fresh.filter_map(|(place, job)| Some((place, job.depends_on?)));
    let rows: Source<'_> = Box::new(move |rows| {
        let Some((job, train)) = pairs.next() else {
            return Ok(false);
        };
        rows.row(2).bigint(ids.id(job)?).bigint(ids.id(train)?);
        Ok(true)
    });
    copy_in(tx, DEPENDENCIES, rows).await
}

/// Links jobs to the sweep, behind those that it has.
pub(super) async fn links_insert(
    tx: &mut Tx,
    sweep: Uuid,
    ids: &Stored,
    held: &Held,
) -> Result<(), StoreError> {
    let first: i32 = column(held.jobs.len(), "the sweep")?;
    let new = ids.all().filter(|id| !held.jobs.contains(id));
    let mut new = (first..).zip(new);
    let rows: Source<'_> = Box::new(move |rows| {
        let Some((position, job)) = new.next() else {
            return Ok(false);
        };
        rows.row(3).uuid(sweep).int(position).bigint(job);
        Ok(true)
    });
    copy_in(tx, LINKS, rows).await
}

/// Inserts the cells that the sweep does not hold, and the evaluations that its cells lack.
pub(super) async fn cells_insert(
    tx: &mut Tx,
    sweep: Uuid,
    (expansion, ids): (&Expansion, &Stored),
    held: &Held,
) -> Result<(), StoreError> {
    let layout = expansion.layout();
    let ordinals = ordinals(layout, held)?;
    copy_in(tx, CELLS, cell_rows(sweep, (layout, ids), &ordinals, held)?).await?;
    let evaluations = evaluation_rows(sweep, (layout, ids), &ordinals, held)?;
    copy_in(tx, EVALUATIONS, evaluations).await
}

/// The cells' ordinals in the sweep: those that it holds keep theirs.
fn ordinals(layout: &Layout, held: &Held) -> Result<Vec<i32>, StoreError> {
    let mut next: i32 = column(held.cells.len(), "the sweep")?;
    let mut ordinals = Vec::with_capacity(layout.cells().len());
    for cell in layout.cells() {
        let known = if held.cells.is_empty() {
            None
        } else {
            held.cells.get(&name(layout, cell)?).copied()
        };
        ordinals.push(known.unwrap_or(next));
        next += i32::from(known.is_none());
    }
    Ok(ordinals)
}

fn cell_rows<'a>(
    sweep: Uuid,
    (layout, ids): (&'a Layout, &'a Stored),
    ordinals: &'a [i32],
    held: &Held,
) -> Result<Source<'a>, StoreError> {
    let first: i32 = column(held.cells.len(), "the sweep")?;
    let cells = ordinals.iter().zip(layout.cells());
    let mut new = cells.filter(move |(ordinal, _)| **ordinal >= first);
    Ok(Box::new(move |rows| {
        let Some((ordinal, cell)) = new.next() else {
            return Ok(false);
        };
        let target = layout.target(cell);
        rows.row(10).uuid(sweep).int(*ordinal);
        rows.bytes(layout.model(cell).as_bytes())?
            .bytes(layout.dataset(cell).as_bytes())?
            .bytes(layout.schedule(cell).to_string().as_bytes())?
            .int(column(target.numerator(), "the target")?)
            .int(column(target.denominator(), "the target")?)
            .bigint(column(layout.seed(cell), "the seed")?)
            .int(column(cell.place.hyperparameters, "the index")?)
            .bigint(ids.id(cell.train)?);
        Ok(true)
    }))
}

fn evaluation_rows<'a>(
    sweep: Uuid,
    (layout, ids): (&'a Layout, &'a Stored),
    ordinals: &'a [i32],
    held: &Held,
) -> Result<Source<'a>, StoreError> {
    let first: i32 = column(held.cells.len(), "the sweep")?;
    let held = held.evaluations;
    let mut evaluations = ordinals
        .iter()
        .enumerate()
        .flat_map(move |(cell, &ordinal)| {
            let known = if ordinal < first { held } else { 0 };
            let jobs = (0_i32..).zip(layout.evaluations(cell)).skip(known);
            jobs.map(move |(place, job)| (ordinal, place, *job))
        });
    Ok(Box::new(move |rows| {
        let Some((cell, place, job)) = evaluations.next() else {
            return Ok(false);
        };
        let rows = rows.row(4).uuid(sweep).int(cell).int(place);
        rows.bigint(ids.id(job)?);
        Ok(true)
    }))
}

fn name(layout: &Layout, cell: &Cell) -> Result<CellName, StoreError> {
    let target = layout.target(cell);
    Ok((
        layout.model(cell).to_owned(),
        layout.dataset(cell).to_owned(),
        layout.schedule(cell).to_string(),
        (
            column(target.numerator(), "the target")?,
            column(target.denominator(), "the target")?,
        ),
        column(layout.seed(cell), "the seed")?,
        column(cell.place.hyperparameters, "the index")?,
    ))
}
