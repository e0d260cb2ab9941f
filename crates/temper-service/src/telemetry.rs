//! Logs: to standard error, so that standard output stays free for what a command prints. In JSON they name
//! the trace and the span that they belong to, where there are traces ([`crate::traces`]).

use std::{fmt, io::IsTerminal as _};

use clap::{Args, ValueEnum};
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::ParseError,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    layer::SubscriberExt as _,
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

pub use crate::traces::flush;
use crate::traces::{self, TracesError};

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
    /// Collector that takes spans by OTLP (gRPC), such as <http://127.0.0.1:4317> [default: none]
    #[arg(
        long,
        env = "OTEL_EXPORTER_OTLP_ENDPOINT",
        value_name = "URL",
        global = true
    )]
    pub otlp: Option<String>,
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

/// Logs or traces that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// A log filter that cannot be read.
    #[error("`{filter}` is no log filter: a level, or a list such as `info,temper_worker=debug`")]
    Filter {
        /// What was given.
        filter: String,
        /// Why not.
        source: ParseError,
    },
    /// Traces cannot be sent.
    #[error(transparent)]
    Traces(#[from] TracesError),
}

impl Telemetry {
    /// Installs the process-wide subscriber. Once one is installed (by a test, say) it stays.
    ///
    /// # Errors
    /// When the filter cannot be read, or the collector's address is none.
    pub fn init(&self) -> Result<(), TelemetryError> {
        self.init_with(None)
    }

    /// The same with a layer that hears what its own filter lets through, whatever is logged.
    ///
    /// # Errors
    /// As [`Self::init`].
    pub fn init_with(&self, extra: Option<Extra>) -> Result<(), TelemetryError> {
        let filter =
            EnvFilter::builder()
                .parse(&self.log)
                .map_err(|source| TelemetryError::Filter {
                    filter: self.log.clone(),
                    source,
                })?;
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        let lines = match self.log_format {
            LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
            LogFormat::Json => lines
                .json()
                .with_span_list(true)
                .map_event_format(WithIds)
                .boxed(),
        };
        let endpoint = self.otlp.as_deref().filter(|endpoint| !endpoint.is_empty());
        let subscriber = tracing_subscriber::registry()
            .with(extra)
            .with(endpoint.map(traces::layer).transpose()?)
            .with(lines.with_filter(filter));
        // A second call finds a subscriber in place, which is as good.
        let _already_set = subscriber.try_init();
        Ok(())
    }
}

/// Lines of JSON that begin with the ids of their trace and span.
struct WithIds<F>(F);

impl<S, N, F> FormatEvent<S, N> for WithIds<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some((trace, span)) = traces::ids() else {
            return self.0.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.0
            .format_event(context, Writer::new(&mut line), event)?;
        let rest = line.strip_prefix('{').unwrap_or(&line);
        write!(
            writer,
            r#"{{"trace_id":"{trace}","span_id":"{span}",{rest}"#
        )
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
            otlp: None,
        };
        let error = telemetry.init().unwrap_err().to_string();
        assert!(
            error.contains("temper=loud=x") && error.contains("temper_worker=debug"),
            "{error}"
        );
    }
}
