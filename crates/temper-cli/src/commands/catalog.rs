//! `temper catalog`.

use serde_json::{Value, json};
use temper_core::catalog::Catalog;
use temper_data::{DataError, Inputs};
use temper_service::status;

use crate::{
    catalog::{CatalogFile, only},
    checkout, output,
};

/// What to do with the catalog.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Print entries with what pins their content, for `TEMPER_CATALOG`: digests of the files that
    /// are here, else the hub's newest commit
    Pin(Pin),
}

#[derive(clap::Args)]
struct Pin {
    /// Only these models and datasets
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Print JSON instead of TOML, with what could not be pinned
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    catalog: CatalogFile,
    #[command(flatten)]
    inputs: Inputs,
}

/// Pins; fails if an entry that was named could not be.
pub fn run(args: Args) -> anyhow::Result<()> {
    let Command::Pin(pin) = args.command;
    let catalog = only(pin.catalog.load()?, &pin.names)?;
    let sources = checkout::with_mirror(pin.inputs).sources()?;
    let (pinned, missing) = sources.pin(&catalog);
    if pin.json {
        output::line(document(&pinned, &missing));
    } else {
        output::line(toml::to_string(&pinned)?);
    }
    for (name, error) in &missing {
        eprintln!("not pinned: {name}: {}", status::chain(error));
    }
    anyhow::ensure!(
        missing.is_empty() || pin.names.is_empty(),
        "{} of the named entries could not be pinned",
        missing.len()
    );
    Ok(())
}

/// The pinned entries by name, and why the others are not.
fn document(pinned: &Catalog, missing: &[(String, DataError)]) -> Value {
    let missing = missing
        .iter()
        .map(|(name, error)| json!({ "name": name, "error": status::chain(error) }));
    json!({
        "models": pinned.models,
        "datasets": pinned.datasets,
        "notPinned": missing.collect::<Value>(),
    })
}
