//! `make bench-queue`: what the queue costs, on real parts: PostgreSQL with everything forced to disk, a
//! `temper-coordinator`, 64 workers over gRPC that compute nothing, and `pgbench` beside them.
//!
//! **A job** is a training of five epochs or an evaluation of five points, half of each, taken and handed
//! in by itself as `temper-worker` does it: a worker calls Lease (which says that it is idle),
//! for a training `ReportEpochs` with all five epochs at once, and Complete; the next Lease follows at once. So
//! a training is three calls and three transactions that write: it inserts an attempt, a lease, five
//! epochs, a model and a summary, updates its row three times and the lease, the attempt and its
//! evaluation's row once, and deletes the lease. An evaluation is two calls and two such transactions: an
//! attempt, a lease, five points and a summary, its row twice, the attempt once, the lease
//! deleted. What workers do besides, heartbeats, checkpoints, logs and bytes, is not in it; heartbeats, and
//! calls of Lease that find nothing, are measured by themselves at the end, and rounds beside workers that wait.
//!
//! **Beside it**, by turns in the same run, `pgbench` writes the same rows by the same statements in as many
//! transactions, to copies of the tables, for as many clients. It neither searches a queue nor checks a
//! lease, and the copies have no foreign keys: it is what PostgreSQL could do if nobody asked
//! who may write what.
//!
//! `docs/performance.md` says what each figure is. `--short` measures hundreds of jobs and judges none of the
//! figures: it shows that all of it works, and that what was done is what is stored.

mod figures;
mod pgbench;
mod place;
mod rounds;
mod scale;
mod workers;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use temper_service::telemetry::Telemetry;

use figures::Figures;
use place::Place;

/// Measures the queue
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    telemetry: Telemetry,
    /// The short form, as in the tests
    #[arg(long)]
    short: bool,
    /// Connections of the coordinator to PostgreSQL; the 100 that there are have to do for all
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=30))]
    connections: u32,
}

/// How much is done. Counts of cells are multiples of [`scale::CELLS_A_SEED`].
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Cells of the sweep that is expanded, and that stays queued behind all that is measured.
    pub cells: u32,
    /// Cells of the sweep that is only looked at.
    pub previewed: u32,
    /// Jobs of the history, first and then; even numbers.
    pub history: (i64, i64),
    /// Workers, and clients of `pgbench`.
    pub workers: u32,
    /// Workers that wait for jobs in bfloat16.
    pub idle: u32,
    /// Rounds with each history.
    pub rounds: u32,
    /// Cells of a round, two jobs each; a multiple of the workers.
    pub measured: u32,
    /// Cells that are done before a round without being measured; likewise.
    pub warm_up: u32,
}

impl Plan {
    const FULL: Self = Self {
        cells: 100_000,
        previewed: 1_000_000,
        history: (1_000, 1_000_000),
        workers: 64,
        idle: 2_000,
        rounds: 3,
        measured: 3_200,
        warm_up: 320,
    };
    const SHORT: Self = Self {
        cells: 200,
        previewed: 2_000,
        history: (100, 1_000),
        workers: 10,
        idle: 20,
        rounds: 1,
        measured: 80,
        warm_up: 20,
    };
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let verdict = match run(&arguments).await {
        Ok(figures) if arguments.short => Ok(format!("short {}", figures.counts)),
        Ok(figures) => figures.verdict().map(|()| figures.line()),
        Err(error) => Err(error),
    };
    match verdict {
        Ok(line) => {
            println!("bench-queue: ok {line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("bench-queue: FAILED {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> anyhow::Result<Figures> {
    arguments.telemetry.init()?;
    let plan = if arguments.short {
        Plan::SHORT
    } else {
        Plan::FULL
    };
    if !arguments.short {
        // Where the place is made. The short form judges no times.
        place::require_disk(&std::env::temp_dir())?;
    }
    let place = Place::start(arguments.connections).await?;
    let logs = format!("logs are in {}", place.folder().display());
    let measured = measure(&place, plan).await;
    let figures = measured.context(logs)?;
    place.stop().await?;
    print!("{figures}");
    Ok(figures)
}

async fn measure(place: &Place, plan: Plan) -> anyhow::Result<Figures> {
    let scale = scale::measure(place, plan).await?;
    let queue = rounds::measure(place, plan).await?;
    Ok(Figures::of(scale, queue))
}
