//! `temper job`.

use temper_proto::{
    JobName,
    v1::{CancelJobRequest, EpochMetrics, GetJobRequest, Job},
};

use super::attempts;
use crate::{
    connection::{self, Coordinator},
    names, output,
};

/// Which job, and what to do with it.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    /// The job
    #[arg(value_parser = names::job, required = true)]
    job: Option<JobName>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    coordinator: Coordinator,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Cancel the job although sweeps want it, and the evaluations that wait for it
    Cancel(Cancel),
}

#[derive(clap::Args)]
struct Cancel {
    /// The job
    #[arg(value_parser = names::job)]
    job: JobName,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    coordinator: Coordinator,
}

/// Shows a job, or cancels it.
pub async fn run(args: Args) -> anyhow::Result<()> {
    match (args.action, args.job) {
        (Some(Action::Cancel(args)), _) => cancel(args).await,
        (None, Some(job)) => show(job, args.json, &args.coordinator).await,
        // The parser asks for one of them.
        (None, None) => Ok(()),
    }
}

async fn cancel(args: Cancel) -> anyhow::Result<()> {
    let client = args.coordinator.jobs().await?;
    let job = connection::call(|| {
        let (mut client, name) = (client.clone(), args.job.to_string());
        async move { client.cancel_job(CancelJobRequest { name }).await }
    })
    .await?;
    if args.json {
        return output::print_json(&job);
    }
    output::line(format_args!(
        "{}: {}",
        job.name,
        output::job_state(job.state)
    ));
    Ok(())
}

async fn show(job: JobName, json: bool, coordinator: &Coordinator) -> anyhow::Result<()> {
    let client = coordinator.jobs().await?;
    let job = connection::call(|| {
        let (mut client, name) = (client.clone(), job.to_string());
        async move { client.get_job(GetJobRequest { name }).await }
    })
    .await?;
    if json {
        return output::print_json(&job);
    }
    print_head(&job);
    output::line("");
    attempts::print(&job.attempts);
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
    if job.device_seconds > 0.0 {
        let (seconds, wasted) = (job.device_seconds, job.wasted_share * 100.0);
        output::line(format_args!(
            "{seconds:.1} device-seconds, {wasted:.0} % of them wasted"
        ));
    }
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn job_alone_is_shown_and_with_the_word_cancelled() {
        let parse = |given: &[&str]| Arguments::try_parse_from(given).map(|given| given.args);
        let shown = parse(&["job", "7", "--json"]).unwrap();
        assert!(shown.action.is_none() && shown.json && shown.job == Some(JobName(7)));
        let given = ["job", "cancel", "7", "--json"];
        let Some(Action::Cancel(cancel)) = parse(&given).unwrap().action else {
            panic!("it is not to be cancelled");
        };
        assert!(cancel.json && cancel.job == JobName(7));
        for wrong in [
            &["job"][..],
            &["job", "cancel"],
            &["job", "7", "cancel", "7"],
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
