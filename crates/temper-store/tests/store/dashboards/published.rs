//! The paper's means, through the panel's own statement.

use anyhow::{Context, Result};
use sqlx::AssertSqlSafe;
use temper_store::testing::grafana::{self, Board, Scope};

use super::seed::Seeded;

/// Percent, with two decimals.
type Mean = (String, String, i64, String, String, String, i64);

async fn statement(seeded: &Seeded, title: &str) -> Result<String> {
    let boards = grafana::boards()?;
    let board: &Board = boards
        .iter()
        .find(|board| board.name == "curves")
        .context("no board")?;
    let panel = board
        .panels
        .iter()
        .find(|panel| panel.title == title)
        .context("no panel")?;
    let scope: Scope = seeded.scope(board).await?;
    scope.expand(&panel.sql)
}

#[tokio::test]
async fn published_means_are_those_of_the_paper_and_count_the_anomalous_rows() -> Result<()> {
    let seeded = Seeded::new().await?;
    let sql = statement(&seeded, "Published: means").await?;
    let percent = AssertSqlSafe(format!(
        "SELECT target, schedule, n, round(100 * clean, 2)::text, round(100 * robust, 2)::text,
            round(100 * \"expected robustness\", 2)::text, anomalous
        FROM ({sql}) AS panel"
    ));
    let means: Vec<Mean> = sqlx::query_as(percent).fetch_all(&seeded.reader).await?;
    let mean = |target: &str, schedule: &str, figures: [&str; 3], anomalous| {
        let [clean, robust, expected] = figures.map(str::to_owned);
        (
            target.to_owned(),
            schedule.to_owned(),
            30,
            clean,
            robust,
            expected,
            anomalous,
        )
    };
    let expected = [
        mean("4/255", "fixed", ["38.15", "20.61", "29.20"], 0),
        mean("4/255", "two-hinge", ["76.18", "36.04", "56.59"], 0),
        mean("8/255", "fixed", ["19.40", "8.17", "13.29"], 2),
        mean("8/255", "two-hinge", ["69.35", "21.71", "44.47"], 0),
    ];
    assert_eq!(means, expected);
    Ok(())
}

#[tokio::test]
async fn published_reference_is_the_mean_of_the_rows_that_are_chosen() -> Result<()> {
    let seeded = Seeded::new().await?;
    let sql = statement(&seeded, "Accuracy against epsilon: fixed beside two-hinge").await?;
    let points = AssertSqlSafe(format!(
        "SELECT epsilon, round(\"fixed, published\"::numeric, 6)::text FROM ({sql}) AS panel
        WHERE \"fixed, published\" IS NOT NULL ORDER BY epsilon"
    ));
    let points: Vec<(f64, String)> = sqlx::query_as(points).fetch_all(&seeded.reader).await?;
    let by_hand: (String, String) = sqlx::query_as(
        "SELECT round(avg(clean_accuracy), 6)::text, round(avg(robust_accuracy), 6)::text
        FROM reporting.published
        WHERE model IN ('resnet50', 'vit-base') AND dataset IN ('caltech256', 'cub200')
            AND schedule = 'fixed' AND target = '4/255'",
    )
    .fetch_one(&seeded.reader)
    .await?;
    assert_eq!(points, [(0.0, by_hand.0), (4.0, by_hand.1)]);
    Ok(())
}
