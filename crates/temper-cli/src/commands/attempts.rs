//! `temper attempts`.

use temper_proto::{
    JobName,
    v1::{Attempt, ListAttemptsRequest, ListAttemptsResponse},
};

use crate::{
    connection::{self, Coordinator},
    names, output,
};

const PAGE: i32 = 1000;

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

/// Lists a job's attempts, oldest first.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let attempts = list(&args).await?;
    if args.json {
        return output::print_json(&ListAttemptsResponse {
            attempts,
            ..Default::default()
        });
    }
    print(&attempts);
    Ok(())
}

/// Prints attempts as a table.
pub fn print(attempts: &[Attempt]) {
    let columns = [
        "ATTEMPT", "OUTCOME", "WORKER", "DEVICE", ">SECONDS", ">MEMORY", "START", "END", "MESSAGE",
    ];
    let table = output::table(&columns, attempts.iter().map(row));
    output::print_table(&table, "no attempts yet");
}

async fn list(args: &Args) -> anyhow::Result<Vec<Attempt>> {
    let client = args.coordinator.jobs().await?;
    let mut request = ListAttemptsRequest {
        parent: args.job.to_string(),
        page_size: PAGE,
        ..Default::default()
    };
    let mut attempts = Vec::new();
    loop {
        let page = connection::call(|| {
            let (mut client, request) = (client.clone(), request.clone());
            async move { client.list_attempts(request).await }
        })
        .await?;
        attempts.extend(page.attempts);
        if page.next_page_token.is_empty() {
            return Ok(attempts);
        }
        request.page_token = page.next_page_token;
    }
}

fn row(attempt: &Attempt) -> Vec<String> {
    let seconds = attempt.device_seconds;
    let (start, end) = (attempt.start_time, attempt.end_time);
    vec![
        attempt.number.to_string(),
        output::outcome(attempt.outcome, attempt.failure_class),
        attempt.worker.clone(),
        attempt.device.clone(),
        seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.1}")),
        output::memory(attempt.peak_memory_bytes),
        start.map(|time| time.to_string()).unwrap_or_default(),
        end.map(|time| time.to_string()).unwrap_or_default(),
        attempt.message.clone(),
    ]
}
