//! What the operator says about this machine.

use std::{num::NonZeroUsize, thread, time::Duration};

use clap::Args;
use temper_data::Inputs;
use temper_service::{arguments, client::Access, metrics::MetricsArgs};
use temper_torch::Device;

/// How a worker runs.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// The coordinator; where several run over one database, all of them, separated by commas
    #[arg(
        long,
        env = "TEMPER_COORDINATOR",
        default_value = "http://127.0.0.1:7070",
        value_name = "URLS"
    )]
    pub coordinator: String,
    /// By what the worker shows who it is.
    #[command(flatten)]
    pub access: Access,
    /// What people call this worker [default: HOST:PID]
    #[arg(long, env = "TEMPER_WORKER_NAME")]
    pub name: Option<String>,
    /// Where tensors live: cpu, or cuda:N
    #[arg(long, env = "TEMPER_DEVICE", default_value = "cpu")]
    pub device: Device,
    /// Threads of one libtorch operation [default: cores / share]
    #[arg(long, env = "TEMPER_THREADS")]
    pub threads: Option<NonZeroUsize>,
    /// Workers that share this machine's cores
    #[arg(long, env = "TEMPER_SHARE", default_value = "1")]
    pub share: NonZeroUsize,
    /// Time between checkpoints within an epoch, such as 90s, 10m or 1h
    #[arg(
        long,
        env = "TEMPER_CHECKPOINT_EVERY",
        default_value = "10m",
        value_name = "TIME",
        value_parser = arguments::time
    )]
    pub checkpoint_every: Duration,
    /// What this worker is, KEY=VALUE: sweeps may ask for workers with certain labels. Several times, or
    /// separated by commas
    #[arg(
        long = "label",
        env = "TEMPER_WORKER_LABELS",
        value_name = "KEY=VALUE",
        value_delimiter = ',',
        value_parser = arguments::label
    )]
    pub labels: Vec<(String, String)>,
    /// How long this worker may stay on the machine, such as 4h: it takes no job that could not write a
    /// checkpoint before, and leaves a minute earlier [default: for ever]
    #[arg(long, env = "TEMPER_WALL_TIME", value_name = "TIME", value_parser = arguments::time)]
    pub wall_time: Option<Duration>,
    /// Stop when standard input ends: whoever started this worker is gone then, however it ended
    #[arg(long)]
    pub stop_on_stdin_eof: bool,
    /// Where metrics are told.
    #[command(flatten)]
    pub metrics: MetricsArgs,
    /// Where images and weights lie.
    #[command(flatten)]
    pub inputs: Inputs,
}

impl Config {
    /// The worker's name: as given, else this host's and the process's number.
    #[must_use]
    pub fn worker_name(&self) -> String {
        self.name
            .clone()
            .unwrap_or_else(|| format!("{}:{}", host(), std::process::id()))
    }

    /// Threads of one libtorch operation: more in all than there are cores make each of them many
    /// times slower.
    #[must_use]
    pub fn threads(&self) -> usize {
        let cores = || thread::available_parallelism().map_or(1, NonZeroUsize::get);
        self.threads
            .map_or_else(|| (cores() / self.share).max(1), NonZeroUsize::get)
    }

    /// Memory of the device in bytes; 0 where it is not known.
    #[must_use]
    pub fn memory_bytes(&self) -> i64 {
        if self.device == Device::CPU {
            host_memory().unwrap_or(0)
        } else {
            0
        }
    }
}

fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname");
    name.map_or_else(|_| "worker".to_owned(), |name| name.trim().to_owned())
}

fn host_memory() -> Option<i64> {
    let facts = std::fs::read_to_string("/proc/meminfo").ok()?;
    let total = facts
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: i64 = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}
