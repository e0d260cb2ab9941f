//! What a sweep leaves in traces, logs and metrics, when real processes take it from its call to its end.

use std::{collections::BTreeSet, fs, net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use temper_core::access::Role;
use temper_e2e::{
    processes::{launch, token},
    program,
    site::Site,
    sweeps,
};
use temper_proto::v1::{ListPublishedRequest, results_service_client::ResultsServiceClient};
use temper_service::{
    client::{Credentials, connect},
    testing::{Collector, Span, scrape, value},
};
use tokio::{
    process::Command,
    time::{sleep, timeout},
};

use crate::observability::all_is_described;

/// Longer than the test.
const LEASE: Duration = Duration::from_mins(5);
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_mins(3);
/// Between two looks at a log.
const PAUSE: Duration = Duration::from_millis(30);

const CREATE: &str = "temper.v1.SweepService/CreateSweep";
const REPORT: &str = "temper.v1.WorkerService/ReportEpochs";
const COMPLETE: &str = "temper.v1.WorkerService/Complete";
/// A training's and an evaluation's.
const ATTEMPTS: usize = 2;

/// Has a process send its spans as soon as they are over, and tell metrics at a free port.
fn watched(collector: &Collector) -> [(&'static str, String); 3] {
    [
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            collector.endpoint().to_owned(),
        ),
        ("OTEL_BSP_SCHEDULE_DELAY", "50".to_owned()),
        ("TEMPER_METRICS", "127.0.0.1:0".to_owned()),
    ]
}

/// The lines of a log in JSON.
fn lines(log: &str) -> impl Iterator<Item = Value> {
    log.lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
}

/// The address that a process names in its log, once it does, with this message.
async fn address(log: &Path, message: &str) -> anyhow::Result<SocketAddr> {
    let looking = async {
        loop {
            let said = fs::read_to_string(log).unwrap_or_default();
            let found = lines(&said).find(|line| line["fields"]["message"] == message);
            if let Some(line) = found {
                break line;
            }
            sleep(PAUSE).await;
        }
    };
    let line = timeout(PATIENCE, looking).await;
    let line = line.with_context(|| format!("no `{message}` in {}", log.display()))?;
    let address = line["fields"]["address"].as_str().context("no address")?;
    Ok(address.parse()?)
}

/// What a process tells at the address in its log.
async fn told(log: &Path) -> anyhow::Result<String> {
    let address = address(log, "telling metrics").await?;
    let told = scrape(address).await?;
    all_is_described(&told)?;
    Ok(told)
}

fn named<'a>(spans: &'a [Span], name: &'a str) -> impl Iterator<Item = &'a Span> {
    spans.iter().filter(move |span| span.name == name)
}

/// The ids of the spans of this name.
fn ids<'a>(spans: &'a [Span], name: &'a str) -> BTreeSet<&'a [u8]> {
    let ids = named(spans, name).map(|span| span.span_id.as_slice());
    ids.collect()
}

/// The spans that those of this name are within.
fn parents<'a>(spans: &'a [Span], name: &'a str) -> BTreeSet<&'a [u8]> {
    let parents = named(spans, name).map(|span| span.parent_span_id.as_slice());
    parents.collect()
}

/// Whether each attempt has told its end, and so has the sweep's call.
fn is_over(spans: &[Span]) -> bool {
    let count = |name| named(spans, name).count();
    let ended = ["lease", "job", COMPLETE];
    count(CREATE) > 0 && ended.into_iter().all(|name| count(name) >= ATTEMPTS)
}

/// Each attempt is a span of its worker's, below its lease and above its results, all below the sweep's call;
/// the trace of it all.
fn one_trace(spans: &[Span]) -> anyhow::Result<&[u8]> {
    let shown = || {
        let shown = spans.iter().map(|span| {
            let [trace, own, parent] =
                [&span.trace_id, &span.span_id, &span.parent_span_id].map(hex::encode);
            format!("{} {trace} {own} below {parent}", span.name)
        });
        shown.collect::<Vec<_>>().join("\n")
    };
    let created = named(spans, CREATE).next().context("no call")?;
    for (name, count) in [
        (CREATE, 1),
        ("lease", ATTEMPTS),
        ("job", ATTEMPTS),
        (COMPLETE, ATTEMPTS),
    ] {
        ensure!(ids(spans, name).len() == count, "{name}: {}", shown());
    }
    for name in ["lease", "job", REPORT, COMPLETE] {
        let mut all = named(spans, name);
        let is_of_sweep = all.all(|span| span.trace_id == created.trace_id);
        ensure!(is_of_sweep, "{name}: {}", shown());
    }
    let (leases, jobs) = (ids(spans, "lease"), ids(spans, "job"));
    ensure!(parents(spans, "lease") == ids(spans, CREATE), "{}", shown());
    ensure!(parents(spans, "job") == leases, "{}", shown());
    ensure!(parents(spans, COMPLETE) == jobs, "{}", shown());
    // An evaluation has no epochs.
    let reported = parents(spans, REPORT);
    ensure!(
        reported.len() == 1 && reported.is_subset(&jobs),
        "{}",
        shown()
    );
    Ok(created.trace_id.as_slice())
}

/// Whatever the worker logs of a job names the trace, and what it logs in no deeper span that of the attempt.
fn log_names_the_trace(log: &str, trace: &[u8], jobs: &BTreeSet<&[u8]>) -> anyhow::Result<()> {
    let trace = hex::encode(trace);
    let mut leased = BTreeSet::new();
    for line in lines(log) {
        let spans = line["spans"].as_array();
        let is_of_job = spans.is_some_and(|spans| spans.iter().any(|span| span["name"] == "job"));
        ensure!(!is_of_job || line["trace_id"] == trace, "{line}");
        if line["fields"]["message"] == "leased" {
            leased.insert(hex::decode(line["span_id"].as_str().context("no span")?)?);
        }
    }
    let jobs: BTreeSet<Vec<u8>> = jobs.iter().map(|id| id.to_vec()).collect();
    ensure!(leased == jobs, "{log}");
    Ok(())
}

fn worker_has_counted(told: &str) -> anyhow::Result<()> {
    for series in [
        r#"temper_worker_images_total{phase="train"}"#,
        r#"temper_worker_images_total{phase="evaluate"}"#,
        "temper_worker_steps_total",
        "temper_worker_heartbeat_timestamp_seconds",
    ] {
        let counted = value(told, series);
        ensure!(counted.is_some_and(|count| count > 0.0), "{series}: {told}");
    }
    let epochs = value(told, "temper_worker_epochs_total");
    ensure!(epochs == Some(f64::from(sweeps::EPOCHS)), "{told}");
    for kind in ["train", "evaluate"] {
        let series = format!(r#"temper_worker_jobs_total{{kind="{kind}",outcome="completed"}}"#);
        ensure!(value(told, &series) == Some(1.0), "{series}: {told}");
    }
    Ok(())
}

/// How often a method of `temper.v1` was answered well.
fn answered(told: &str, service: &str, method: &str) -> Option<f64> {
    let labels =
        format!(r#"service="temper.v1.{service}",method="{method}",shape="unary",code="OK""#);
    value(told, &format!("temper_rpc_requests_total{{{labels}}}"))
}

/// A results service over the same database counts the call that it answers.
async fn results_service_counts(site: &Site, collector: &Collector) -> anyhow::Result<()> {
    let mut command = Command::new(program("temper-results")?);
    command.args(["--listen", "127.0.0.1:0"]);
    command.env("TEMPER_DATABASE_URL", site.database());
    command.envs(watched(collector));
    let log = site.folder().join("results.log");
    // Ends with this function.
    let _service = launch(command, site.folder(), &log)?;
    let url = format!("http://{}", address(&log, "serving").await?);
    let viewer = token(&site.store, Role::Viewer).await?;
    let channel = connect(&url, &Credentials::default().with_token(viewer)).await?;
    let mut client = ResultsServiceClient::new(channel);
    client
        .list_published(ListPublishedRequest::default())
        .await?;
    let told = told(&log).await?;
    let calls = answered(&told, "ResultsService", "ListPublished");
    ensure!(calls == Some(1.0), "{told}");
    Ok(())
}

#[tokio::test]
async fn sweep_is_one_trace_over_its_processes_and_its_logs_and_metrics_tell_of_it()
-> anyhow::Result<()> {
    let mut collector = Collector::start().await?;
    let site = Site::start_with(LEASE, &watched(&collector)).await?;
    let mut worker = site.worker()?;
    worker.envs(watched(&collector));
    let worker = site.start_worker("watched", worker)?;
    site.submit(sweeps::tiny([0])).await?;
    let waited = timeout(PATIENCE, collector.wait(is_over)).await;
    let spans = collector.told();
    let names: Vec<_> = spans.iter().map(|span| &span.name).collect();
    ensure!(waited.is_ok(), "{names:?}: {}", worker.log());

    let trace = one_trace(spans)?;
    log_names_the_trace(&worker.log(), trace, &ids(spans, "job"))?;
    worker_has_counted(&told(&site.folder().join("watched.log")).await?)?;
    let of_coordinator = told(&site.folder().join("coordinator.log")).await?;
    for (service, method, calls) in [
        ("SweepService", "CreateSweep", 1.0),
        ("WorkerService", "Complete", 2.0),
    ] {
        let counted = answered(&of_coordinator, service, method);
        ensure!(counted == Some(calls), "{method}: {of_coordinator}");
    }
    results_service_counts(&site, &collector).await?;
    drop(worker);
    site.stop().await
}
