//! `temper datasets`.

use std::process::ExitCode;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use temper_core::catalog::{Catalog, Counts, DatasetEntry};
use temper_data::{CheckReport, Inputs, Sources, SplitReport, Spread};

use super::models::{pinned, presence};
use crate::{
    catalog::{CatalogFile, only},
    checkout, output,
};

/// Unreadable images that are listed; `--json` has all.
const LISTED: usize = 20;

/// What to do with datasets.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: List,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Verify counts and read every image once; exit status 1 if something is wrong
    Check(Check),
}

#[derive(clap::Args)]
struct List {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(clap::Args)]
struct Check {
    /// Which dataset
    #[arg(value_name = "NAME")]
    name: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// Where entries and files are.
#[derive(clap::Args)]
struct Place {
    #[command(flatten)]
    catalog: CatalogFile,
    #[command(flatten)]
    inputs: Inputs,
}

impl Place {
    fn open(self) -> anyhow::Result<(Catalog, Sources)> {
        let sources = checkout::with_mirror(self.inputs).sources()?;
        Ok((self.catalog.load()?, sources))
    }
}

/// Lists the datasets of the catalog, or checks one.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        None => list(args.list),
        Some(Command::Check(args)) => check(args),
    }
}

fn list(args: List) -> anyhow::Result<ExitCode> {
    let json = args.json;
    let (catalog, sources) = args.place.open()?;
    if json {
        let datasets = catalog.datasets.iter().map(|(name, entry)| {
            json!({ "name": name, "entry": entry,
                "here": presence(&sources.find_dataset(entry)) })
        });
        output::line(datasets.collect::<serde_json::Value>());
        return Ok(ExitCode::SUCCESS);
    }
    let columns = [
        "DATASET",
        ">CLASSES",
        ">IMAGES",
        "LICENCE",
        "RESEARCH ONLY",
        "PINNED",
        "HERE",
    ];
    let rows = catalog.datasets.iter().map(|(name, entry)| {
        vec![
            name.clone(),
            entry.classes.to_string(),
            images(&entry.counts),
            entry.licence.clone(),
            if entry.research_only { "yes" } else { "" }.to_owned(),
            pinned_by(entry),
            presence(&sources.find_dataset(entry)),
        ]
    });
    output::print_table(
        &output::table(&columns, rows),
        "the catalog has no datasets",
    );
    let notes = catalog.datasets.iter().filter_map(|(name, entry)| {
        let note = entry.note.as_ref()?;
        Some(format!("{name}: {note}"))
    });
    for (i, note) in notes.enumerate() {
        if i == 0 {
            output::line("");
        }
        output::line(note);
    }
    Ok(ExitCode::SUCCESS)
}

/// Images by split, as far as the catalog says.
fn images(counts: &Counts) -> String {
    if let Some(all) = counts.all {
        return format!("{all} unsplit");
    }
    let splits = [counts.train, counts.validation, counts.test];
    let said: Vec<_> = splits
        .into_iter()
        .flatten()
        .map(|n| n.to_string())
        .collect();
    said.join(" + ")
}

fn pinned_by(entry: &DatasetEntry) -> String {
    let digests = entry.source.files().all(|file| file.sha256.is_some());
    let known = entry.pinned("").is_some();
    pinned(known && digests, known)
}

fn check(args: Check) -> anyhow::Result<ExitCode> {
    let (catalog, sources) = args.place.open()?;
    let mut catalog = only(catalog, std::slice::from_ref(&args.name))?;
    catalog.models.clear();
    let entry = catalog.datasets.get(&args.name);
    let entry = entry.with_context(|| format!("{} is a model, not a dataset", args.name))?;
    if entry.pinned("").is_none() {
        let (pinned, missing) = sources.pin(&catalog);
        if let Some((_, error)) = missing.into_iter().next() {
            return Err(error.into());
        }
        catalog.overlay(pinned);
    }
    let bar = ProgressBar::new(0).with_style(
        ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let report = sources.check(&catalog.dataset(&args.name)?, &mut |progress| {
        bar.set_message(progress.split);
        bar.set_length(progress.images as u64);
        bar.set_position(progress.done as u64);
    });
    bar.finish_and_clear();
    let report = report?;
    if args.json {
        output::line(serde_json::to_string(&report)?);
    } else {
        show(&report);
    }
    Ok(if report.is_sound() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn show(report: &CheckReport) {
    let columns = [
        "SPLIT",
        ">IMAGES",
        ">EXPECTED",
        ">UNREADABLE",
        ">A CLASS",
        ">EMPTY CLASSES",
        ">WIDTH",
        ">HEIGHT",
        "MEAN",
        "STD",
    ];
    let table = output::table(&columns, report.splits.iter().map(row));
    output::print_table(&table, "it has no split");
    for split in &report.splits {
        for image in split.unreadable.iter().take(LISTED) {
            output::line(format!(
                "{}: {}: {}",
                split.split, image.place, image.reason
            ));
        }
        if let Some(more @ 1..) = split.unreadable.len().checked_sub(LISTED) {
            output::line(format!("{}: {more} more, all in --json", split.split));
        }
    }
}

fn row(split: &SplitReport) -> Vec<String> {
    let spread = |of: Option<Spread>| of.map_or_else(String::new, spread);
    vec![
        split.split.to_owned(),
        split.images.to_string(),
        split.expected.map_or_else(String::new, |n| n.to_string()),
        split.unreadable.len().to_string(),
        self::spread(split.balance.images),
        split.balance.empty.len().to_string(),
        spread(split.width),
        spread(split.height),
        three(split.mean),
        three(split.std),
    ]
}

/// The least, the middle and the largest.
fn spread(of: Spread) -> String {
    format!("{}/{}/{}", of.min, of.median, of.max)
}

fn three(values: [f64; 3]) -> String {
    values.map(|value| format!("{value:.3}")).join(" ")
}
