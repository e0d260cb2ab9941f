//! `temper explain`.

use temper_proto::{
    JobName,
    v1::{ExplainJobRequest, ExplainJobResponse, WorkerFit},
};

use crate::{
    connection::{self, Coordinator},
    names, output,
};

/// Which job.
#[derive(clap::Args)]
pub struct Args {
    /// The job
    #[arg(value_parser = names::job)]
    job: JobName,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    coordinator: Coordinator,
}

/// Says why a job is not running.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let client = args.coordinator.jobs().await?;
    let request = ExplainJobRequest {
        name: args.job.to_string(),
    };
    let explained = connection::call(|| {
        let (mut client, request) = (client.clone(), request.clone());
        async move { client.explain_job(request).await }
    })
    .await?;
    if args.json {
        return output::print_json(&explained);
    }
    print(&explained);
    Ok(())
}

fn print(explained: &ExplainJobResponse) {
    for reason in &explained.reasons {
        output::line(reason);
    }
    if explained.reasons.is_empty() {
        output::line("nothing keeps it: a worker takes it as soon as it asks");
    }
    let columns = [
        "WORKER",
        "DEVICE",
        "KEPT BY",
        ">FREE",
        ">WANTED",
        "HOLDS",
        "LAST SEEN",
    ];
    let table = output::table(&columns, explained.workers.iter().map(row));
    output::print_table(&table, "no worker was heard of within the hour");
}

fn row(worker: &WorkerFit) -> Vec<String> {
    let constraints: Vec<_> = worker
        .constraints
        .iter()
        .map(|c| output::constraint(*c))
        .collect();
    let or_dash = |text: String| {
        if text.is_empty() {
            "-".to_owned()
        } else {
            text
        }
    };
    vec![
        worker.worker.clone(),
        worker.device.clone(),
        or_dash(constraints.join(", ")),
        output::memory(worker.free_memory_bytes),
        output::memory(worker.wanted_memory_bytes),
        or_dash(worker.holds.clone()),
        output::time(worker.last_seen_time),
    ]
}
