use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, PgPool, postgres::PgConnectOptions};
use temper_core::{Digest, ErrorKind, access::Standing};
use temper_store::{
    CurveFilter, READER, RESULTS, RolePasswords, Store, Verifier,
    postgres::{LocalPostgres, Options},
    testing::{Database, connected_as},
};

use crate::lab::{Lab, TESTER, refusal, spec};

/// Names of relations of a schema, with the schema.
async fn relations(pool: &PgPool, schema: &str) -> Result<Vec<String>> {
    let query = "SELECT format('%I.%I', nspname, relname) FROM pg_class
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE nspname = $1 AND relkind IN ('r', 'v') ORDER BY relname";
    Ok(sqlx::query_scalar(query)
        .bind(schema)
        .fetch_all(pool)
        .await?)
}

/// The SQLSTATE with which a statement is refused; none if it is not.
async fn refused(pool: &PgPool, statement: String) -> Option<String> {
    let done = sqlx::raw_sql(AssertSqlSafe(statement)).execute(pool).await;
    let error = done.err()?;
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    Some(code.map_or_else(|| error.to_string(), |code| code.to_string()))
}

/// A cluster of the test's own: roles are the cluster's, and other tests use them.
async fn cluster(folder: &tempfile::TempDir) -> Result<(LocalPostgres, Store)> {
    let cluster = LocalPostgres::start(folder.path(), Options::default()).await?;
    let store = Store::connect(cluster.url(), 2).await?;
    store.migrate().await?;
    Ok((cluster, store))
}

#[tokio::test]
async fn reader_reads_every_view_and_no_table() -> Result<()> {
    let database = Database::new().await?;
    let reader = database.reader(1).await?;
    let views = relations(database.pool(), "reporting").await?;
    assert!(views.len() >= 15, "{views:?}");
    for view in views {
        let code = refused(&reader, format!("SELECT * FROM {view}")).await;
        assert_eq!(code, None, "{view}");
    }
    let tables = relations(database.pool(), "temper").await?;
    assert!(tables.len() >= 20, "{tables:?}");
    for table in tables {
        let code = refused(&reader, format!("SELECT FROM {table}")).await;
        assert_eq!(code.as_deref(), Some("42501"), "{table}");
    }
    let seen: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'temper'",
    )
    .fetch_one(&reader)
    .await?;
    assert_eq!(seen, 0);
    Ok(())
}

#[tokio::test]
async fn reader_can_write_nowhere_even_if_it_leaves_its_read_only_mode() -> Result<()> {
    let database = Database::new().await?;
    let reader = database.reader(1).await?;
    let insert = "CREATE TEMPORARY TABLE mine ()".to_owned();
    assert_eq!(
        refused(&reader, insert).await.as_deref(),
        Some("25006"),
        "read-only"
    );
    sqlx::query("SET default_transaction_read_only = off")
        .execute(&reader)
        .await?;
    let mut statements: Vec<String> = [
        "CREATE TEMPORARY TABLE mine ()",
        "CREATE TABLE public.mine ()",
        "CREATE VIEW reporting.mine AS SELECT 1",
        "CREATE SCHEMA mine",
        "SELECT temper.job_changed()",
        "SET ROLE temper",
        "COPY reporting.sweep TO PROGRAM 'true'",
    ]
    .map(str::to_owned)
    .to_vec();
    // Some views are so simple that their owner could write through them.
    for view in ["attempt", "worker", "published"] {
        statements.push(format!("DELETE FROM reporting.{view}"));
        statements.push(format!("INSERT INTO reporting.{view} DEFAULT VALUES"));
    }
    for statement in statements {
        let code = refused(&reader, statement.clone()).await;
        assert_eq!(code.as_deref(), Some("42501"), "{statement}");
    }
    let writable: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'reporting'::regnamespace
            AND has_table_privilege('temper_reader', oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')",
    )
    .fetch_all(database.pool())
    .await?;
    assert!(writable.is_empty(), "{writable:?}");
    Ok(())
}

#[tokio::test]
async fn results_role_reads_the_tables_and_writes_none() -> Result<()> {
    let database = Database::new().await?;
    database
        .store()
        .roles_apply(&RolePasswords::default())
        .await?;
    let results = connected_as(database.url(), RESULTS, 1).await?;
    for schema in ["temper", "reporting"] {
        for relation in relations(database.pool(), schema).await? {
            let code = refused(&results, format!("SELECT * FROM {relation} LIMIT 1")).await;
            assert_eq!(code, None, "{relation}");
        }
    }
    let write = "UPDATE temper.token SET last_used_at = now()".to_owned();
    assert_eq!(
        refused(&results, write.clone()).await.as_deref(),
        Some("25006")
    );
    sqlx::query("SET default_transaction_read_only = off")
        .execute(&results)
        .await?;
    assert_eq!(refused(&results, write).await.as_deref(), Some("42501"));
    Ok(())
}

#[tokio::test]
async fn results_service_finds_all_that_it_reads_under_its_role() -> Result<()> {
    let lab = Lab::new().await?;
    let sweep = lab.submit(&spec([0])).await?.id;
    lab.finish_all(lab.worker("w").await?).await?;
    lab.store().roles_apply(&RolePasswords::default()).await?;
    let url = lab
        .database
        .url()
        .replacen("//temper@", "//temper_results@", 1);
    let results = Store::connect(&url, 1).await?;
    let curves = results.sweep_curves(sweep, &CurveFilter::default()).await?;
    assert!(curves[0].points.is_some());
    results.curve_get(curves[0].job).await?;
    let standing = results.token_standing(&Digest::of(b"workers")).await?;
    assert!(matches!(standing, Standing::Good(_)), "{standing:?}");
    let cancelled = results.sweep_cancel(&TESTER, sweep).await;
    refusal(cancelled, ErrorKind::Internal);
    Ok(())
}

#[tokio::test]
async fn relations_of_later_migrations_are_readable_without_asking_again() -> Result<()> {
    let database = Database::new().await?;
    let reader = database.reader(1).await?;
    let later = "CREATE VIEW reporting.later AS SELECT 1 AS one; CREATE TABLE temper.later ()";
    sqlx::raw_sql(later).execute(database.pool()).await?;
    assert_eq!(
        refused(&reader, "SELECT one FROM reporting.later".to_owned()).await,
        None
    );
    let code = refused(&reader, "SELECT FROM temper.later".to_owned()).await;
    assert_eq!(code.as_deref(), Some("42501"));
    let results = connected_as(database.url(), RESULTS, 1).await?;
    assert_eq!(
        refused(&results, "SELECT FROM temper.later".to_owned()).await,
        None
    );
    Ok(())
}

#[tokio::test]
async fn reader_is_limited_in_time_and_connections() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (cluster, store) = cluster(&folder).await?;
    store.roles_apply(&RolePasswords::default()).await?;
    let reader = connected_as(cluster.url(), READER, 16).await?;
    let mut held = Vec::new();
    for _ in 0..16 {
        held.push(reader.acquire().await?);
    }
    let options: PgConnectOptions = cluster.url().parse()?;
    let one_more = sqlx::ConnectOptions::connect(&options.username(READER)).await;
    let error = one_more.err().context("a seventeenth connection")?;
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    assert_eq!(code.as_deref(), Some("53300"), "{error}");
    let timeout: String = sqlx::query_scalar("SHOW statement_timeout")
        .fetch_one(&mut *held[0])
        .await?;
    assert_eq!(timeout, "15s");
    // It is the role's, and it is kept: of a shorter one nobody has to wait for the end.
    sqlx::query("ALTER ROLE temper_reader SET statement_timeout = '20ms'")
        .execute(store.pool())
        .await?;
    drop(held);
    reader.close().await;
    let impatient = connected_as(cluster.url(), READER, 1).await?;
    let code = refused(&impatient, "SELECT pg_sleep(60)".to_owned()).await;
    assert_eq!(code.as_deref(), Some("57014"));
    cluster.stop().await?;
    Ok(())
}

#[tokio::test]
async fn roles_are_made_again_harmlessly_and_keep_a_password_that_is_not_given() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (cluster, store) = cluster(&folder).await?;
    let kept = "SELECT rolname::text, rolpassword FROM pg_authid
        WHERE rolname IN ('temper_reader', 'temper_results') ORDER BY rolname";
    let passwords = RolePasswords {
        reader: Some(Verifier::of("it's 'quoted'")),
        results: None,
    };
    tokio::try_join!(store.roles_apply(&passwords), store.roles_apply(&passwords))?;
    let first: Vec<(String, Option<String>)> = sqlx::query_as(kept).fetch_all(store.pool()).await?;
    assert!(
        first[0]
            .1
            .as_deref()
            .context("none")?
            .starts_with("SCRAM-SHA-256$")
    );
    assert_eq!(first[1].1, None);
    store.roles_apply(&RolePasswords::default()).await?;
    let again: Vec<(String, Option<String>)> = sqlx::query_as(kept).fetch_all(store.pool()).await?;
    assert_eq!(again, first);
    cluster.stop().await?;
    Ok(())
}

#[tokio::test]
async fn role_that_may_do_more_than_read_is_refused_by_name() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (cluster, store) = cluster(&folder).await?;
    for (make, take) in [
        (
            "CREATE ROLE temper_reader SUPERUSER",
            "DROP ROLE temper_reader",
        ),
        (
            "CREATE ROLE temper_results IN ROLE temper",
            "DROP ROLE temper_results",
        ),
    ] {
        sqlx::query(make).execute(store.pool()).await?;
        let applied = store.roles_apply(&RolePasswords::default()).await;
        let refusal = refusal(applied, ErrorKind::FailedPrecondition);
        assert!(refusal.contains("temper_re"), "{refusal}");
        sqlx::query(take).execute(store.pool()).await?;
    }
    store.roles_apply(&RolePasswords::default()).await?;
    cluster.stop().await?;
    Ok(())
}
