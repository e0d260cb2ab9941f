//! Rounds of the queue and of `pgbench` by turns, with little history, and then with a lot of it.

use std::time::{Duration, Instant};

use anyhow::ensure;
use temper_proto::v1::{Precision, sweep_service_client::SweepServiceClient};
use temper_store::testing::bench::{self, Accepted, Sizes, Tables, Written};
use tokio::time::sleep;

use crate::{
    Plan,
    figures::median,
    pgbench::Pgbench,
    place::Place,
    scale::{CELLS_A_SEED, EPOCHS, POINTS, request},
    workers::{Crew, Crowd, Deed, Done},
};

/// The first seed that no sweep has had: far beyond those of the large ones.
const FRESH_SEEDS: u32 = 1_000_000;
/// Longest wait for processes to tell what they wrote; those that are idle do so within ten seconds.
const TELLING: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(200);

/// A round of the queue.
#[derive(Debug)]
pub struct Round {
    /// Jobs a second, from lease to result.
    pub rate: f64,
    /// How long each Lease took.
    pub claims: Vec<Duration>,
    /// Bytes of write-ahead log a job.
    pub wal: f64,
}

/// A round of `pgbench`.
#[derive(Debug)]
pub struct PeerRound {
    /// Jobs a second.
    pub rate: f64,
    /// Bytes of write-ahead log a job.
    pub wal: f64,
}

/// What the jobs that are done take on disk, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Kept {
    /// An epoch.
    pub epoch: f64,
    /// A point.
    pub point: f64,
    /// Everything else of a job: its row, attempt, model or summary; not what links it to a sweep.
    pub job: f64,
}

/// What workers cost that only are there.
#[derive(Debug, Clone, Copy)]
pub struct Presence {
    /// Heartbeats a second, each of a worker that holds a job.
    pub beats: f64,
    /// Calls of Lease a second that find no job to give, whose workers do not wait.
    pub asks: f64,
    /// Workers that wait, for none of which there is a job.
    pub idle: u32,
    /// Jobs a second of the others beside them.
    pub rate: f64,
}

/// What was done over all rounds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    /// Trainings that the workers completed.
    pub trainings: u32,
    /// Evaluations that they completed.
    pub evaluations: u32,
    /// Cells of `pgbench`.
    pub peer_cells: u32,
    /// Jobs of the history at the end.
    pub history: i64,
    /// Jobs that were queued all the time, behind those that were measured.
    pub queued: i64,
}

/// What rounds came to.
#[derive(Debug)]
pub struct Queue {
    /// With little history.
    pub rounds: Vec<Round>,
    /// Between them.
    pub peer: Vec<PeerRound>,
    /// With a lot of history.
    pub burdened: Vec<Round>,
    /// What the rounds with little history wrote to the tables, warm-ups too.
    pub written: Written,
    /// Jobs that did so.
    pub written_by: u32,
    /// Jobs of the history, first and then.
    pub history: (i64, i64),
    /// What a job of the history takes.
    pub kept: Kept,
    /// The middle of as many rounds.
    pub presence: Presence,
    /// Counts of all of it, which are those of the tables.
    pub tally: Tally,
}

/// Measures the rounds on the queue that is there.
///
/// # Errors
/// When something breaks, or what is stored is not what was done.
pub async fn measure(place: &Place, plan: Plan) -> anyhow::Result<Queue> {
    let store = &place.store;
    let copied = bench::tables_copy(store).await?;
    let mut bench = Bench {
        place,
        plan,
        crew: Crew::register(place, plan.workers, Precision::Fp32).await?,
        pgbench: Pgbench::new(place, copied, plan.workers)?,
        seed: FRESH_SEEDS,
        tally: Tally::default(),
    };
    let (little, much) = plan.history;
    bench.history(0..little).await?;
    let before = bench::written(store).await?;
    let (mut rounds, mut peer) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        rounds.push(bench.round().await?);
        peer.push(bench.peer_round().await?);
    }
    let written_by = bench.tally.trainings + bench.tally.evaluations;
    let written = written(place, before, written_by).await?;
    let small = bench::sizes(store).await?;
    bench.history(little..much).await?;
    let kept = kept(small, bench::sizes(store).await?, much - little);
    let mut burdened = Vec::new();
    for _ in 0..plan.rounds {
        burdened.push(bench.round().await?);
    }
    let presence = bench.presence().await?;
    bench.tally.queued = bench::queued(store).await?;
    check(place, bench.tally).await?;
    Ok(Queue {
        rounds,
        peer,
        burdened,
        written,
        written_by,
        history: plan.history,
        kept,
        presence,
        tally: bench.tally,
    })
}

/// What so many jobs more take, half of them trainings.
fn kept(before: Sizes, after: Sizes, jobs: i64) -> Kept {
    let cells = u32::try_from(jobs / 2).unwrap_or(u32::MAX);
    Kept {
        epoch: per_job(after.epochs - before.epochs, EPOCHS * cells),
        point: per_job(after.points - before.points, POINTS * cells),
        job: per_job(after.others - before.others, 2 * cells),
    }
}

struct Bench<'a> {
    place: &'a Place,
    plan: Plan,
    crew: Crew,
    pgbench: Pgbench,
    seed: u32,
    tally: Tally,
}

impl Bench<'_> {
    /// Adds to the history, which autovacuum then has nothing to do about.
    async fn history(&mut self, places: std::ops::Range<i64>) -> anyhow::Result<()> {
        let started = Instant::now();
        self.tally.history = places.end;
        bench::history_insert(&self.place.store, places).await?;
        bench::vacuum(&self.place.store).await?;
        println!(
            "history: {} jobs, after {:.0} s",
            self.tally.history,
            started.elapsed().as_secs_f64()
        );
        Ok(())
    }

    /// A round of the queue: the jobs of a sweep that goes before the large one, which stays as it is.
    async fn round(&mut self) -> anyhow::Result<Round> {
        self.submit(self.plan.measured, 1).await?;
        self.submit(self.plan.warm_up, 2).await?;
        let warm_up = self.crew.work(Deed::Work, 2 * self.plan.warm_up).await?;
        self.note(&warm_up);
        // So that nobody writes what another round left behind, and pages are logged alike in all.
        bench::checkpoint(&self.place.store).await?;
        let before = bench::wal_bytes(&self.place.store).await?;
        let done = self.crew.work(Deed::Work, 2 * self.plan.measured).await?;
        let after = bench::wal_bytes(&self.place.store).await?;
        self.note(&done);
        let round = Round {
            rate: f64::from(done.jobs()) / done.elapsed.as_secs_f64(),
            wal: per_job(after - before, done.jobs()),
            claims: done.claims,
        };
        println!(
            "queue: jobs_per_s={:.0} wal_bytes_per_job={:.0}",
            round.rate, round.wal
        );
        Ok(round)
    }

    async fn peer_round(&mut self) -> anyhow::Result<PeerRound> {
        self.pgbench.work(self.plan.warm_up).await?;
        bench::checkpoint(&self.place.store).await?;
        let before = bench::wal_bytes(&self.place.store).await?;
        let rate = self.pgbench.work(self.plan.measured).await?;
        let after = bench::wal_bytes(&self.place.store).await?;
        self.tally.peer_cells += self.plan.warm_up + self.plan.measured;
        let wal = per_job(after - before, 2 * self.plan.measured);
        println!("pgbench: jobs_per_s={rate:.0} wal_bytes_per_job={wal:.0}");
        Ok(PeerRound { rate, wal })
    }

    /// Heartbeats of workers that each hold a job of the large sweep, asks of workers that there is
    /// none for, and rounds beside many of these.
    async fn presence(&mut self) -> anyhow::Result<Presence> {
        let mut rates = (Vec::new(), Vec::new());
        self.crew.hold().await?;
        for _ in 0..self.plan.rounds {
            let done = self.crew.work(Deed::Beat, 4 * self.plan.measured).await?;
            rates.0.push(done.calls_per_s());
        }
        self.crew.release().await?;
        let mut idle = Crew::register(self.place, self.plan.workers, Precision::Bf16).await?;
        for _ in 0..self.plan.rounds {
            let done = idle.work(Deed::Ask, 4 * self.plan.measured).await?;
            rates.1.push(done.calls_per_s());
        }
        let mut crowd = Crowd::gather(self.place, self.plan.idle, self.plan.workers).await?;
        let mut beside = Vec::new();
        for _ in 0..self.plan.rounds {
            beside.push(self.round().await?.rate);
        }
        ensure!(crowd.is_whole(), "a worker that was idle is not any more");
        Ok(Presence {
            idle: self.plan.idle,
            rate: median(beside.into_iter()),
            beats: median(rates.0.into_iter()),
            asks: median(rates.1.into_iter()),
        })
    }

    async fn submit(&mut self, cells: u32, priority: i32) -> anyhow::Result<()> {
        let end = self.seed + cells / CELLS_A_SEED;
        let wanted = request(self.seed..end, priority);
        self.seed = end;
        let mut client = SweepServiceClient::new(self.place.submitter().await?);
        let created = client.create_sweep(wanted).await?.into_inner();
        let jobs = u32::try_from(created.jobs_created)?;
        ensure!(jobs == 2 * cells, "{jobs} jobs for {cells} cells");
        Ok(())
    }

    fn note(&mut self, done: &Done) {
        self.tally.trainings += done.trainings;
        self.tally.evaluations += done.evaluations;
    }
}

/// What was written since, once those who wrote have told: they have when every job's summary is counted.
async fn written(place: &Place, before: Written, jobs: u32) -> anyhow::Result<Written> {
    let end = Instant::now() + TELLING;
    loop {
        let now = bench::written(&place.store).await?;
        let since = Written {
            summaries: now.summaries - before.summaries,
            superseded: now.superseded - before.superseded,
            hot: now.hot - before.hot,
            dead: now.dead,
        };
        if since.summaries >= i64::from(jobs) || Instant::now() > end {
            return Ok(since);
        }
        sleep(PAUSE).await;
    }
}

/// What is stored must be what was done: each job once, and nothing left over.
async fn check(place: &Place, tally: Tally) -> anyhow::Result<()> {
    let of = |trainings: u32, evaluations: u32| {
        let jobs = i64::from(trainings) + i64::from(evaluations);
        Accepted {
            jobs,
            attempts: jobs,
            summaries: jobs,
            epochs: i64::from(EPOCHS) * i64::from(trainings),
            artifacts: i64::from(trainings),
            points: i64::from(POINTS) * i64::from(evaluations),
            leases: 0,
        }
    };
    let sides = [
        (
            "the queue",
            Tables::Temper,
            of(tally.trainings, tally.evaluations),
        ),
        (
            "pgbench",
            Tables::Copies,
            of(tally.peer_cells, tally.peer_cells),
        ),
    ];
    for (side, tables, done) in sides {
        let stored = bench::accepted(&place.store, tables).await?;
        ensure!(
            stored == done,
            "of {side} {stored:?} is stored, {done:?} was done"
        );
    }
    Ok(())
}

/// What of a count, of bytes or of rows, falls to each job.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of a run are far below 2^53"
)]
pub fn per_job(count: i64, jobs: u32) -> f64 {
    count as f64 / f64::from(jobs)
}
