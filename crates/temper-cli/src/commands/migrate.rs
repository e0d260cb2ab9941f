//! `temper migrate`.

use anyhow::Context as _;
use temper_service::database::Database;
use temper_store::Store;

use crate::output;

/// Which database.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    database: Database,
}

/// Applies the migrations that the database lacks. Coordinators do the same when they start.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let store = Store::connect(&args.database.url()?, 1)
        .await
        .context("cannot connect to the database (TEMPER_DATABASE_URL)")?;
    store.migrate().await?;
    store.close().await;
    output::line("the database is up to date");
    Ok(())
}
