//! `make bench-results`: what answers and exports of large sweeps cost, on real parts: PostgreSQL, and a
//! results service in a process of its own.
//!
//! **Answers**: a sweep of 10,000 trainings of 50 epochs and 10,000 evaluations of 17 strengths, all done.
//! `AggregateCurves` in its usual groups (1,000) with their points, and `CompareSchedules` over all of it,
//! each called several times over gRPC; the slowest call counts.
//!
//! **Exports**: another sweep of 100,000 trainings, whose 5,000,000 epochs are streamed as CSV and as
//! Parquet. Their rows are counted in what arrives, and the service's greatest resident memory since its
//! start is told.
//!
//! `--short` makes hundreds of jobs and judges nothing: it shows that all of it works.

#[path = "../tests/lab/mod.rs"]
mod lab;

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, ExitCode, Stdio},
    time::Instant,
};

use anyhow::{Context as _, ensure};
use clap::{Parser, Subcommand};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use temper_proto::v1::{
    AggregateCurvesRequest, CompareSchedulesRequest, ExportFormat, ExportKind, ExportRequest,
    export_response::Part, results_service_client::ResultsServiceClient,
};
use temper_results::{Config, run};
use temper_service::{
    client::{Channel, connect},
    server::Server,
    stop::Stop,
};
use temper_store::testing::{
    Database,
    bench::{results_insert, vacuum},
};

/// Calls of each kind.
const CALLS: u32 = 5;
/// Most seconds of a call.
const SECONDS: f64 = 1.0;
/// Most megabytes that the service takes.
const MEGABYTES: u64 = 150;
const CONNECTIONS: u32 = 4;
const LARGEST_MESSAGE: usize = 64 << 20;

/// Measures the results service
#[derive(Parser)]
struct Arguments {
    /// Hundreds of jobs instead of thousands; nothing is judged
    #[arg(long)]
    short: bool,
    #[command(subcommand)]
    part: Option<Role>,
}

#[derive(Subcommand)]
enum Role {
    /// Serves the database at this URL until its standard input ends
    #[command(hide = true)]
    Serve {
        /// `postgres://…`
        url: String,
    },
}

/// What was measured.
#[derive(Debug, Default)]
struct Figures {
    aggregate: f64,
    compare: f64,
    rows: u64,
    csv_seconds: f64,
    parquet_seconds: f64,
    answers_peak: u64,
    export_peak: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.part {
        Some(Role::Serve { url }) => return serve(url).await,
        None => measure(arguments.short).await,
    };
    let verdict = outcome.and_then(|figures| {
        judge(&figures, arguments.short)?;
        Ok(figures)
    });
    match verdict {
        Ok(figures) => {
            println!(
                "bench-results: ok aggregate_s={:.3} compare_s={:.3} answers_peak_mb={} export_rows={} \
                 export_csv_s={:.1} export_parquet_s={:.1} export_peak_mb={}",
                figures.aggregate,
                figures.compare,
                figures.answers_peak,
                figures.rows,
                figures.csv_seconds,
                figures.parquet_seconds,
                figures.export_peak
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("bench-results: FAILED {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn judge(figures: &Figures, short: bool) -> anyhow::Result<()> {
    if short {
        return Ok(());
    }
    for (name, seconds) in [
        ("aggregate_s", figures.aggregate),
        ("compare_s", figures.compare),
    ] {
        ensure!(
            seconds < SECONDS,
            "{name}={seconds:.3} is not below {SECONDS}"
        );
    }
    let peak = figures.export_peak;
    ensure!(
        peak < MEGABYTES,
        "export_peak_mb={peak} is not below {MEGABYTES}"
    );
    Ok(())
}

async fn measure(short: bool) -> anyhow::Result<Figures> {
    let seeds = |seeds: u32| if short { 1 } else { seeds };
    let database = Database::new().await?;
    let store = database.store();
    // 10 models, 10 datasets, 2 schedules, 5 targets.
    let answers = lab::submit(store, &spec(seeds(10))).await?;
    results_insert(store, answers).await?;
    let exports = lab::submit(store, &spec_of_exports(seeds(100))).await?;
    results_insert(store, exports).await?;
    vacuum(store).await?;
    let viewer = lab::viewer(store).await?;

    let mut figures = Figures::default();
    let service = Service::start(database.url())?;
    let mut client = client(&service.url, &viewer).await?;
    let sweep = format!("sweeps/{answers}");
    for _ in 0..CALLS {
        figures.aggregate = figures.aggregate.max(aggregate(&mut client, &sweep).await?);
        figures.compare = figures.compare.max(compare(&mut client, &sweep).await?);
    }
    figures.answers_peak = service.peak_megabytes()?;
    drop(service);

    let service = Service::start(database.url())?;
    let mut client = self::client(&service.url, &viewer).await?;
    let sweep = format!("sweeps/{exports}");
    let expected = 50 * 1_000 * u64::from(seeds(100));
    let started = Instant::now();
    let lines = csv_rows(&mut client, &sweep).await?;
    figures.csv_seconds = started.elapsed().as_secs_f64();
    let started = Instant::now();
    let rows = parquet_rows(&mut client, &sweep).await?;
    figures.parquet_seconds = started.elapsed().as_secs_f64();
    ensure!(lines == expected, "{lines} rows of CSV, not {expected}");
    ensure!(rows == expected, "{rows} rows of Parquet, not {expected}");
    figures.rows = rows;
    figures.export_peak = service.peak_megabytes()?;
    Ok(figures)
}

async fn client(
    url: &str,
    viewer: &temper_service::client::Credentials,
) -> anyhow::Result<ResultsServiceClient<Channel>> {
    let channel = connect(url, viewer).await?;
    Ok(ResultsServiceClient::new(channel).max_decoding_message_size(LARGEST_MESSAGE))
}

async fn aggregate(client: &mut ResultsServiceClient<Channel>, sweep: &str) -> anyhow::Result<f64> {
    let request = AggregateCurvesRequest {
        sweep: sweep.to_owned(),
        ..Default::default()
    };
    let started = Instant::now();
    let groups = client.aggregate_curves(request).await?.into_inner().groups;
    let seconds = started.elapsed().as_secs_f64();
    ensure!(groups.len() == 1_000, "{} groups, not 1000", groups.len());
    ensure!(
        groups
            .iter()
            .all(|group| group.count == group.expected_count)
    );
    ensure!(groups.iter().all(|group| group.points.len() == 17));
    Ok(seconds)
}

async fn compare(client: &mut ResultsServiceClient<Channel>, sweep: &str) -> anyhow::Result<f64> {
    let request = CompareSchedulesRequest {
        sweep: sweep.to_owned(),
        baseline: "fixed".to_owned(),
        candidate: "two-hinge".to_owned(),
        ..Default::default()
    };
    let started = Instant::now();
    let comparisons = client
        .compare_schedules(request)
        .await?
        .into_inner()
        .comparisons;
    let seconds = started.elapsed().as_secs_f64();
    ensure!(
        comparisons.len() == 5,
        "{} comparisons, not 5",
        comparisons.len()
    );
    ensure!(
        comparisons
            .iter()
            .all(|one| one.count > 0 && one.count == one.expected_count)
    );
    Ok(seconds)
}

async fn csv_rows(client: &mut ResultsServiceClient<Channel>, sweep: &str) -> anyhow::Result<u64> {
    let mut lines = 0_u64;
    export(client, sweep, ExportFormat::Csv, |bytes| {
        let newlines = bytes.split(|byte| *byte == b'\n').count() - 1;
        lines += u64::try_from(newlines)?;
        Ok(())
    })
    .await?;
    // The provenance, and the names of the columns.
    lines.checked_sub(2).context("no lines")
}

async fn parquet_rows(
    client: &mut ResultsServiceClient<Channel>,
    sweep: &str,
) -> anyhow::Result<u64> {
    let mut file = tempfile::tempfile()?;
    export(client, sweep, ExportFormat::Parquet, |bytes| {
        Ok(file.write_all(bytes)?)
    })
    .await?;
    let reader = SerializedFileReader::new(file)?;
    let rows = reader.metadata().file_metadata().num_rows();
    Ok(u64::try_from(rows)?)
}

async fn export(
    client: &mut ResultsServiceClient<Channel>,
    sweep: &str,
    format: ExportFormat,
    mut take: impl FnMut(&[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let request = ExportRequest {
        sweep: sweep.to_owned(),
        kind: ExportKind::Epochs.into(),
        format: format.into(),
    };
    let mut parts = client.export(request).await?.into_inner();
    while let Some(message) = parts.message().await? {
        if let Some(Part::Chunk(bytes)) = message.part {
            take(&bytes)?;
        }
    }
    Ok(())
}

/// A results service in a process of its own. Dropping it ends it.
struct Service {
    child: Child,
    url: String,
}

impl Service {
    fn start(database: &str) -> anyhow::Result<Self> {
        let program = std::env::current_exe()?;
        let mut child = Command::new(program)
            .args(["serve", database])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().context("no output")?;
        let mut url = String::new();
        BufReader::new(output).read_line(&mut url)?;
        let url = url.trim().to_owned();
        ensure!(!url.is_empty(), "the service did not start");
        Ok(Self { child, url })
    }

    /// The most memory that was resident since its start.
    fn peak_megabytes(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        let kilobytes: u64 = kilobytes.context("no VmHWM")?.trim().parse()?;
        Ok(kilobytes.div_ceil(1_000))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Where it is gone already there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn serve(url: String) -> ExitCode {
    let serving = async {
        let server = Server::bind("127.0.0.1:0".parse()?).await?;
        println!("http://{}", server.address());
        let config = Config {
            database_url: url,
            connections: CONNECTIONS,
        };
        run(config, server, Stop::new()).await
    };
    match serving.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A sweep of 1,000 cells a seed, of 50 epochs and 17 strengths.
fn spec(seeds: u32) -> String {
    axes(seeds, "s", r#"[{"fixed": {}}, {"twoHinge": {}}]"#)
}

/// Another of as many cells, that shares no job with it.
fn spec_of_exports(seeds: u32) -> String {
    axes(seeds, "e", r#"[{"linear": {}}, {"cosine": {}}]"#)
}

fn axes(seeds: u32, name: &str, schedules: &str) -> String {
    let names = |kind: &str| {
        let names = (0..10).map(|i| format!("\"{name}-{kind}-{i}\""));
        names.collect::<Vec<_>>().join(", ")
    };
    let seeds: Vec<_> = (0..seeds).map(|seed| seed.to_string()).collect();
    format!(
        r#"{{"models": [{}], "datasets": [{}], "schedules": {schedules},
            "targetEpsilons": ["2/255", "4/255", "8/255", "12/255", "16/255"], "seeds": [{}],
            "training": {{"epochs": 50}}, "evaluations": [{{"samples": 1000, "gridEnd": "16/255"}}]}}"#,
        names("model"),
        names("dataset"),
        seeds.join(", ")
    )
}
