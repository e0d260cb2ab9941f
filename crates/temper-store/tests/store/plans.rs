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
        "INSERT INTO temper.job (key, kind, state, owner, priority, queue_id, footprint_id,
            result_version, epochs, spec, title, finished_at)
        SELECT sha256(number::text::bytea), 'train', 'succeeded', 'ann', 0, queue_id, footprint_id,
            1, 1, '{}', '', now()
        FROM generate_series(1, 20000) AS number, (SELECT * FROM temper.job LIMIT 1) AS job",
    )
    .await?;
    // What this worker cannot do stands before what it can.
    lab.execute(
        "WITH footprint AS (
            INSERT INTO temper.footprint (precision, result_version) VALUES ('bf16', 1) RETURNING id
        )
        INSERT INTO temper.job (key, kind, precision, owner, priority, queue_id, footprint_id,
            result_version, epochs, spec, title)
        SELECT sha256(('bf16' || number)::bytea), 'train', 'bf16', 'ann', 9, queue_id, footprint.id,
            1, 1, '{}', ''
        FROM generate_series(1, 5000) AS number, footprint,
            (SELECT queue_id FROM temper.job LIMIT 1) AS job",
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
        "SELECT name FROM pg_prepared_statements WHERE statement LIKE 'WITH RECURSIVE line AS%'",
    )
    .fetch_one(store.pool())
    .await?;
    for mode in ["force_custom_plan", "force_generic_plan"] {
        let set = AssertSqlSafe(format!("SET plan_cache_mode = {mode}"));
        sqlx::query(set).execute(store.pool()).await?;
        let explain = AssertSqlSafe(format!(
            "EXPLAIN EXECUTE {name} ('{0}', '{0}', 60, 'leased', NULL)",
            Uuid::nil()
        ));
        let plan: Vec<String> = sqlx::query_scalar(explain).fetch_all(store.pool()).await?;
        let plan = plan.join("\n");
        assert!(!plan.contains("Seq Scan on job"), "{mode}:\n{plan}");
        // From line to line by the index, the head of a line by it, and the row that is locked.
        let searches = plan.matches("using job_ready on job").count();
        assert!(searches >= 4, "{mode}:\n{plan}");
        // Each line of the index is in the wanted order, so that its first row is enough: nothing is
        // sorted below the lock.
        let search = &plan[plan.find("LockRows").context("no LockRows")?..];
        let search = &search[..search.find("job_ready").context("no index")?];
        assert!(!search.contains("Sort"), "{mode}:\n{plan}");
        let conditions = plan
            .lines()
            .filter(|line| line.contains("Index Cond: ((queue_id"));
        for condition in conditions {
            assert!(condition.contains("(footprint_id ="), "{mode}:\n{plan}");
        }
    }
    Ok(())
}
