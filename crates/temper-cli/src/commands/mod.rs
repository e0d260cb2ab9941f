//! The subcommands, one file each.

mod admin;
mod artifact;
mod attempts;
mod cancel;
mod catalog;
mod datasets;
mod explain;
mod health;
mod job;
mod jobs;
mod logs;
mod migrate;
mod models;
mod report;
mod results;
mod retry;
mod schedule;
mod steer;
mod submit;
mod sweeps;
mod watch;

use std::process::ExitCode;

use clap::Subcommand;

use crate::up;

/// What `temper` can do.
#[derive(Subcommand)]
pub enum Command {
    /// Run everything on this machine: database, coordinator, results, workers (local mode)
    Up(up::Args),
    /// Submit a sweep
    Submit(submit::Args),
    /// Follow a sweep until it ends; exit status 1 unless it succeeds
    Watch(watch::Args),
    /// List sweeps, newest first
    Sweeps(sweeps::Args),
    /// List the jobs of a sweep
    Jobs(jobs::Args),
    /// Show a job with its attempts and epochs, or cancel it
    Job(job::Args),
    /// List the attempts at a job
    Attempts(attempts::Args),
    /// Print what an attempt at a job logged
    Logs(logs::Args),
    /// Say why a job is not running: what it waits for, and what each worker lacks
    Explain(explain::Args),
    /// Try failed jobs of a sweep again
    Retry(retry::Args),
    /// Show clean, robust and expected accuracy of a sweep's groups
    Results(results::Args),
    /// Write a sweep's results as a page: tables, figures, costs, provenance
    Report(report::Args),
    /// Look at epsilon schedules
    Schedule(schedule::Args),
    /// Keep a sweep's jobs from being begun, until it is resumed
    Pause(steer::Pause),
    /// Let a paused sweep go on
    Resume(steer::Resume),
    /// Change a sweep's name, priority, labels, or what it asks of workers
    Update(steer::Update),
    /// Add seeds, schedules, models, datasets, strengths or evaluations to a sweep
    Extend(steer::Extend),
    /// Forget a sweep that has ended; results of its jobs stay
    Delete(steer::Delete),
    /// Cancel a sweep; jobs that another live sweep wants go on
    Cancel(cancel::Args),
    /// Download the model that a training made, as safetensors with timm's names
    Artifact(artifact::Args),
    /// List the models that sweeps may name, with what is here of them
    Models(models::Args),
    /// List the datasets that sweeps may name, or check one
    Datasets(datasets::Args),
    /// Pin catalog entries
    Catalog(catalog::Args),
    /// Make and revoke tokens, and see who changed what
    Admin(admin::Args),
    /// Ask a service whether it serves; exit status 1 unless it does
    Health(health::Args),
    /// Bring a database's tables up to this release
    Migrate(migrate::Args),
}

impl Command {
    /// Runs the command to its end.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Up(args) => up::run(args).await?,
            Self::Submit(args) => return submit::run(args).await,
            Self::Watch(args) => return watch::run(args).await,
            Self::Sweeps(args) => sweeps::run(args).await?,
            Self::Jobs(args) => jobs::run(args).await?,
            Self::Job(args) => job::run(args).await?,
            Self::Attempts(args) => attempts::run(args).await?,
            Self::Logs(args) => logs::run(args).await?,
            Self::Explain(args) => explain::run(args).await?,
            Self::Retry(args) => retry::run(args).await?,
            Self::Results(args) => results::run(args).await?,
            Self::Report(args) => report::run(args).await?,
            Self::Schedule(args) => schedule::run(&args)?,
            Self::Pause(args) => args.run().await?,
            Self::Resume(args) => args.run().await?,
            Self::Update(args) => args.run().await?,
            Self::Extend(args) => args.run().await?,
            Self::Delete(args) => args.run().await?,
            Self::Cancel(args) => cancel::run(args).await?,
            Self::Artifact(args) => artifact::run(args).await?,
            Self::Models(args) => blocking(move || models::run(&args)).await?,
            Self::Datasets(args) => return blocking(move || datasets::run(args)).await,
            Self::Catalog(args) => blocking(move || catalog::run(args)).await?,
            Self::Admin(args) => admin::run(args).await?,
            Self::Health(args) => health::run(args).await?,
            Self::Migrate(args) => migrate::run(args).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Runs what reads files and waits for the hub where it may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await?
}
