//! `temper admin after-restore`.

use anyhow::Context as _;
use temper_service::database::Database;
use temper_store::{Actor, Store};

use crate::output;

/// By this the audit log knows the command.
const COMMAND: &str = "temper admin after-restore";

/// Which database.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    database: Database,
}

/// Makes a database that was restored from a dump fit for use. Brings the tables up to date first.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let store = Store::connect(&args.database.url()?, 1)
        .await
        .context("cannot connect to the database (TEMPER_DATABASE_URL)")?;
    store.migrate().await?;
    let restored = store.restore_settle(&Actor::at_database(COMMAND)).await?;
    store.close().await;
    output::line(format_args!(
        "{} leases of the dump's moment are given back; fences go on above {}",
        restored.released, restored.fence
    ));
    Ok(())
}
