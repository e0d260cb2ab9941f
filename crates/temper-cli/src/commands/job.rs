//! `temper job`.

use temper_proto::{
    JobName,
    v1::{Attempt, EpochMetrics, GetJobRequest, Job},
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

/// Shows a job.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let client = args.coordinator.jobs().await?;
    let job = connection::call(|| {
        let (mut client, name) = (client.clone(), args.job.to_string());
        async move { client.get_job(GetJobRequest { name }).await }
    })
    .await?;
    if args.json {
        return output::print_json(&job);
    }
    print_head(&job);
    output::line("");
    let columns = [
        "ATTEMPT", "OUTCOME", "WORKER", "DEVICE", ">MEMORY", "START", "END", "MESSAGE",
    ];
    let attempts = output::table(&columns, job.attempts.iter().map(attempt_row));
    output::print_table(&attempts, "no attempts yet");
    if !job.epoch_metrics.is_empty() {
        let columns = [
            ">EPOCH",
            ">EPSILON x255",
            ">RATE",
            ">LOSS",
            ">CLEAN",
            ">ROBUST",
            ">IMAGES/S",
            ">LOADING %",
        ];
        output::line("");
        let epochs = output::table(&columns, job.epoch_metrics.iter().map(epoch_row));
        output::print_table(&epochs, "");
    }
    Ok(())
}

fn print_head(job: &Job) {
    let (kind, state) = (output::job_kind(job.kind), output::job_state(job.state));
    output::line(format_args!("{}  {kind}, {state}", job.name));
    output::line(&job.title);
    output::line(format_args!("key {}", job.key));
    if !job.train_job.is_empty() {
        output::line(format_args!("measures the model of {}", job.train_job));
    }
    if !job.message.is_empty() {
        output::line(&job.message);
    }
}

fn attempt_row(attempt: &Attempt) -> Vec<String> {
    vec![
        attempt.number.to_string(),
        output::outcome(attempt.outcome, attempt.failure_class),
        attempt.worker.clone(),
        attempt.device.clone(),
        output::memory(attempt.peak_memory_bytes),
        attempt
            .start_time
            .map(|time| time.to_string())
            .unwrap_or_default(),
        attempt
            .end_time
            .map(|time| time.to_string())
            .unwrap_or_default(),
        attempt.message.clone(),
    ]
}

fn epoch_row(epoch: &EpochMetrics) -> Vec<String> {
    vec![
        // People count epochs from 1.
        (epoch.epoch + 1).to_string(),
        format!("{:.2}", epoch.epsilon * 255.0),
        format!("{:.1e}", epoch.learning_rate),
        format!("{:.4}", epoch.train_loss),
        output::share(epoch.validation_accuracy),
        output::share(epoch.validation_robust_accuracy),
        format!("{:.0}", epoch.images_per_second),
        format!("{:.0}", epoch.loading_share * 100.0),
    ]
}
