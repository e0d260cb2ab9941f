//! What comes out, and what is good enough.

use std::{fmt, time::Duration};

use anyhow::bail;

use crate::{
    rounds::{Queue, Round, Tally, per_job},
    scale::Scale,
};

/// Most seconds to expand and store the large sweep.
const EXPAND_S: f64 = 10.0;
/// Most megabytes that the coordinator may take for it.
const RSS_MB: f64 = 300.0;
/// Most seconds to look at the larger one.
const PREVIEW_S: f64 = 5.0;
/// Least jobs a second over those of `pgbench`.
const CLAIM_RATIO: f64 = 0.5;
/// Most that 99 of 100 claims may be slower with a lot of history.
const P99_GROWTH: f64 = 2.0;

/// All figures; medians over rounds. Shown, it is lines of its own.
#[derive(Debug)]
pub struct Figures {
    /// What was counted, none of it a time.
    pub counts: String,
    scale: Scale,
    queue: Queue,
    rate: f64,
    peer_rate: f64,
    /// The time that half of the claims are below, and that 99 of 100 are, in milliseconds.
    claims_ms: (f64, f64),
    burdened_ms: (f64, f64),
    wal: f64,
    peer_wal: f64,
}

impl Figures {
    /// Puts both parts together.
    pub fn of(scale: Scale, queue: Queue) -> Self {
        let rounds = &queue.rounds;
        let claims = |rounds: &[Round], hundredth| {
            let times = rounds.iter().map(|round| below(&round.claims, hundredth));
            median(times.map(|time| 1e3 * time.as_secs_f64()))
        };
        let both = |rounds: &[Round]| (claims(rounds, 50), claims(rounds, 99));
        Self {
            counts: counts(&scale, &queue.tally),
            rate: median(rounds.iter().map(|round| round.rate)),
            peer_rate: median(queue.peer.iter().map(|round| round.rate)),
            claims_ms: both(rounds),
            burdened_ms: both(&queue.burdened),
            wal: median(rounds.iter().map(|round| round.wal)),
            peer_wal: median(queue.peer.iter().map(|round| round.wal)),
            scale,
            queue,
        }
    }

    /// What the last line tells.
    pub fn line(&self) -> String {
        format!(
            "expand_100k_s={:.1} claim_ratio={:.2} claim_p99_growth={:.2} wal_bytes_per_job={:.0} rss_mb={:.0}",
            self.scale.expand_s,
            self.ratio(),
            self.growth(),
            self.wal,
            self.scale.rss_mb
        )
    }

    /// Holds the figures against their bars.
    ///
    /// # Errors
    /// Names every one that is missed.
    pub fn verdict(&self) -> anyhow::Result<()> {
        let (ratio, growth) = (self.ratio(), self.growth());
        let most = [
            ("expand_100k_s", self.scale.expand_s, EXPAND_S),
            ("rss_mb", self.scale.rss_mb, RSS_MB),
            ("preview_1m_s", self.scale.preview_s, PREVIEW_S),
            ("claim_p99_growth", growth, P99_GROWTH),
        ];
        let most = most.into_iter().filter(|(_, figure, bar)| figure > bar);
        let mut missed: Vec<String> = most
            .map(|(name, figure, bar)| format!("{name}={figure:.2}, at most {bar} is wanted"))
            .collect();
        if ratio < CLAIM_RATIO {
            missed.push(format!(
                "claim_ratio={ratio:.2}, at least {CLAIM_RATIO} is wanted"
            ));
        }
        if missed.is_empty() {
            return Ok(());
        }
        bail!("{}", missed.join("; "))
    }

    fn ratio(&self) -> f64 {
        self.rate / self.peer_rate
    }

    fn growth(&self) -> f64 {
        self.burdened_ms.1 / self.claims_ms.1
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scale, queue, .. } = self;
        writeln!(
            f,
            "expand: cells={} seconds={:.2} rss_mb={:.0}",
            scale.cells, scale.expand_s, scale.rss_mb
        )?;
        writeln!(
            f,
            "validate_only: cells={} seconds={:.2} rss_mb={:.0} jobs_shared={} \
             (estimated from {} jobs)",
            scale.previewed, scale.preview_s, scale.preview_rss_mb, scale.shared, scale.looked_up
        )?;
        writeln!(
            f,
            "queue: jobs_per_s={:.0} pgbench_jobs_per_s={:.0} claim_ratio={:.3}",
            self.rate,
            self.peer_rate,
            self.ratio()
        )?;
        let sides = [
            (queue.history.0, self.claims_ms),
            (queue.history.1, self.burdened_ms),
        ];
        for (history, (half, most)) in sides {
            writeln!(
                f,
                "claims: history={history} p50_ms={half:.2} p99_ms={most:.2}"
            )?;
        }
        writeln!(f, "claims: claim_p99_growth={:.3}", self.growth())?;
        writeln!(
            f,
            "log: wal_bytes_per_job={:.0} pgbench_wal_bytes_per_job={:.0}",
            self.wal, self.peer_wal
        )?;
        let (written, jobs) = (queue.written, queue.written_by);
        writeln!(
            f,
            "tables: jobs={jobs} superseded_per_job={:.2} hot_updates_per_job={:.2} dead_tuples={}",
            per_job(written.superseded, jobs),
            per_job(written.hot, jobs),
            written.dead
        )?;
        writeln!(
            f,
            "presence: heartbeats_per_s={:.0} fruitless_asks_per_s={:.0} idle={} jobs_per_s={:.0} kept={:.2}",
            queue.presence.beats,
            queue.presence.asks,
            queue.presence.idle,
            queue.presence.rate,
            queue.presence.rate / median(queue.burdened.iter().map(|round| round.rate))
        )?;
        writeln!(
            f,
            "stored: queued_job_bytes={:.0} done_job_bytes={:.0} epoch_bytes={:.0} point_bytes={:.0}",
            scale.job_bytes, queue.kept.job, queue.kept.epoch, queue.kept.point
        )?;
        writeln!(f, "counts: {}", self.counts)
    }
}

fn counts(scale: &Scale, tally: &Tally) -> String {
    format!(
        "cells={} previewed={} queued={} trainings={} evaluations={} pgbench_jobs={} history={}",
        scale.cells,
        scale.previewed,
        tally.queued,
        tally.trainings,
        tally.evaluations,
        2 * tally.peer_cells,
        tally.history
    )
}

/// The middle one; of an even number the upper.
pub fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_unstable_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The time that so many of 100 are not above.
fn below(times: &[Duration], hundredth: usize) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    let place = (times.len() * hundredth).div_ceil(100);
    let time = times.get(place.saturating_sub(1));
    time.copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hundredths_are_by_nearest_rank_and_medians_of_any_order() {
        let times: Vec<Duration> = (1..=200).rev().map(Duration::from_millis).collect();
        assert_eq!(below(&times, 50), Duration::from_millis(100));
        assert_eq!(below(&times, 99), Duration::from_millis(198));
        assert_eq!(below(&times[..1], 99), Duration::from_millis(200));
        assert!((median([3.0, 1.0, 2.0].into_iter()) - 2.0).abs() < f64::EPSILON);
    }
}
