//! `temper report`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde_json::json;
use temper_proto::SweepName;

use crate::{
    connection::{Coordinator, Results},
    names, output,
    report::{self, Figure, Page, Services},
};

/// Which sweep, and where its report goes.
#[derive(clap::Args)]
pub struct Args {
    /// The sweep
    #[arg(value_parser = names::sweep)]
    sweep: SweepName,
    /// The page: one HTML file that needs nothing beside it
    #[arg(short, long, value_name = "FILE", default_value = "report.html")]
    output: PathBuf,
    /// Also write every picture as an SVG file into this folder
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
    /// Print as JSON what was written
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    coordinator: Coordinator,
    #[command(flatten)]
    results: Endpoint,
}

/// The results service, under the coordinator's credentials.
#[derive(clap::Args)]
struct Endpoint {
    /// The results service; where several run, all of them, separated by commas
    #[arg(
        long,
        env = "TEMPER_RESULTS",
        default_value = "http://127.0.0.1:7071",
        value_name = "URLS"
    )]
    results: String,
}

/// Asks for what the report shows, and writes it.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let results = Results::beside(&args.coordinator, args.results.results);
    let services = Services {
        sweeps: args.coordinator.sweeps().await?,
        jobs: args.coordinator.jobs().await?,
        results: results.connect().await?,
    };
    let answers = services.ask(args.sweep).await?;
    let page = Page::of(&answers)?;
    let plots = match &args.plots {
        Some(folder) => write_plots(&page.figures, folder)?,
        None => Vec::new(),
    };
    let (path, html) = (args.output.display(), report::render(&page)?);
    fs::write(&args.output, &html).with_context(|| format!("cannot write {path}"))?;
    if args.json {
        let (path, bytes) = (path.to_string(), html.len());
        output::line(json!({ "path": path, "bytes": bytes, "plots": plots }));
    } else {
        output::line(format_args!("report: {path}"));
    }
    Ok(())
}

/// `curves-01-vit-base-cub200-4-255.svg` and so on; returns their paths.
fn write_plots(figures: &[Figure], folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut paths = Vec::new();
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for figure in figures {
        for (picture, number) in figure.pictures.iter().zip(1..) {
            let of = picture.name.rsplit(": ").next().unwrap_or_default();
            let name = format!("{}-{number:02}-{}.svg", figure.id, slug(of));
            let path = folder.join(name);
            fs::write(&path, &picture.svg)
                .with_context(|| format!("cannot write {}", path.display()))?;
            paths.push(path.display().to_string());
        }
    }
    Ok(paths)
}

/// Letters and digits, everything between them a hyphen.
fn slug(text: &str) -> String {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    words.join("-").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_by_what_they_show() {
        assert_eq!(slug("vit-base, cub200, 4/255"), "vit-base-cub200-4-255");
        assert_eq!(slug("../r = -0.9"), "r-0-9");
    }
}
