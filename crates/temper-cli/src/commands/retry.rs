//! `temper retry`.

use clap::builder::PossibleValuesParser;
use temper_core::job::FailureClass;
use temper_proto::{
    JobName, SweepName,
    v1::{self, JobFilter, RetryJobsRequest, RetryJobsResponse},
};

use crate::{
    connection::{self, Coordinator},
    names, output,
};

/// Which failed jobs.
#[derive(clap::Args)]
pub struct Args {
    /// The sweep
    #[arg(value_parser = names::sweep)]
    sweep: SweepName,
    #[command(flatten)]
    filter: Filter,
    /// Say what would be tried again, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    coordinator: Coordinator,
}

/// What the jobs have in common; each may be given several times, and without any all failed jobs
/// of the sweep are meant.
#[derive(Debug, Default, clap::Args)]
struct Filter {
    /// Only jobs whose last attempt failed this way
    #[arg(
        long = "class",
        value_parser = PossibleValuesParser::new(FailureClass::ALL.map(FailureClass::as_str))
    )]
    classes: Vec<String>,
    /// Only jobs of this model
    #[arg(long = "model")]
    models: Vec<String>,
    /// Only jobs of this dataset
    #[arg(long = "dataset")]
    datasets: Vec<String>,
    /// Only jobs of this schedule, such as fixed or two-hinge(1/4,1/2)
    #[arg(long = "schedule")]
    schedules: Vec<String>,
    /// Only jobs of this target strength, such as 4/255
    #[arg(long = "target")]
    targets: Vec<String>,
    /// Only jobs of this seed
    #[arg(long = "seed")]
    seeds: Vec<u64>,
    /// Only this job
    #[arg(long = "job", value_parser = names::job)]
    jobs: Vec<JobName>,
}

impl From<Filter> for JobFilter {
    fn from(filter: Filter) -> Self {
        let classes = filter.classes.iter();
        let classes = classes.filter_map(|name| FailureClass::from_name(name));
        let cells = v1::CellMatch {
            models: filter.models,
            datasets: filter.datasets,
            schedules: filter.schedules,
            target_epsilons: filter.targets,
            seeds: filter.seeds,
            hyperparameters: Vec::new(),
        };
        Self {
            states: Vec::new(),
            failure_classes: classes
                .map(|class| v1::FailureClass::from(class).into())
                .collect(),
            cells: (cells != v1::CellMatch::default()).then_some(cells),
            jobs: filter.jobs.iter().map(ToString::to_string).collect(),
        }
    }
}

/// Queues failed jobs again.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let client = args.coordinator.jobs().await?;
    let request = RetryJobsRequest {
        parent: args.sweep.to_string(),
        filter: Some(args.filter.into()),
        validate_only: args.dry_run,
    };
    let retried = connection::call(|| {
        let (mut client, request) = (client.clone(), request.clone());
        async move { client.retry_jobs(request).await }
    })
    .await?;
    if args.json {
        return output::print_json(&retried);
    }
    for name in &retried.jobs {
        output::line(name);
    }
    output::line(summary(&retried, args.dry_run));
    Ok(())
}

fn summary(retried: &RetryJobsResponse, dry_run: bool) -> String {
    let revived = match retried.revived_jobs.len() {
        0 => String::new(),
        count => format!(", and {count} evaluation(s) wait for them again"),
    };
    match (retried.count, dry_run) {
        (0, _) => "no job that failed is meant".to_owned(),
        (count, false) => format!("{count} job(s) are queued again{revived}"),
        (count, true) => format!("{count} job(s) would be queued again{revived}"),
    }
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

    const SWEEP: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    #[test]
    fn options_become_the_filter_and_none_of_them_is_an_empty_one() {
        let given = [
            "retry",
            SWEEP,
            "--class",
            "bad-input",
            "--class",
            "lost",
            "--model",
            "resnet50",
            "--schedule",
            "two-hinge(1/4,1/2)",
            "--target",
            "4/255",
            "--seed",
            "3",
            "--job",
            "7",
        ];
        let filter: JobFilter = Arguments::parse_from(given).args.filter.into();
        let expected = JobFilter {
            failure_classes: vec![
                v1::FailureClass::BadInput.into(),
                v1::FailureClass::Lost.into(),
            ],
            cells: Some(v1::CellMatch {
                models: vec!["resnet50".to_owned()],
                schedules: vec!["two-hinge(1/4,1/2)".to_owned()],
                target_epsilons: vec!["4/255".to_owned()],
                seeds: vec![3],
                ..v1::CellMatch::default()
            }),
            jobs: vec!["jobs/7".to_owned()],
            ..JobFilter::default()
        };
        assert_eq!(filter, expected);
        let bare: JobFilter = Arguments::parse_from(["retry", SWEEP]).args.filter.into();
        assert_eq!(bare, JobFilter::default());
        assert!(Arguments::try_parse_from(["retry", SWEEP, "--class", "bad"]).is_err());
    }

    #[test]
    fn summary_counts_and_says_what_a_dry_run_would_do() {
        let retried = RetryJobsResponse {
            jobs: vec!["jobs/1".to_owned()],
            count: 1,
            revived_jobs: vec!["jobs/2".to_owned()],
        };
        assert_eq!(
            summary(&retried, true),
            "1 job(s) would be queued again, and 1 evaluation(s) wait for them again"
        );
        let none = RetryJobsResponse::default();
        assert_eq!(summary(&none, false), "no job that failed is meant");
    }
}
