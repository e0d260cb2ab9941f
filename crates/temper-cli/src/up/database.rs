//! The database of local mode: one in the folder, or the user's own.

use std::path::PathBuf;

use anyhow::Context as _;
use temper_store::postgres::{LocalPostgres, Options};

use super::{Args, folder::Folder};
use crate::checkout;

/// A database that is there.
pub enum Database {
    /// Runs in the folder and ends with us.
    Own(LocalPostgres),
    /// The user's.
    Given(String),
}

impl Database {
    /// Starts PostgreSQL in the folder unless the user has a database.
    pub async fn start(args: &Args, folder: &Folder) -> anyhow::Result<Self> {
        if let Some(url) = &args.database_url {
            return Ok(Self::Given(url.clone()));
        }
        let path = folder.postgres();
        let options = Options {
            installation: installation(args),
            ..Options::default()
        };
        let postgres = LocalPostgres::start(&path, options).await;
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

/// The installation that was named, by its `bin`; else the checkout's; else the store looks.
fn installation(args: &Args) -> Option<PathBuf> {
    match &args.postgres {
        // A word of `make setup`, which reads the same variable.
        Some(word) if word.as_os_str() == "fetch" => checkout::postgres(),
        Some(programs) => programs.parent().map(PathBuf::from),
        None => checkout::postgres(),
    }
}
