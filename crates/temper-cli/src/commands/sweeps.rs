//! `temper sweeps`.

use temper_proto::v1::{ListSweepsRequest, ListSweepsResponse, Sweep, SweepState};
use temper_service::arguments;

use crate::{
    connection::{self, Coordinator},
    output,
};

const PAGE: i32 = 1000;

/// How to list.
#[derive(clap::Args)]
pub struct Args {
    /// At most so many
    #[arg(long, default_value_t = 50, value_name = "COUNT")]
    limit: usize,
    /// Only sweeps in this state
    #[arg(long, value_enum)]
    state: Option<State>,
    /// Only sweeps with this label
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = arguments::label)]
    labels: Vec<(String, String)>,
    /// Only sweeps of this owner
    #[arg(long)]
    owner: Option<String>,
    /// Only sweeps with this model
    #[arg(long)]
    model: Option<String>,
    /// Only sweeps with this dataset
    #[arg(long)]
    dataset: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    coordinator: Coordinator,
}

/// States of sweeps.
#[derive(Clone, Copy, clap::ValueEnum)]
enum State {
    Running,
    Paused,
    Succeeded,
    Failed,
    Cancelled,
}

impl From<State> for SweepState {
    fn from(state: State) -> Self {
        match state {
            State::Running => Self::Running,
            State::Paused => Self::Paused,
            State::Succeeded => Self::Succeeded,
            State::Failed => Self::Failed,
            State::Cancelled => Self::Cancelled,
        }
    }
}

/// Lists sweeps.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let sweeps = list(&args).await?;
    if args.json {
        return output::print_json(&ListSweepsResponse {
            sweeps,
            ..Default::default()
        });
    }
    let columns = [
        "SWEEP",
        "NAME",
        "STATE",
        ">CELLS",
        ">RUNNING",
        ">FAILED",
        "SUBMITTED",
    ];
    let table = output::table(&columns, sweeps.iter().map(row));
    output::print_table(
        &table,
        "no such sweeps: `temper submit examples/demo.json` submits one",
    );
    Ok(())
}

async fn list(args: &Args) -> anyhow::Result<Vec<Sweep>> {
    let client = args.coordinator.sweeps().await?;
    let mut sweeps: Vec<Sweep> = Vec::new();
    let mut token = String::new();
    while sweeps.len() < args.limit {
        let wanted = i32::try_from(args.limit - sweeps.len())
            .unwrap_or(PAGE)
            .min(PAGE);
        let request = ListSweepsRequest {
            page_size: wanted,
            page_token: token,
            state: args
                .state
                .map_or(SweepState::Unspecified, Into::into)
                .into(),
            owner: args.owner.clone().unwrap_or_default(),
            labels: args.labels.iter().cloned().collect(),
            model: args.model.clone().unwrap_or_default(),
            dataset: args.dataset.clone().unwrap_or_default(),
        };
        let page = connection::call(|| {
            let (mut client, request) = (client.clone(), request.clone());
            async move { client.list_sweeps(request).await }
        })
        .await?;
        sweeps.extend(page.sweeps);
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    Ok(sweeps)
}

fn row(sweep: &Sweep) -> Vec<String> {
    let jobs = sweep.jobs.unwrap_or_default();
    vec![
        sweep.name.clone(),
        sweep.display_name.clone(),
        output::sweep_state(sweep.state),
        format!("{}/{}", sweep.cells_succeeded, sweep.cells),
        jobs.leased.to_string(),
        jobs.failed.to_string(),
        sweep
            .create_time
            .map(|time| time.to_string())
            .unwrap_or_default(),
    ]
}
