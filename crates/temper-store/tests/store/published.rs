use std::collections::BTreeSet;

use anyhow::Result;
use temper_store::testing::Database;

/// The figures as they are printed: percent with two decimals.
const AS_PRINTED: &str = "SELECT concat_ws(',', model, dataset, schedule, target_num,
        to_char(100 * clean, 'FM990.00'), to_char(100 * robust, 'FM990.00'),
        to_char(100 * expected, 'FM990.00'))
    FROM temper.published_result WHERE target_den = 255";

#[tokio::test]
async fn what_was_published_is_stored_as_it_is_in_the_catalog() -> Result<()> {
    let database = Database::new().await?;
    let stored: Vec<String> = sqlx::query_scalar(AS_PRINTED)
        .fetch_all(database.pool())
        .await?;
    let file = include_str!("../../../../catalog/published.csv");
    let printed: BTreeSet<_> = file.lines().skip(1).map(str::to_owned).collect();
    assert_eq!((stored.len(), printed.len()), (120, 120));
    assert_eq!(BTreeSet::from_iter(stored), printed);
    Ok(())
}

#[tokio::test]
async fn published_rows_that_fit_no_falling_curve_are_marked() -> Result<()> {
    let database = Database::new().await?;
    let marked: Vec<(String, String, String, String)> = sqlx::query_as(
        "SELECT model, dataset, schedule, target FROM reporting.published
        WHERE anomalous ORDER BY model",
    )
    .fetch_all(database.pool())
    .await?;
    let row = |model: &str| {
        let [dataset, schedule, target] = ["fgvc-aircraft", "fixed", "8/255"].map(str::to_owned);
        (model.to_owned(), dataset, schedule, target)
    };
    assert_eq!(marked, [row("convnext-base"), row("resnet50")]);
    Ok(())
}
