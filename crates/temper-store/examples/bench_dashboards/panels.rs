//! The statements, and how long each takes.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use sqlx::{AssertSqlSafe, PgPool};
use temper_core::spec::TrainingSettings;
use temper_store::{
    Store,
    testing::{
        Database, bench,
        grafana::{self, Board, Scope},
        tables,
    },
};

use crate::lab;

/// Jobs of the history, half of them trainings of so many epochs, and of each of its sweeps.
const JOBS: i64 = 40_000;
const EPOCHS: u32 = 50;
const JOBS_A_SWEEP: i64 = 2_000;
/// How often each statement is sent.
const TIMES: usize = 20;

/// What is asked.
pub struct Asked {
    /// Names and statements.
    pub statements: Vec<(String, String)>,
}

/// How long it took.
pub struct Panels {
    /// Of all that was sent, in milliseconds.
    pub p95_ms: f64,
    /// The statement that took longest by its own p95, and that.
    pub slowest: (String, f64),
}

impl Asked {
    /// Makes the history, and chooses all of one of its sweeps.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn lay_out(database: &Database) -> Result<Self> {
        let store = database.store();
        let started = Instant::now();
        let mut spec = lab::spec([0]);
        spec.training = TrainingSettings {
            epochs: EPOCHS,
            ..spec.training
        };
        lab::Submission::of(&spec).send(store).await?;
        bench::history_insert(store, 0..JOBS).await?;
        bench::history_sweeps(store, 0..JOBS, JOBS_A_SWEEP).await?;
        bench::vacuum(store).await?;
        let epochs = tables::tally(store).await?.epochs;
        println!(
            "history: epochs={epochs} after {:.0} s",
            started.elapsed().as_secs_f64()
        );
        ensure!(epochs == 1_000_000, "{epochs} epochs");
        let reader = database.reader(1).await?;
        let mut statements = Vec::new();
        for (title, sql) in grafana::alerts()? {
            statements.push((format!("alert/{title}"), sql));
        }
        for board in grafana::boards()? {
            let scope = scope(store, &reader, &board).await?;
            for variable in &board.variables {
                statements.push((
                    format!("{}/${}", board.name, variable.name),
                    scope.expand(&variable.sql)?,
                ));
            }
            for panel in &board.panels {
                statements.push((
                    format!("{}/{}", board.name, panel.title),
                    scope.expand(&panel.sql)?,
                ));
            }
        }
        reader.close().await;
        Ok(Self { statements })
    }
}

/// Everything of one sweep.
async fn scope(store: &Store, reader: &PgPool, board: &Board) -> Result<Scope> {
    let now = tables::now(store).await?;
    let mut scope = Scope {
        values: BTreeMap::new(),
        range: (
            now - Duration::from_hours(24),
            now + Duration::from_hours(1),
        ),
    };
    for variable in &board.variables {
        let sql = scope.expand(&variable.sql)?;
        let sql = if variable.name == "sweep" {
            format!("SELECT __value FROM ({sql}) AS choice WHERE __text = 'history 0'")
        } else {
            format!("SELECT {} FROM ({sql}) AS choice", variable.name)
        };
        let choices = sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_all(reader)
            .await;
        let mut values: Vec<String> = choices.with_context(|| variable.name.clone())?;
        ensure!(!values.is_empty(), "{}: no {}", board.name, variable.name);
        if !variable.multi {
            values.truncate(1);
        }
        scope.values.insert(variable.name.clone(), values);
    }
    Ok(scope)
}

/// Sends each statement, one after another.
///
/// # Errors
/// When the database fails.
pub async fn time(database: &Database, asked: &Asked) -> Result<Panels> {
    let reader = database.reader(1).await?;
    let (mut all, mut each) = (Vec::new(), Vec::new());
    for (name, sql) in &asked.statements {
        let mut times = Vec::new();
        let mut rows = 0;
        for _ in 0..TIMES {
            let started = Instant::now();
            rows = send(&reader, sql).await.with_context(|| name.clone())?;
            times.push(started.elapsed());
        }
        all.extend(&times);
        let (half, most) = (below(&mut times, 50), below(&mut times, 95));
        println!("panel: p50_ms={half:.1} p95_ms={most:.1} rows={rows} {name}");
        each.push((name.clone(), most));
    }
    reader.close().await;
    each.sort_by(|a, b| b.1.total_cmp(&a.1));
    let slowest = each.into_iter().next().context("nothing is asked")?;
    Ok(Panels {
        p95_ms: below(&mut all, 95),
        slowest: (slowest.0.replace(' ', "_"), slowest.1),
    })
}

/// Sends a statement and reads its answer; says how many rows it has.
///
/// # Errors
/// When the database fails.
pub async fn send(reader: &PgPool, sql: &str) -> Result<usize> {
    let rows = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .fetch_all(reader)
        .await?;
    Ok(rows.len())
}

/// The time, in milliseconds, that so many of 100 are not above.
fn below(times: &mut [Duration], hundredth: usize) -> f64 {
    times.sort_unstable();
    let place = (times.len() * hundredth).div_ceil(100);
    let time = times.get(place.saturating_sub(1));
    time.copied().unwrap_or_default().as_secs_f64() * 1000.0
}
