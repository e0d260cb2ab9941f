use anyhow::{Context, Result};
use sqlx::AssertSqlSafe;
use temper_store::{Store, testing::Database};

#[tokio::test]
async fn every_table_and_column_says_what_it_is() -> Result<()> {
    let database = Database::new().await?;
    let silent: Vec<String> = sqlx::query_scalar(
        "SELECT relname || coalesce('.' || attname, '')
        FROM pg_class
        LEFT JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
        WHERE relnamespace IN ('temper'::regnamespace, 'reporting'::regnamespace)
            AND relkind IN ('r', 'v')
            AND relname <> '_sqlx_migrations'
            AND (obj_description(pg_class.oid, 'pg_class') IS NULL
                OR col_description(pg_class.oid, attnum) IS NULL)",
    )
    .fetch_all(database.pool())
    .await?;
    assert!(silent.is_empty(), "{silent:?}");
    Ok(())
}

/// Where `docs/reporting.md` goes on with what the database says of itself.
const GENERATED: &str = "<!-- From here on by TEMPER_WRITE_DOCS=1 cargo nextest run -p temper-store page_of_the_views -->\n";

#[tokio::test]
async fn page_of_the_views_says_what_the_database_says() -> Result<()> {
    let database = Database::new().await?;
    let views: Vec<String> = sqlx::query_scalar(
        "SELECT format(E'\\n## reporting.%s\\n\\n%s\\n\\n| column | type | what it is |\\n|---|---|---|\\n%s\\n',
            relname, obj_description(pg_class.oid, 'pg_class'),
            string_agg(format('| `%s` | %s | %s |', attname, format_type(atttypid, atttypmod),
                col_description(pg_class.oid, attnum)), E'\\n' ORDER BY attnum))
        FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0
        WHERE relnamespace = 'reporting'::regnamespace AND relkind = 'v'
        GROUP BY pg_class.oid, relname ORDER BY relname",
    )
    .fetch_all(database.pool())
    .await?;
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reporting.md");
    let page = std::fs::read_to_string(path)?;
    let (head, tail) = page
        .split_once(GENERATED)
        .context("the page has no such line")?;
    if std::env::var_os("TEMPER_WRITE_DOCS").is_some() {
        std::fs::write(path, [head, GENERATED, &views.concat()].concat())?;
        return Ok(());
    }
    assert_eq!(tail, views.concat());
    Ok(())
}

#[tokio::test]
async fn what_others_lead_to_without_a_foreign_key_cannot_be_deleted() -> Result<()> {
    let database = Database::new().await?;
    for table in ["owner", "queue", "footprint", "job_template", "job"] {
        for (statement, ending) in [("DELETE FROM", ""), ("TRUNCATE", " CASCADE")] {
            let done = sqlx::query(AssertSqlSafe(format!("{statement} temper.{table}{ending}")))
                .execute(database.pool());
            let refused = done.await.unwrap_err().to_string();
            assert!(refused.contains("never deleted"), "{refused}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn migrating_again_and_from_several_processes_at_once_changes_nothing() -> Result<()> {
    let database = Database::new().await?;
    let others = [
        Store::connect(database.url(), 1).await?,
        Store::connect(database.url(), 1).await?,
    ];
    tokio::try_join!(
        database.store().migrate(),
        others[0].migrate(),
        others[1].migrate()
    )?;
    let count = "SELECT count(*) FROM temper._sqlx_migrations WHERE success";
    let applied: i64 = sqlx::query_scalar(count).fetch_one(database.pool()).await?;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations");
    let there = std::fs::read_dir(folder)?.count();
    assert_eq!(usize::try_from(applied)?, there);
    database.store().ping().await?;
    Ok(())
}
