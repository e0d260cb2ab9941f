//! What a process tells of itself to Prometheus: a registry, the address where it is read, and the
//! figures of every call that a server takes (`calls.rs`).
//!
//! Code counts by the macros of the crate `metrics`, which do nothing until [`MetricsArgs::bind`] has been
//! told an address. Labels are of small closed sets: no ids of sweeps, jobs or workers, no names that a
//! caller chooses.

pub(crate) mod calls;
mod listener;

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Mutex,
};

use clap::Args;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use temper_core::Digest;

pub use listener::{Collect, Metrics};

/// Where metrics are told; flatten it into a binary's arguments.
#[derive(Debug, Clone, Default, Args)]
pub struct MetricsArgs {
    /// Address where Prometheus reads metrics, by HTTP at /metrics; port 0 takes a free one [default: none]
    #[arg(long, env = "TEMPER_METRICS", value_name = "ADDRESS")]
    pub metrics: Option<SocketAddr>,
    /// File that holds the token by which metrics are read; any address but a loopback one wants it
    #[arg(
        long,
        env = "TEMPER_METRICS_TOKEN_FILE",
        value_name = "FILE",
        requires = "metrics"
    )]
    pub metrics_token_file: Option<PathBuf>,
}

/// Metrics that cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// Anybody could read them.
    #[error(
        "metrics at {address} would be everybody's: name a file with a token (TEMPER_METRICS_TOKEN_FILE), \
         which Prometheus sends as `authorization: Bearer …`, or an address on the loopback, 127.0.0.1:PORT"
    )]
    Open {
        /// The address.
        address: SocketAddr,
    },
    /// The file of the token cannot be read.
    #[error("cannot read the token of the metrics in {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It holds none.
    #[error("{} should hold one line, the token of the metrics: {LEAST_TOKEN} characters or more, no spaces", path.display())]
    Token {
        /// The file.
        path: PathBuf,
    },
    /// The address is taken, or not this machine's.
    #[error(
        "cannot tell metrics at {address}: stop who holds it, or choose another (TEMPER_METRICS)"
    )]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// This process already has another recorder.
    #[error("metrics cannot be recorded")]
    Recorder(#[from] BuildError),
}

/// What a series counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Rises and falls.
    Gauge,
    /// How many were how large; its name ends in `_seconds`.
    Histogram,
}

/// A metric, as it is told and documented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name, by Prometheus's conventions.
    pub name: &'static str,
    /// What it counts.
    pub kind: Kind,
    /// What it means.
    pub help: &'static str,
}

/// Of every process.
pub const PROCESS: &[Metric] = &[gauge(
    "temper_build_info",
    "1, with the version of this program.",
)];

const CONNECTIONS: &str = "temper_database_connections";
const MOST_CONNECTIONS: &str = "temper_database_connections_max";

/// Of processes that have a database.
pub const DATABASE: &[Metric] = &[
    gauge(
        CONNECTIONS,
        "Connections to PostgreSQL that are used, or idle.",
    ),
    gauge(
        MOST_CONNECTIONS,
        "Connections to PostgreSQL that there may be at a time (--database-connections).",
    ),
];

/// The fewest characters of a token: what cannot be guessed.
const LEAST_TOKEN: usize = 16;
/// From a call that meets a cache to a checkpoint of gigabytes.
const BUCKETS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
];

/// The process's registry, once it has one: `temper up` runs two services in one process.
static REGISTRY: Mutex<Option<PrometheusHandle>> = Mutex::new(None);

/// A counter.
#[must_use]
pub const fn counter(name: &'static str, help: &'static str) -> Metric {
    let kind = Kind::Counter;
    Metric { name, kind, help }
}

/// A gauge.
#[must_use]
pub const fn gauge(name: &'static str, help: &'static str) -> Metric {
    let kind = Kind::Gauge;
    Metric { name, kind, help }
}

/// A histogram of seconds.
#[must_use]
pub const fn histogram(name: &'static str, help: &'static str) -> Metric {
    let kind = Kind::Histogram;
    Metric { name, kind, help }
}

/// Tells how the connections to the database stand.
pub fn connections(used: u32, idle: u32, most: u32) {
    metrics::gauge!(CONNECTIONS, "state" => "used").set(f64::from(used));
    metrics::gauge!(CONNECTIONS, "state" => "idle").set(f64::from(idle));
    metrics::gauge!(MOST_CONNECTIONS).set(f64::from(most));
}

impl MetricsArgs {
    /// Binds the address and begins to record; none where no address is named. `version` is the
    /// program's, `told` what it tells beside the figures of its calls.
    ///
    /// # Errors
    /// When anybody could read the metrics, the token is none, or the address cannot be bound.
    pub async fn bind(
        &self,
        version: &'static str,
        told: &[&[Metric]],
    ) -> Result<Option<Metrics>, MetricsError> {
        let Some(address) = self.metrics else {
            return Ok(None);
        };
        let token = self.metrics_token_file.as_deref().map(token).transpose()?;
        if token.is_none() && !address.ip().is_loopback() {
            return Err(MetricsError::Open { address });
        }
        let registry = registry()?;
        for metric in [PROCESS, calls::METRICS]
            .iter()
            .chain(told)
            .copied()
            .flatten()
        {
            describe(metric);
        }
        metrics::gauge!("temper_build_info", "version" => version).set(1.0);
        Metrics::bind(address, token, registry).await.map(Some)
    }
}

/// The digest of the token in a file: what is compared says nothing of how long it is.
fn token(path: &Path) -> Result<Digest, MetricsError> {
    let text = fs::read_to_string(path).map_err(|source| MetricsError::Read {
        path: path.to_owned(),
        source,
    })?;
    let token = text.trim();
    let is_token = token.len() >= LEAST_TOKEN && token.bytes().all(|byte| byte.is_ascii_graphic());
    let none = || MetricsError::Token {
        path: path.to_owned(),
    };
    is_token
        .then(|| Digest::of(token.as_bytes()))
        .ok_or_else(none)
}

/// The process's registry, made at the first call.
fn registry() -> Result<PrometheusHandle, BuildError> {
    let mut registry = REGISTRY
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(handle) = &*registry {
        return Ok(handle.clone());
    }
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), BUCKETS)?
        .install_recorder()?;
    Ok(registry.insert(handle).clone())
}

fn describe(metric: &Metric) {
    let Metric { name, kind, help } = *metric;
    match kind {
        Kind::Counter => metrics::describe_counter!(name, help),
        Kind::Gauge => metrics::describe_gauge!(name, help),
        Kind::Histogram => metrics::describe_histogram!(name, help),
    }
}

#[cfg(test)]
mod tests;
