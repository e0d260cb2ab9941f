//! The database of local mode: one in the folder, or the user's own.

use anyhow::Context as _;
use temper_store::postgres::{LocalPostgres, Options};

use super::folder::Folder;

/// A database that is there.
pub enum Database {
    /// Runs in the folder and ends with us.
    Own(LocalPostgres),
    /// The user's.
    Given(String),
}

impl Database {
    /// Starts PostgreSQL in the folder unless the user has a database.
    pub async fn start(given: Option<&str>, folder: &Folder) -> anyhow::Result<Self> {
        if let Some(url) = given {
            return Ok(Self::Given(url.to_owned()));
        }
        let path = folder.postgres();
        let postgres = LocalPostgres::start(&path, Options::default()).await;
        let postgres = postgres.with_context(|| {
            format!(
                "cannot start PostgreSQL in {} (TEMPER_DATABASE_URL names another)",
                path.display()
            )
        })?;
        Ok(Self::Own(postgres))
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        match self {
            Self::Own(postgres) => postgres.url(),
            Self::Given(url) => url,
        }
    }

    /// Stops what was started.
    pub async fn stop(self) -> anyhow::Result<()> {
        match self {
            Self::Own(postgres) => postgres.stop().await.context("PostgreSQL does not stop"),
            Self::Given(_) => Ok(()),
        }
    }
}
