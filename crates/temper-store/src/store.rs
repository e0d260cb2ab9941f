use std::time::Duration;

use sqlx::{
    PgPool, Postgres, Transaction,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::StoreError;

/// A pool of connections to Temper's database. Cloning it shares the pool.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) pool: PgPool,
}

/// A transaction of the store.
pub(crate) type Tx = Transaction<'static, Postgres>;

impl Store {
    /// Connects to the database at `url` (`postgres://…`), with at most `connections` at a time.
    /// The tables must be migrated before anything else is called.
    ///
    /// # Errors
    /// When the URL is none or the database does not answer.
    pub async fn connect(url: &str, connections: u32) -> Result<Self, StoreError> {
        let options: PgConnectOptions = url.parse()?;
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(Duration::from_secs(10))
            .connect_with(options.application_name("temper"))
            .await?;
        Ok(Self { pool })
    }

    /// Brings the tables up to date. Any number of processes may call this at once: they take
    /// turns by an advisory lock.
    ///
    /// # Errors
    /// When a migration fails, or the database has one that this program does not know.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let mut migrator: Migrator = sqlx::migrate!("../../migrations");
        migrator.create_schema("temper");
        migrator.dangerous_set_table_name("temper._sqlx_migrations");
        Ok(migrator.run(&self.pool).await?)
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query!("SELECT 1 AS one")
            .fetch_one(&self.pool)
            .await?;
        Ok(())
    }

    /// Closes every connection, once what runs on it is done.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// The pool, for what the store does not offer: making time pass, asking for plans.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    pub(crate) async fn begin(&self) -> Result<Tx, StoreError> {
        Ok(self.pool.begin().await?)
    }
}
