//! What the operator says about this machine.

use std::{num::NonZeroUsize, path::PathBuf, thread, time::Duration};

use clap::Args;
use temper_data::Inputs;
use temper_service::{arguments, client::Access, metrics::MetricsArgs};
use temper_torch::Device;

use crate::{fleet::Devices, lock};

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
    /// One worker on each of these, in processes of their own that are started again when they die:
    /// `all` that are visible, or a list such as cuda:0,cuda:1 or cpu,cpu. In place of --device
    #[arg(long, env = "TEMPER_DEVICES", value_name = "DEVICES")]
    pub devices: Option<Devices>,
    /// Take the device even where other processes use it
    #[arg(long, env = "TEMPER_SHARE_DEVICE")]
    pub share_device: bool,
    /// Where the locks of devices lie [default: the user's own runtime folder]
    #[arg(long, env = "TEMPER_RUNTIME", value_name = "FOLDER")]
    pub runtime: Option<PathBuf>,
    /// What the device's lock is called, in place of its GPU's UUID.
    #[arg(long, hide = true)]
    pub lock_key: Option<String>,
    /// Whether a fleet started this worker.
    #[arg(long, hide = true)]
    pub in_fleet: bool,
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
    /// checkpoint before, and leaves a minute, or twice the grace, earlier [default: for ever]
    #[arg(long, env = "TEMPER_WALL_TIME", value_name = "TIME", value_parser = arguments::time)]
    pub wall_time: Option<Duration>,
    /// What Slurm is asked.
    #[command(flatten)]
    pub batch: Batch,
    /// End, with status 0, when no job was given for so long, such as 10m [default: never]
    #[arg(long, env = "TEMPER_EXIT_WHEN_IDLE", value_name = "TIME", value_parser = arguments::time)]
    pub exit_when_idle: Option<Duration>,
    /// How long a stop may take, such as 30s: what is not written by then goes back as its last
    /// checkpoint has it, and after twice the time this process ends with status 75
    #[arg(
        long,
        env = "TEMPER_GRACE",
        default_value = "30s",
        value_name = "TIME",
        value_parser = arguments::time
    )]
    pub grace: Duration,
    /// Stop when standard input says anything, and when it ends: whoever started this worker is gone then
    #[arg(long)]
    pub stop_on_stdin_eof: bool,
    /// Where metrics are told.
    #[command(flatten)]
    pub metrics: MetricsArgs,
    /// Where images and weights lie.
    #[command(flatten)]
    pub inputs: Inputs,
}

/// What a worker that Slurm started asks of it.
#[derive(Debug, Clone, Args)]
pub struct Batch {
    /// Be gone when Slurm's time is over: what --wall-time says otherwise, asked of Slurm
    #[arg(long, env = "TEMPER_WALLTIME_FROM_SLURM", conflicts_with = "wall_time")]
    pub walltime_from_slurm: bool,
    /// Have Slurm queue its job again when SIGUSR1 ends this worker, or its time on the machine does
    #[arg(long, env = "TEMPER_REQUEUE_ON_SIGNAL")]
    pub requeue_on_signal: bool,
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
            return host_memory().unwrap_or(0);
        }
        let memory = temper_torch::device_memory(self.device);
        memory
            .and_then(|memory| i64::try_from(memory.total).ok())
            .unwrap_or(0)
    }

    /// Where the locks of devices lie.
    #[must_use]
    pub fn runtime_folder(&self) -> PathBuf {
        self.runtime.clone().unwrap_or_else(lock::default_folder)
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
