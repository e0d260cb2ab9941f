//! Logs: to standard error, so that standard output stays free for what a command prints.

use std::io::IsTerminal as _;

use clap::{Args, ValueEnum};
use tracing_subscriber::{
    EnvFilter, Layer, Registry, filter::ParseError, layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

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

/// A layer that listens besides the log, with a filter of its own.
pub type Extra = Box<dyn Layer<Registry> + Send + Sync>;

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
        self.init_with(None)
    }

    /// The same with a layer that hears what its own filter lets through, whatever is logged.
    ///
    /// # Errors
    /// When the filter cannot be read.
    pub fn init_with(&self, extra: Option<Extra>) -> Result<(), FilterError> {
        let filter = EnvFilter::builder()
            .parse(&self.log)
            .map_err(|source| FilterError {
                filter: self.log.clone(),
                source,
            })?;
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        let lines = match self.log_format {
            LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
            LogFormat::Json => lines.json().with_span_list(true).boxed(),
        };
        let subscriber = tracing_subscriber::registry()
            .with(extra)
            .with(lines.with_filter(filter));
        // A second call finds a subscriber in place, which is as good.
        let _already_set = subscriber.try_init();
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
