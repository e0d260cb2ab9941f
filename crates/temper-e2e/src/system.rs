//! `temper up` as a child process, with what it starts.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use temper_proto::v1::{
    self, job_service_client::JobServiceClient, results_service_client::ResultsServiceClient,
    sweep_service_client::SweepServiceClient,
};
use temper_service::client::{Channel, Credentials, connect, token_in};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use crate::processes::shelter;

/// Longest that a start, a stop or, unless said, a sweep may take before it is given up.
const PATIENCE: Duration = Duration::from_mins(4);
/// Between two looks at a log.
const PAUSE: Duration = Duration::from_millis(30);

/// How to start a system.
#[derive(Debug, Clone)]
pub struct Options {
    /// Worker processes.
    pub workers: u32,
    /// Seconds of a lease without a heartbeat.
    pub lease_seconds: u32,
    /// Catalog overlay.
    pub catalog: Option<PathBuf>,
    /// Mirror folders; the checkout's own when none.
    pub mirrors: Vec<PathBuf>,
    /// Roots of image folders.
    pub roots: Vec<PathBuf>,
    /// Longest that a sweep may take before it is given up.
    pub patience: Duration,
    /// The workers' program; `temper-worker` when none.
    pub worker: Option<PathBuf>,
}

impl Options {
    /// A lease that a test can wait out. Its heartbeats, by which workers hear that a job is not wanted any
    /// more, come within two seconds.
    #[must_use]
    pub fn short_lease() -> Self {
        Self {
            lease_seconds: 5,
            ..Self::default()
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            workers: 1,
            // Longer than a busy machine keeps a worker from its heartbeats.
            lease_seconds: 30,
            catalog: None,
            mirrors: vec![checkout().join(".local/mirror")],
            roots: Vec::new(),
            patience: PATIENCE,
            worker: None,
        }
    }
}

/// A running `temper up`. Dropping it kills it.
pub struct System {
    /// Kept across restarts.
    folder: TempDir,
    options: Options,
    up: Child,
    /// URL of the coordinator.
    pub coordinator: String,
    /// URL of the results service.
    pub results: String,
}

/// The root of the checkout.
#[must_use]
pub fn checkout() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

impl System {
    /// Starts a system in a fresh folder and waits until it serves.
    ///
    /// # Errors
    /// When a program is not built, or it does not come up.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let (up, coordinator, results) = launch(folder.path(), &options).await?;
        Ok(Self {
            folder,
            options,
            up,
            coordinator,
            results,
        })
    }

    /// Starts it again on its folder, after [`Self::kill`] or [`Self::stop`].
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        let (up, coordinator, results) = launch(self.folder.path(), &self.options).await?;
        (self.up, self.coordinator, self.results) = (up, coordinator, results);
        Ok(())
    }

    /// Kills `temper up` by SIGKILL: nothing of it can clean up.
    ///
    /// # Errors
    /// When it is no longer there.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.up.kill().await.context("temper up is gone already")
    }

    /// Stops it as Ctrl-C does, and checks that it ends well.
    ///
    /// # Errors
    /// When it fails, or does not end.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        signal("TERM", self.up.id().context("temper up has ended already")?)?;
        let status = timeout(PATIENCE, self.up.wait())
            .await
            .context("temper up did not stop")??;
        ensure!(
            status.success(),
            "temper up ended with {status}: {}",
            self.log("up")
        );
        Ok(())
    }

    /// Process ids of the workers, as the data folder tells them.
    ///
    /// # Errors
    /// When the system is not up.
    pub fn workers(&self) -> anyhow::Result<Vec<u32>> {
        let text = fs::read_to_string(self.folder.path().join("data/up.json"))?;
        let json: serde_json::Value = serde_json::from_str(&text)?;
        let workers = json["workers"]
            .as_array()
            .context("up.json names no workers")?;
        Ok(workers
            .iter()
            .filter_map(|id| u32::try_from(id.as_u64()?).ok())
            .collect())
    }

    /// Where the token of its user lies.
    #[must_use]
    pub fn token(&self) -> PathBuf {
        self.folder.path().join("data/tokens/user")
    }

    async fn channel(&self, url: &str) -> anyhow::Result<Channel> {
        // Read anew: each start makes another.
        let token = token_in(&self.token())?;
        Ok(connect(url, &Credentials::default().with_token(token)).await?)
    }

    /// A file for the test's own use, gone with the system.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Client of `SweepService`.
    ///
    /// # Errors
    /// When the coordinator does not answer.
    pub async fn sweeps(&self) -> anyhow::Result<SweepServiceClient<Channel>> {
        Ok(SweepServiceClient::new(
            self.channel(&self.coordinator).await?,
        ))
    }

    /// Client of `JobService`.
    ///
    /// # Errors
    /// When the coordinator does not answer.
    pub async fn jobs(&self) -> anyhow::Result<JobServiceClient<Channel>> {
        Ok(JobServiceClient::new(
            self.channel(&self.coordinator).await?,
        ))
    }

    /// Client of `ResultsService`.
    ///
    /// # Errors
    /// When the results service does not answer.
    pub async fn curves(&self) -> anyhow::Result<ResultsServiceClient<Channel>> {
        Ok(ResultsServiceClient::new(
            self.channel(&self.results).await?,
        ))
    }

    /// Runs a command of `temper` at this system: whether it ends well, and what it prints, standard
    /// output before standard error.
    ///
    /// # Errors
    /// When it is not built.
    pub async fn temper(&self, arguments: &[&str]) -> anyhow::Result<(bool, String)> {
        let output = self.command(arguments)?.output().await?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        Ok((output.status.success(), said))
    }

    /// The `temper` command, to be run at these services.
    ///
    /// # Errors
    /// When it is not built.
    pub fn command(&self, arguments: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(program("temper")?);
        shelter(command.as_std_mut());
        command
            .args(arguments)
            .env("TEMPER_COORDINATOR", &self.coordinator)
            .env("TEMPER_RESULTS", &self.results)
            .env("XDG_STATE_HOME", self.file("state"))
            .stdin(Stdio::null());
        Ok(command)
    }

    /// Submits a sweep.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn submit(&self, request: v1::CreateSweepRequest) -> anyhow::Result<v1::Sweep> {
        Ok(self
            .sweeps()
            .await?
            .create_sweep(request)
            .await?
            .into_inner())
    }

    /// Watches a sweep until `enough` says so of it and of the jobs told of, or it ends.
    ///
    /// # Errors
    /// When the watch breaks, or takes too long.
    pub async fn watch_until(
        &self,
        sweep: &str,
        mut enough: impl FnMut(&v1::Sweep, &[v1::Job]) -> bool,
    ) -> anyhow::Result<v1::Sweep> {
        let request = v1::WatchSweepRequest {
            name: sweep.to_owned(),
        };
        let watching = async {
            let mut stream = self
                .sweeps()
                .await?
                .watch_sweep(request)
                .await?
                .into_inner();
            let mut last = None;
            while let Some(message) = stream.message().await? {
                let sweep = message.sweep.context("a watch without its sweep")?;
                if enough(&sweep, &message.jobs) {
                    return Ok(sweep);
                }
                last = Some(sweep);
            }
            last.context("the watch said nothing")
        };
        match timeout(self.options.patience, watching).await {
            Ok(sweep) => sweep,
            Err(_) => bail!(
                "{sweep} took too long; worker's log: {}",
                self.log("worker-0")
            ),
        }
    }

    /// Watches a sweep to its end.
    ///
    /// # Errors
    /// As [`Self::watch_until`].
    pub async fn finish(&self, sweep: &str) -> anyhow::Result<v1::Sweep> {
        self.watch_until(sweep, |_, _| false).await
    }

    /// Every job of a sweep, with attempts and epochs.
    ///
    /// # Errors
    /// When the coordinator refuses.
    pub async fn jobs_of(&self, sweep: &str) -> anyhow::Result<Vec<v1::Job>> {
        let mut client = self.jobs().await?;
        let request = v1::ListJobsRequest {
            parent: sweep.to_owned(),
            page_size: 1000,
            ..v1::ListJobsRequest::default()
        };
        let listed = client.list_jobs(request).await?.into_inner().jobs;
        let mut jobs = Vec::new();
        for job in listed {
            jobs.push(
                client
                    .get_job(v1::GetJobRequest { name: job.name })
                    .await?
                    .into_inner(),
            );
        }
        Ok(jobs)
    }

    /// What `up`, or a worker by its name, has logged so far.
    #[must_use]
    pub fn log(&self, name: &str) -> String {
        let path = match name {
            "up" => self.folder.path().join("up.log"),
            worker => self.folder.path().join(format!("data/logs/{worker}.log")),
        };
        fs::read_to_string(path).unwrap_or_default()
    }

    /// Waits until `up`, or a worker by its name, has logged something.
    ///
    /// # Errors
    /// When it takes too long.
    pub async fn wait_logged(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let end = Instant::now() + self.options.patience;
        while !self.log(name).contains(text) {
            let waits = Instant::now() < end;
            ensure!(waits, "{name} logs no `{text}`: {}", self.log(name));
            sleep(PAUSE).await;
        }
        Ok(())
    }
}

/// Sends a signal by name.
///
/// # Errors
/// When there is no such process.
pub fn signal(name: &str, process: u32) -> anyhow::Result<()> {
    let arguments = [format!("-{name}"), process.to_string()];
    let status = std::process::Command::new("kill")
        .args(arguments)
        .status()?;
    ensure!(status.success(), "cannot send SIG{name} to {process}");
    Ok(())
}

async fn launch(folder: &Path, options: &Options) -> anyhow::Result<(Child, String, String)> {
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(folder.join("up.log"))?;
    let mut command = Command::new(program("temper")?);
    command.arg("up").arg("--data").arg(folder.join("data"));
    command.args([
        "--listen-coordinator",
        "127.0.0.1:0",
        "--listen-results",
        "127.0.0.1:0",
    ]);
    command.args(["--workers", &options.workers.to_string()]);
    command.args(["--lease", &options.lease_seconds.to_string()]);
    if let Some(catalog) = &options.catalog {
        command.arg("--catalog").arg(catalog);
    }
    command.arg("--mirror").arg(joined(&options.mirrors));
    if !options.roots.is_empty() {
        command.arg("--roots").arg(joined(&options.roots));
    }
    // Nothing of the user's, and no network.
    shelter(command.as_std_mut());
    command
        .env("HF_HOME", folder.join("hub"))
        .env("HF_HUB_OFFLINE", "1")
        .env("XDG_STATE_HOME", folder.join("state"));
    command.env("TEMPER_CACHE", folder.join("cache"));
    command.env("TEMPER_POSTGRES", checkout().join(".local/postgres/bin"));
    let worker = options.worker.clone();
    command.env(
        "TEMPER_WORKER",
        worker.map_or_else(|| program("temper-worker"), Ok)?,
    );
    let mut up = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()?;
    let output = up.stdout.take().context("temper up has no output")?;
    let ready = async {
        let (mut lines, mut coordinator, mut results) =
            (BufReader::new(output).lines(), None, None);
        while let Some(line) = lines.next_line().await? {
            match line.split_once(' ') {
                Some(("coordinator", url)) => coordinator = Some(url.to_owned()),
                Some(("results", url)) => results = Some(url.to_owned()),
                _ if line == "ready" => {
                    return Ok((coordinator.context("no URL")?, results.context("no URL")?));
                }
                _ => {}
            }
        }
        let said = fs::read_to_string(folder.join("up.log")).unwrap_or_default();
        bail!("temper up ended before it was ready: {said}")
    };
    let (coordinator, results) = timeout(PATIENCE, ready)
        .await
        .context("temper up hangs")??;
    Ok((up, coordinator, results))
}

fn joined(folders: &[PathBuf]) -> String {
    folders
        .iter()
        .map(|path| path.display().to_string())
        .collect::<Vec<_>>()
        .join(":")
}

/// A built program: beside the running one, or beside the folder of the running test.
///
/// # Errors
/// When it is not built.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    let test = std::env::current_exe()?;
    let folders = test.ancestors().skip(1).take(2);
    let mut paths = folders.map(|folder| folder.join(name));
    let path = paths.find(|path| path.is_file()).unwrap_or_default();
    ensure!(path.is_file(), "{name} is not built: run `make build`");
    Ok(path)
}
