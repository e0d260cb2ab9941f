//! `temper models`.

use serde_json::json;
use temper_core::catalog::ModelEntry;
use temper_data::{Inputs, Presence};

use crate::{catalog::CatalogFile, checkout, output};

/// How to list.
#[derive(clap::Args)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    catalog: CatalogFile,
    #[command(flatten)]
    inputs: Inputs,
}

/// Lists the models of the catalog, with what is here of them.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let catalog = args.catalog.load()?;
    let sources = checkout::with_mirror(args.inputs.clone()).sources()?;
    let here = |entry: &ModelEntry| sources.find_model(entry);
    if args.json {
        let models = catalog.models.iter().map(
            |(name, entry)| json!({ "name": name, "entry": entry, "here": presence(&here(entry)) }),
        );
        output::line(models.collect::<serde_json::Value>());
        return Ok(());
    }
    let columns = [
        "MODEL",
        "ARCHITECTURE",
        ">PARAMETERS",
        ">FLOPS",
        "LICENCE",
        "PINNED",
        "HERE",
    ];
    let rows = catalog.models.iter().map(|(name, entry)| {
        vec![
            name.clone(),
            entry.architecture.clone(),
            number(entry.parameters, "M"),
            number(entry.flops, "G"),
            entry.licence.clone(),
            pinned(entry.sha256.is_some(), entry.commit().is_some()),
            presence(&here(entry)),
        ]
    });
    output::print_table(&output::table(&columns, rows), "the catalog has no models");
    Ok(())
}

fn number(value: Option<f64>, unit: &str) -> String {
    value
        .map(|value| format!("{value:.1} {unit}"))
        .unwrap_or_default()
}

/// By what an entry is pinned.
pub fn pinned(digest: bool, commit: bool) -> String {
    let by = if digest {
        "digest"
    } else if commit {
        "commit"
    } else {
        "no"
    };
    by.to_owned()
}

/// Where an entry's files are.
pub fn presence(presence: &Presence) -> String {
    match presence {
        Presence::Mirror(path) | Presence::Folder(path) => path.display().to_string(),
        Presence::HubCache => "hub cache".to_owned(),
        Presence::Absent => "no".to_owned(),
    }
}
