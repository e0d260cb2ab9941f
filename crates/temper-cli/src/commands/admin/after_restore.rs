//! `temper admin after-restore`.

use anyhow::Context as _;
use serde_json::json;
use temper_service::database::Database;
use temper_store::{Actor, Restored, Store};

use crate::output;

/// By this the audit log knows the command.
const COMMAND: &str = "temper admin after-restore";

/// Which database.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    database: Database,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Makes a database that was restored from a dump fit for use. Brings the tables up to date first.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let store = Store::connect(&args.database.url()?, 1)
        .await
        .context("cannot connect to the database (TEMPER_DATABASE_URL)")?;
    store.migrate().await?;
    let restored = store.restore_settle(&Actor::at_database(COMMAND)).await?;
    store.close().await;
    let Restored { released, fence } = restored;
    if args.json {
        output::line(json!({ "released": released, "fence": fence }));
    } else {
        output::line(format_args!(
            "{released} leases of the dump's moment are given back; fences go on above {fence}"
        ));
    }
    Ok(())
}
