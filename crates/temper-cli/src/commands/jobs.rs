//! `temper jobs`.

use clap::ValueEnum;
use temper_proto::{
    SweepName,
    v1::{Job, JobState, ListJobsRequest, ListJobsResponse},
};

use crate::{
    connection::{self, Coordinator},
    names, output,
};

const PAGE: i32 = 1000;

/// Which jobs.
#[derive(clap::Args)]
pub struct Args {
    /// The sweep
    #[arg(value_parser = names::sweep)]
    sweep: SweepName,
    /// Only jobs in this state
    #[arg(long, value_enum)]
    state: Option<State>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    coordinator: Coordinator,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum State {
    Queued,
    Leased,
    Succeeded,
    Failed,
    Cancelled,
}

impl From<State> for JobState {
    fn from(state: State) -> Self {
        match state {
            State::Queued => Self::Queued,
            State::Leased => Self::Leased,
            State::Succeeded => Self::Succeeded,
            State::Failed => Self::Failed,
            State::Cancelled => Self::Cancelled,
        }
    }
}

/// Lists jobs in the order of their cells.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let jobs = list(&args).await?;
    if args.json {
        return output::print_json(&ListJobsResponse {
            jobs,
            ..Default::default()
        });
    }
    let columns = [
        "JOB",
        "KIND",
        "STATE",
        ">EPOCHS",
        ">CLEAN/ROBUST",
        "TITLE",
        "MESSAGE",
    ];
    output::print_table(
        &output::table(&columns, jobs.iter().map(row)),
        "no such jobs",
    );
    Ok(())
}

async fn list(args: &Args) -> anyhow::Result<Vec<Job>> {
    let client = args.coordinator.jobs().await?;
    let mut request = ListJobsRequest {
        parent: args.sweep.to_string(),
        page_size: PAGE,
        state: args
            .state
            .map_or(JobState::Unspecified, JobState::from)
            .into(),
        ..Default::default()
    };
    let mut jobs = Vec::new();
    loop {
        let page = connection::call(|| {
            let (mut client, request) = (client.clone(), request.clone());
            async move { client.list_jobs(request).await }
        })
        .await?;
        jobs.extend(page.jobs);
        if page.next_page_token.is_empty() {
            return Ok(jobs);
        }
        request.page_token = page.next_page_token;
    }
}

fn row(job: &Job) -> Vec<String> {
    let epochs = if job.epochs > 0 {
        format!("{}/{}", job.epochs_done, job.epochs)
    } else {
        String::new()
    };
    vec![
        job.name.clone(),
        output::job_kind(job.kind),
        output::job_state(job.state),
        epochs,
        job.last_epoch
            .as_ref()
            .map(output::validation)
            .unwrap_or_default(),
        job.title.clone(),
        job.message.clone(),
    ]
}
