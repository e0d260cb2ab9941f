//! `make e2e-upgrade`: this release and an older one over one database. `scripts/e2e_upgrade.py` builds the older one.

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use temper_e2e::upgrade::{self, Releases};
use temper_service::telemetry::Telemetry;

/// Runs sweeps by an old worker and a new coordinator, and the reverse
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    telemetry: Telemetry,
    /// Folder of the old release's programs
    #[arg(long)]
    old: PathBuf,
    /// What the old release is called
    #[arg(long)]
    name: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments).await {
        Ok(figures) => {
            println!("e2e-upgrade: ok old={} {figures}", arguments.name);
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("e2e-upgrade: FAILED {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> anyhow::Result<String> {
    arguments.telemetry.init()?;
    let own = temper_e2e::program("temper-coordinator")?;
    let releases = Releases {
        old: arguments.old.clone(),
        new: own.parent().map(PathBuf::from).unwrap_or_default(),
    };
    let (jobs, findings) = upgrade::run(&releases).await?;
    findings.verdict()?;
    let (lost, duplicates) = (findings.lost, findings.duplicates);
    Ok(format!("jobs={jobs} lost={lost} duplicates={duplicates}"))
}
