//! What the operator says about this machine.

use std::{num::NonZeroUsize, thread, time::Duration};

use clap::Args;
use temper_data::Inputs;
use temper_service::client::Access;
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
        value_parser = time
    )]
    pub checkpoint_every: Duration,
    /// Stop when standard input ends: whoever started this worker is gone then, however it ended
    #[arg(long)]
    pub stop_on_stdin_eof: bool,
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

/// Reads a count of seconds, minutes or hours, above 0.
fn time(text: &str) -> Result<Duration, String> {
    let units = [("s", 1), ("m", 60), ("h", 3600)];
    let seconds = units.iter().find_map(|(unit, seconds)| {
        let count: u64 = text.strip_suffix(unit)?.parse().ok()?;
        count.checked_mul(*seconds)
    });
    seconds
        .filter(|seconds| *seconds > 0)
        .map(Duration::from_secs)
        .ok_or_else(|| "a count of seconds, minutes or hours is wanted: 90s, 10m, 1h".to_owned())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_counts_with_a_unit() {
        assert_eq!(time("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(time("10m"), Ok(Duration::from_mins(10)));
        assert_eq!(time("2h"), Ok(Duration::from_hours(2)));
        for text in ["", "10", "0s", "-1m", "1.5h", "m", "18446744073709551615h"] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
