use anyhow::{Context, Result};
use sqlx::AssertSqlSafe;
use temper_store::Store;
use uuid::Uuid;

use crate::lab::{LEASE, Lab, spec};

/// The very statement of the claim, as this connection prepared it, is explained.
#[tokio::test]
async fn claim_reads_the_partial_index_and_not_the_history() -> Result<()> {
    let lab = Lab::new().await?;
    lab.submit(&spec(0..50)).await?;
    lab.execute(
        "INSERT INTO temper.job (key, kind, state, owner, priority, result_version, epochs, spec,
            title, finished_at)
        SELECT sha256(number::text::bytea), 'train', 'succeeded', 'ann', 0, 1, 1, '{}', '', now()
        FROM generate_series(1, 20000) AS number",
    )
    .await?;
    lab.execute("ANALYZE temper.job").await?;
    let worker = lab.worker("w").await?;
    let store = Store::connect(lab.database.url(), 1).await?;
    store
        .lease_claim(worker, LEASE)
        .await?
        .context("nothing to claim")?;
    let name: String = sqlx::query_scalar(
        "SELECT name FROM pg_prepared_statements WHERE statement LIKE 'WITH turn AS%'",
    )
    .fetch_one(store.pool())
    .await?;
    for mode in ["force_custom_plan", "force_generic_plan"] {
        let set = AssertSqlSafe(format!("SET plan_cache_mode = {mode}"));
        sqlx::query(set).execute(store.pool()).await?;
        let explain = AssertSqlSafe(format!(
            "EXPLAIN EXECUTE {name} ('{}', '{{1}}', 'w', 'cpu', 60, 'leased')",
            Uuid::nil()
        ));
        let plan: Vec<String> = sqlx::query_scalar(explain).fetch_all(store.pool()).await?;
        let plan = plan.join("\n");
        assert!(
            plan.contains("Index Scan using job_ready on job"),
            "{mode}:\n{plan}"
        );
        assert!(!plan.contains("Seq Scan on job"), "{mode}:\n{plan}");
        // The index has the wanted order, so that the first row is enough.
        let search = &plan[plan.find("LockRows").context("no LockRows")?..];
        let search = &search[..search.find("job_ready").context("no index")?];
        assert!(!search.contains("Sort"), "{mode}:\n{plan}");
    }
    Ok(())
}
