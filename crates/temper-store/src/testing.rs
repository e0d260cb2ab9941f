//! Databases for tests, each fresh and migrated.
//!
//! They live in a cluster that the test's process starts on first use and that ends with it;
//! `TEMPER_TEST_DATABASE_URL` names a server to use instead.

pub mod bench;
pub mod grafana;
pub mod tables;

use std::{env, path::Path};

use anyhow::{Context, Result};
use sqlx::{
    AssertSqlSafe, Connection, PgConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::{
    READER, RESULTS, RolePasswords, Store,
    postgres::{LocalPostgres, Options},
};

/// Connections that a test may use at a time.
const CONNECTIONS: u32 = 32;

/// The cluster of this process. Statics are not dropped, but its pipe closes with the process.
static CLUSTER: OnceCell<LocalPostgres> = OnceCell::const_new();

/// A database of a test's own.
#[derive(Debug, Clone)]
pub struct Database {
    store: Store,
    url: String,
}

impl Database {
    /// Makes a database and migrates it.
    ///
    /// # Errors
    /// When no PostgreSQL can be had or the migrations fail.
    pub async fn new() -> Result<Self> {
        let server = match env::var("TEMPER_TEST_DATABASE_URL") {
            Ok(url) => url,
            Err(_) => CLUSTER.get_or_try_init(start).await?.url().to_owned(),
        };
        Self::on(&server).await
    }

    /// Makes a database on this server and migrates it.
    ///
    /// # Errors
    /// When the server does not answer or the migrations fail.
    pub async fn on(server: &str) -> Result<Self> {
        let name = format!("temper_test_{}", Uuid::new_v4().simple());
        let mut connection = PgConnection::connect(server).await.context("connecting")?;
        // The name is ours and needs no quotes.
        let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
        sqlx::query(create)
            .execute(&mut connection)
            .await
            .context("creating a database")?;
        connection.close().await?;
        let url = with_database(server, &name).context("the server's URL has no database")?;
        let store = Store::connect(&url, CONNECTIONS).await?;
        store.migrate().await?;
        Ok(Self { store, url })
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// URL of the database, `postgres://…`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// URL of the database as `temper_results`, which is made where it is not there.
    ///
    /// # Errors
    /// When the roles cannot be made, or the URL names no user.
    pub async fn results_url(&self) -> Result<String> {
        self.store.roles_apply(&RolePasswords::default()).await?;
        let (scheme, rest) = self.url.split_once("://").context("no scheme")?;
        let (_, place) = rest.split_once('@').context("no user")?;
        Ok(format!("{scheme}://{RESULTS}@{place}"))
    }

    /// Connections of `temper_reader`, which is made where it is not there.
    ///
    /// # Errors
    /// When the roles cannot be made, or the reader cannot connect.
    pub async fn reader(&self, connections: u32) -> Result<sqlx::PgPool> {
        self.store.roles_apply(&RolePasswords::default()).await?;
        connected_as(&self.url, READER, connections).await
    }

    /// The store's pool.
    #[must_use]
    pub fn pool(&self) -> &sqlx::PgPool {
        self.store.pool()
    }
}

/// Connections to a database as another role, which needs no password.
///
/// # Errors
/// When it cannot connect.
pub async fn connected_as(url: &str, role: &str, connections: u32) -> Result<sqlx::PgPool> {
    let options: PgConnectOptions = url.parse()?;
    let pool = PgPoolOptions::new().max_connections(connections);
    let pool = pool.connect_with(options.username(role)).await;
    pool.with_context(|| format!("connecting as {role}"))
}

async fn start() -> Result<LocalPostgres> {
    let folder = tempfile::Builder::new()
        .prefix("temper-test-")
        .tempdir()?
        .keep();
    let linked = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.local/postgres");
    let installation = linked.join("bin").is_dir().then_some(linked);
    let options = Options {
        installation,
        ephemeral: true,
    };
    LocalPostgres::start(&folder, options)
        .await
        .context("starting a PostgreSQL for the tests")
}

/// The same server's URL with another database.
fn with_database(url: &str, name: &str) -> Option<String> {
    let (address, query) = url.split_once('?').unwrap_or((url, ""));
    let (server, _) = address.rsplit_once('/')?;
    let query = if query.is_empty() {
        String::new()
    } else {
        format!("?{query}")
    };
    Some(format!("{server}/{name}{query}"))
}
