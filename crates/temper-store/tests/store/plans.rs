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
    // What this worker cannot do stands before what it can.
    lab.execute(
        "INSERT INTO temper.job (key, kind, precision, owner, priority, result_version, epochs, spec,
            title)
        SELECT sha256(('bf16' || number)::bytea), 'train', 'bf16', 'ann', 9, 1, 1, '{}', ''
        FROM generate_series(1, 5000) AS number",
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
            "EXPLAIN EXECUTE {name} ('{}', '{{1}}', 'w', 'cpu', 60, 'leased', '{{fp32,bf16}}')",
            Uuid::nil()
        ));
        let plan: Vec<String> = sqlx::query_scalar(explain).fetch_all(store.pool()).await?;
        let plan = plan.join("\n");
        assert!(
            plan.contains("Index Scan using job_ready on job"),
            "{mode}:\n{plan}"
        );
        assert!(!plan.contains("Seq Scan on job"), "{mode}:\n{plan}");
        // Each line of the index is in the wanted order, so that its first row is enough: nothing
        // is sorted below the lock, and below the only other sort are heads, one a number format.
        let search = &plan[plan.find("LockRows").context("no LockRows")?..];
        let search = &search[..search.find("job_ready").context("no index")?];
        assert!(!search.contains("Sort"), "{mode}:\n{plan}");
        for line in plan
            .lines()
            .filter(|line| line.contains("Index Cond: ((owner"))
        {
            assert!(line.contains("\"precision\" ="), "{mode}:\n{plan}");
        }
    }
    Ok(())
}
