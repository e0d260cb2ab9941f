use std::{
    ops::{Deref, DerefMut},
    time::Duration,
};

use sqlx::{
    PgConnection, PgPool, Postgres, Transaction,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::{StoreError, ready::Announcer};

/// A pool of connections to Temper's database. Cloning it shares the pool.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) pool: PgPool,
    announcer: Announcer,
}

/// A transaction of the store; dropped, it is rolled back.
pub(crate) struct Tx {
    inner: Transaction<'static, Postgres>,
    announcer: Announcer,
    readies: bool,
}

impl Store {
    /// Connects to the database at `url` (`postgres://…`), with at most `connections` at a time.
    /// The tables must be migrated before anything else is called.
    ///
    /// # Errors
    /// When the URL is none or the database does not answer.
    pub async fn connect(url: &str, connections: u32) -> Result<Self, StoreError> {
        // The statements of the queue differ in no value that a plan could make use of, and planning a
        // claim anew each time shows in `make bench-queue`.
        Self::open(url, connections, ("plan_cache_mode", "force_generic_plan")).await
    }

    /// The same for who only reads, under a role that need not be allowed to do more: PostgreSQL itself
    /// refuses every write.
    ///
    /// # Errors
    /// When the URL is none or the database does not answer.
    pub async fn connect_reading(url: &str, connections: u32) -> Result<Self, StoreError> {
        Self::open(url, connections, ("default_transaction_read_only", "on")).await
    }

    async fn open(url: &str, connections: u32, setting: (&str, &str)) -> Result<Self, StoreError> {
        let options: PgConnectOptions = url.parse()?;
        let options = options.options([setting]);
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(Duration::from_secs(10))
            .connect_with(options.application_name("temper"))
            .await?;
        let announcer = Announcer::start(pool.clone());
        Ok(Self { pool, announcer })
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
        Ok(Tx {
            inner: self.pool.begin().await?,
            announcer: self.announcer.clone(),
            readies: false,
        })
    }
}

impl Tx {
    /// Notes that jobs become ready by what is written here.
    pub(crate) fn announce(&mut self) {
        self.readies = true;
    }

    /// Commits, and then wakes those who wait for a job if there may be one.
    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        self.inner.commit().await?;
        if self.readies {
            self.announcer.wake();
        }
        Ok(())
    }
}

impl Deref for Tx {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.inner
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.inner
    }
}
