//! The worker processes: started, started again when they die, drained in the end.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs::OpenOptions,
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, ensure};
use futures::{StreamExt as _, stream::FuturesUnordered};
use rustix::process::{Pid, Signal, kill_process};
use temper_service::stop::{Stop, Tasks};
use tokio::{
    process::{Child, ChildStdin, Command},
    sync::Mutex,
    task::JoinHandle,
};

use super::{
    Args,
    backoff::{Backoff, TRIES},
    beacon::Beacon,
    folder::Folder,
    tokens::Tokens,
};

/// How long workers may finish what they hold.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);
/// Variables of the user's that are not handed on: who the user is, and what is one worker's own.
const OF_THE_USER: [&str; 11] = [
    "TEMPER_TOKEN",
    "TEMPER_TLS_CA",
    "TEMPER_TLS_CLIENT_CERT",
    "TEMPER_TLS_CLIENT_KEY",
    "TEMPER_DEVICES",
    "TEMPER_WORKER_NAME",
    "TEMPER_WALL_TIME",
    "TEMPER_WALLTIME_FROM_SLURM",
    "TEMPER_REQUEUE_ON_SIGNAL",
    "TEMPER_EXIT_WHEN_IDLE",
    "TEMPER_METRICS",
];
/// So much of a log's end is shown when a worker is given up.
const LOG_TAIL: u64 = 1000;

/// How workers are started.
pub struct Crew {
    program: PathBuf,
    count: u32,
    devices: Vec<String>,
    logs: Vec<PathBuf>,
    environment: Vec<(&'static str, OsString)>,
}

/// The running workers.
pub struct Workers {
    stop: Stop,
    tasks: Tasks,
    given_up: Mutex<FuturesUnordered<JoinHandle<Option<anyhow::Result<()>>>>>,
}

/// The program: as given, else the one beside this one.
pub fn program(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    let program = match given {
        Some(path) => path.to_owned(),
        None => env::current_exe()
            .context("cannot tell where this program is")?
            .with_file_name("temper-worker"),
    };
    ensure!(
        program.is_file(),
        "there is no worker at {}: build it by `cargo build -p temper-worker`, or name one by \
         --worker",
        program.display()
    );
    Ok(program)
}

/// Folders as a variable of the environment lists them.
fn listed(folders: &[PathBuf]) -> OsString {
    folders
        .iter()
        .map(|folder| folder.as_os_str())
        .collect::<Vec<_>>()
        .join(OsStr::new(":"))
}

impl Crew {
    /// As many workers as asked for.
    pub fn new(args: &Args, program: PathBuf, folder: &Folder, tokens: &Tokens) -> Self {
        let count = args.workers.get();
        let inputs = &args.inputs;
        let cache = inputs.cache.as_slice();
        let environment = [
            ("TEMPER_MIRROR", inputs.mirror.as_slice()),
            ("TEMPER_ROOTS", inputs.roots.as_slice()),
            ("TEMPER_CACHE", cache),
        ];
        let given = environment
            .into_iter()
            .filter(|(_, folders)| !folders.is_empty())
            .map(|(name, folders)| (name, listed(folders)));
        let token = ("TEMPER_TOKEN_FILE", tokens.worker.clone().into_os_string());
        Self {
            program,
            count,
            devices: args.device.clone(),
            logs: (0..count).map(|worker| folder.log(worker)).collect(),
            environment: given.chain([token]).collect(),
        }
    }

    /// The worker's program, to be given its arguments. Dies with the handle, at the latest.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        // In a group of its own: Ctrl-C in the terminal is for `temper up` alone.
        command.process_group(0).kill_on_drop(true);
        for name in OF_THE_USER {
            command.env_remove(name);
        }
        command.envs(self.environment.iter().cloned());
        // libgomp's threads spin while they wait, and would starve the other workers of the host.
        if env::var_os("OMP_WAIT_POLICY").is_none() {
            command.env("OMP_WAIT_POLICY", "passive");
        }
        command
    }

    /// Starts all of them.
    pub fn start(self, coordinator: &str, beacon: &Beacon) -> Workers {
        let stop = Stop::new();
        let tasks = Tasks::new(&stop);
        let given_up = FuturesUnordered::new();
        for (worker, log) in (0..self.count).zip(&self.logs) {
            let mut command = self.command();
            let device = &self.devices[worker as usize % self.devices.len()];
            command
                .args(["run", "--coordinator", coordinator, "--stop-on-stdin-eof"])
                .args(["--device", device, "--share", &self.count.to_string()]);
            let seat = Seat {
                worker,
                command,
                log: log.clone(),
                beacon: beacon.clone(),
            };
            // Ends with the stop, or when the worker is given up.
            given_up.push(tasks.spawn("worker", seat.keep_filled(stop.clone())));
        }
        Workers {
            stop,
            tasks,
            given_up: Mutex::new(given_up),
        }
    }
}

impl Workers {
    /// Waits until no worker is left; says why the last one was given up.
    pub async fn given_up(&self) -> anyhow::Error {
        let mut given_up = self.given_up.lock().await;
        while let Some(ended) = given_up.next().await {
            let Ok(Some(Err(error))) = ended else {
                continue;
            };
            if given_up.is_empty() {
                return error;
            }
            tracing::error!("{error:#}");
        }
        anyhow!("no worker is left")
    }

    /// Lets them finish or give back what they hold, for a while; cuts when `signals` does.
    pub async fn stop(self, signals: &Stop) -> anyhow::Result<()> {
        self.stop.gracefully();
        let all = self.tasks.finish();
        tokio::pin!(all);
        tokio::select! {
            ended = &mut all => return Ok(ended?),
            () = signals.cut.cancelled() => {}
            () = tokio::time::sleep(DRAIN_LIMIT) => {
                tracing::warn!("workers did not finish within {DRAIN_LIMIT:?} and are cut");
            }
        }
        self.stop.now();
        Ok(all.await?)
    }
}

/// A place for one worker after the other.
struct Seat {
    worker: u32,
    command: Command,
    log: PathBuf,
    beacon: Beacon,
}

impl Seat {
    async fn keep_filled(mut self, stop: Stop) -> anyhow::Result<()> {
        let mut backoff = Backoff::default();
        loop {
            let started = Instant::now();
            // The pipe is the worker's lifeline: when it closes, by whatever end of this process,
            // the worker stops.
            let (mut child, _lifeline) = self.spawn()?;
            self.beacon.set_worker(self.worker, child.id());
            let status = tokio::select! {
                status = child.wait() => status.context("cannot wait for a worker")?,
                () = stop.graceful.cancelled() => return drain(child, &stop).await,
            };
            self.beacon.set_worker(self.worker, None);
            let Some(wait) = backoff.after(started.elapsed()) else {
                return Err(self.obituary(status));
            };
            tracing::warn!(worker = self.worker, %status, "worker died; starting another");
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stop.graceful.cancelled() => return Ok(()),
            }
        }
    }

    fn spawn(&mut self) -> anyhow::Result<(Child, ChildStdin)> {
        let failed = || format!("cannot write {}", self.log.display());
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(failed)?;
        let errors = log.try_clone().with_context(failed)?;
        self.command
            .stdin(Stdio::piped())
            .stdout(log)
            .stderr(errors);
        let mut child = self.command.spawn().context("cannot start temper-worker")?;
        // Taken out, because waiting for a child closes what is left of its pipe.
        let lifeline = child
            .stdin
            .take()
            .context("a worker has no standard input")?;
        Ok((child, lifeline))
    }

    fn obituary(&self, status: ExitStatus) -> anyhow::Error {
        anyhow!(
            "worker {} died {TRIES} times soon after its start, last with {status}; {} ends with:\n{}",
            self.worker,
            self.log.display(),
            tail(&self.log).unwrap_or_default().trim_end()
        )
    }
}

/// Asks a worker to finish or give back what it holds; kills it when `stop` cuts.
async fn drain(mut child: Child, stop: &Stop) -> anyhow::Result<()> {
    // None once it has ended.
    let id = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    if let Some(id) = id {
        // It may have ended by itself this moment.
        let _ = kill_process(id, Signal::TERM);
    }
    tokio::select! {
        status = child.wait() => status.map(drop).context("cannot wait for a worker"),
        () = stop.cut.cancelled() => child.kill().await.context("cannot kill a worker"),
    }
}

fn tail(log: &Path) -> std::io::Result<String> {
    let mut file = std::fs::File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_worker_is_said_with_where_it_was_looked_for() {
        let error = program(Some(Path::new("/nowhere/temper-worker")))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("/nowhere/temper-worker") && error.contains("--worker"),
            "{error}"
        );
    }

    #[test]
    fn tail_is_the_end_of_a_long_log() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        std::fs::write(&log, format!("start{}end", "x".repeat(5000))).unwrap();
        let tail = tail(&log).unwrap();
        assert!(tail.ends_with("end") && !tail.contains("start"));
        assert_eq!(tail.len() as u64, LOG_TAIL);
    }
}
