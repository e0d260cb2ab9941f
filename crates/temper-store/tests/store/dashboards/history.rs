//! Plans over a large history.

use anyhow::{Context, Result};
use sqlx::AssertSqlSafe;
use temper_store::testing::{bench, grafana};

use super::seed::Seeded;

/// Tables that grow with every job; leases, sweeps, queues and workers stay few.
const LARGE: [&str; 9] = [
    "job",
    "epoch_metric",
    "evaluation",
    "attempt",
    "job_summary",
    "sweep_cell",
    "sweep_job",
    "cell_evaluation",
    "job_dependency",
];
/// Jobs of the history, and of each of its sweeps.
const JOBS: i64 = 60_000;
const JOBS_A_SWEEP: i64 = 1_000;

/// The first large table that a plan reads from one end to the other.
fn scanned(plan: &str) -> Option<&'static str> {
    LARGE.into_iter().find(|table| {
        let scan = format!("Seq Scan on {table}");
        let mut lines = plan.lines().filter_map(|line| line.split_once(&scan));
        lines.any(|(_, rest)| rest.is_empty() || rest.starts_with(' '))
    })
}

#[tokio::test]
async fn no_statement_reads_a_large_table_from_end_to_end() -> Result<()> {
    let seeded = Seeded::new().await?;
    let store = seeded.lab.store();
    bench::history_insert(store, 0..JOBS).await?;
    bench::history_sweeps(store, 0..JOBS, JOBS_A_SWEEP).await?;
    bench::vacuum(store).await?;
    let mut statements = grafana::alerts()?;
    for board in grafana::boards()? {
        let scope = seeded.scope(&board).await?;
        for panel in &board.panels {
            statements.push((
                format!("{}: {}", board.name, panel.title),
                scope.expand(&panel.sql)?,
            ));
        }
        for variable in &board.variables {
            statements.push((
                format!("{}: ${}", board.name, variable.name),
                scope.expand(&variable.sql)?,
            ));
        }
    }
    let mut wrong = Vec::new();
    for (name, sql) in statements {
        let explain = AssertSqlSafe(format!("EXPLAIN {sql}"));
        let plan: Vec<String> = sqlx::query_scalar(explain)
            .fetch_all(&seeded.reader)
            .await
            .context(name.clone())?;
        let plan = plan.join("\n");
        if let Some(table) = scanned(&plan) {
            wrong.push(format!("{name} reads all of {table}:\n{plan}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    Ok(())
}

#[tokio::test]
async fn plan_that_reads_everything_is_told() -> Result<()> {
    let seeded = Seeded::new().await?;
    let explain = "EXPLAIN SELECT count(*) FROM reporting.attempt WHERE outcome = 'lost'";
    let plan: Vec<String> = sqlx::query_scalar(explain)
        .fetch_all(&seeded.reader)
        .await?;
    assert_eq!(scanned(&plan.join("\n")), Some("attempt"));
    Ok(())
}
