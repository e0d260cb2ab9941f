//! `temper sweeps`.

use temper_proto::v1::{ListSweepsRequest, ListSweepsResponse, Sweep};

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
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    coordinator: Coordinator,
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
        "no sweeps yet: `temper submit examples/demo.json` submits one",
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
