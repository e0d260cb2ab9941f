//! Logs: to standard error, so that standard output stays free for what a command prints.

use std::io::IsTerminal as _;

use clap::{Args, ValueEnum};
use tracing_subscriber::{EnvFilter, filter::ParseError};

/// What is logged, and how; flatten it into a binary's arguments.
#[derive(Debug, Clone, Args)]
pub struct Telemetry {
    /// What to log: a level, or a list such as `info,temper_worker=debug`
    #[arg(
        long,
        env = "TEMPER_LOG",
        default_value = "info",
        value_name = "FILTER",
        global = true
    )]
    pub log: String,
    /// How a line of the log looks
    #[arg(
        long,
        env = "TEMPER_LOG_FORMAT",
        value_enum,
        default_value_t,
        global = true
    )]
    pub log_format: LogFormat,
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// A log filter that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("`{filter}` is no log filter: a level, or a list such as `info,temper_worker=debug`")]
pub struct FilterError {
    filter: String,
    source: ParseError,
}

impl Telemetry {
    /// Installs the process-wide subscriber. Once one is installed (by a test, say) it stays.
    ///
    /// # Errors
    /// When the filter cannot be read.
    pub fn init(&self) -> Result<(), FilterError> {
        let filter = EnvFilter::builder()
            .parse(&self.log)
            .map_err(|source| FilterError {
                filter: self.log.clone(),
                source,
            })?;
        let builder = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr);
        // A second call finds a subscriber in place, which is as good.
        let _already_set = match self.log_format {
            LogFormat::Text => builder
                .with_ansi(std::io::stderr().is_terminal())
                .try_init(),
            LogFormat::Json => builder.json().with_span_list(true).try_init(),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_filter_is_an_error_that_shows_a_right_one() {
        let telemetry = Telemetry {
            log: "temper=loud=x".into(),
            log_format: LogFormat::Text,
        };
        let error = telemetry.init().unwrap_err().to_string();
        assert!(
            error.contains("temper=loud=x") && error.contains("temper_worker=debug"),
            "{error}"
        );
    }
}
