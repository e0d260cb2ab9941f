//! `temper migrate`.

use anyhow::Context as _;
use temper_store::Store;

use crate::output;

/// Which database.
#[derive(clap::Args)]
pub struct Args {
    /// The database, `postgres://user@host/name`
    #[arg(
        long,
        env = "TEMPER_DATABASE_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    database_url: String,
}

/// Applies the migrations that the database lacks. Coordinators do the same when they start.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let store = Store::connect(&args.database_url, 1)
        .await
        .context("cannot connect to the database (TEMPER_DATABASE_URL)")?;
    store.migrate().await?;
    store.close().await;
    output::line("the database is up to date");
    Ok(())
}
