//! The `temper` command: local mode, submitting and following sweeps, results.

mod catalog;
mod checkout;
mod commands;
mod connection;
mod local;
mod names;
mod output;
mod plot;
mod report;
mod secret;
mod up;

use std::process::ExitCode;

use clap::Parser;
use temper_service::telemetry::{self, Telemetry, TelemetryError};

use commands::Command;

/// Sweeps of robust fine-tuning: submit them, follow them, see which schedule won
#[derive(Parser)]
#[command(name = "temper", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    telemetry: Telemetry,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match init(cli.telemetry) {
        Ok(()) => cli.command.run().await,
        Err(error) => Err(error.into()),
    };
    telemetry::flush();
    outcome.unwrap_or_else(|error| {
        eprintln!("temper: {error:#}");
        ExitCode::FAILURE
    })
}

/// Where spans go is set for all programs of a user, not for this one: an address that is none does not keep
/// somebody from a list of sweeps.
fn init(mut telemetry: Telemetry) -> Result<(), TelemetryError> {
    match telemetry.init() {
        Err(TelemetryError::Traces(error)) => {
            telemetry.otlp = None;
            telemetry.init()?;
            let error = error.to_string();
            tracing::warn!(error, "no spans are sent");
            Ok(())
        }
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    /// Commands without `--json`.
    const WITHOUT_JSON: [&str; 1] = [
        // Prints a log as long as it serves. What programs want to know of it stands in its up.json.
        "temper up",
    ];

    #[test]
    fn arguments_fit_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_answers_programs_too() {
        assert_eq!(without_json(&Cli::command(), "temper"), WITHOUT_JSON);
    }

    /// Full names of what runs under `command` and has no `--json`.
    fn without_json(command: &clap::Command, name: &str) -> Vec<String> {
        let mut flags = command.get_arguments().filter_map(clap::Arg::get_long);
        let has = flags.any(|flag| flag == "json");
        // One that demands a subcommand does nothing by itself.
        let lacks = !has && !command.is_subcommand_required_set();
        let own = lacks.then(|| name.to_owned());
        let below = command.get_subcommands();
        let below = below.flat_map(|c| without_json(c, &format!("{name} {}", c.get_name())));
        own.into_iter().chain(below).collect()
    }
}
