//! What is hurt and when: a pure function of the seed. *When* is a count of jobs that have succeeded, so
//! that a slow machine is hurt at the same places of the work as a fast one. Which job a worker has in
//! hand by then is the system's own affair.

use rand::{SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;

/// One thing that goes wrong. Workers and coordinators are named by their places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Injury {
    /// SIGKILL to a worker that holds a job; another process takes its place.
    KillWorker(usize),
    /// SIGSTOP to a worker that holds a job, SIGCONT once another has the job.
    StopWorker(usize),
    /// A worker's Complete lies on the line until another has the job, and then arrives.
    DelayComplete {
        /// Which worker.
        worker: usize,
        /// Whether it is stopped meanwhile.
        stopped: bool,
    },
    /// Every connection of a worker is dropped.
    CutWorker(usize),
    /// SIGKILL to a coordinator; another process takes its place after a while.
    KillCoordinator(usize),
    /// Every connection of a coordinator to PostgreSQL is dropped.
    CutDatabase(usize),
    /// PostgreSQL is restarted: in order, or as by a crash.
    RestartPostgres {
        /// Whether it has to recover.
        crashed: bool,
    },
    /// PostgreSQL ends every backend.
    TerminateBackends,
}

/// An injury with its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Jobs that have succeeded by then.
    pub after: i64,
    /// What happens.
    pub injury: Injury,
}

/// How often each thing happens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Doses {
    /// Workers killed.
    pub worker_kills: usize,
    /// Workers stopped past their lease, at any time.
    pub stops: usize,
    /// Completes delayed, of workers that are stopped meanwhile and of others in turn.
    pub delays: usize,
    /// Workers cut off.
    pub worker_cuts: usize,
    /// Coordinators killed.
    pub coordinator_kills: usize,
    /// Coordinators cut off their database.
    pub database_cuts: usize,
    /// PostgreSQL restarted, by a crash and in order in turn.
    pub restarts: usize,
    /// Backends terminated.
    pub terminations: usize,
}

/// Who can be hurt, and how much work there is to do it in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Jobs in all.
    pub jobs: i64,
    /// Worker processes.
    pub workers: usize,
    /// Coordinator processes.
    pub coordinators: usize,
}

/// The plan of a seed: all doses in a random order, spread over the first part of the work. Workers take
/// turns, and so do coordinators.
#[must_use]
pub fn plan(seed: u64, doses: Doses, field: Field) -> Vec<Step> {
    let mut kinds = kinds(doses);
    kinds.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let (mut workers, mut coordinators) = (turns(field.workers), turns(field.coordinators));
    let mut worker = || workers.next().unwrap_or_default();
    let mut coordinator = || coordinators.next().unwrap_or_default();
    let count = i64::try_from(kinds.len()).unwrap_or(i64::MAX).max(1);
    // Begins when some work is done, and ends while there is enough left for the last to be felt.
    let (first, last) = (field.jobs / 20, field.jobs * 3 / 5);
    let placed = kinds.into_iter().zip(0..).map(|(kind, place)| Step {
        after: first + (last - first) * place / count,
        injury: match kind {
            Injury::KillWorker(_) => Injury::KillWorker(worker()),
            Injury::StopWorker(_) => Injury::StopWorker(worker()),
            Injury::CutWorker(_) => Injury::CutWorker(worker()),
            Injury::DelayComplete { stopped, .. } => Injury::DelayComplete {
                worker: worker(),
                stopped,
            },
            Injury::KillCoordinator(_) => Injury::KillCoordinator(coordinator()),
            Injury::CutDatabase(_) => Injury::CutDatabase(coordinator()),
            other @ (Injury::RestartPostgres { .. } | Injury::TerminateBackends) => other,
        },
    });
    placed.collect()
}

/// Every injury, of nobody in particular.
fn kinds(doses: Doses) -> Vec<Injury> {
    let same = |injury, count| vec![injury; count];
    let delay = |place: usize| Injury::DelayComplete {
        worker: 0,
        stopped: place.is_multiple_of(2),
    };
    let restart = |place: usize| Injury::RestartPostgres {
        crashed: place.is_multiple_of(2),
    };
    [
        same(Injury::KillWorker(0), doses.worker_kills),
        same(Injury::StopWorker(0), doses.stops),
        (0..doses.delays).map(delay).collect(),
        same(Injury::CutWorker(0), doses.worker_cuts),
        same(Injury::KillCoordinator(0), doses.coordinator_kills),
        same(Injury::CutDatabase(0), doses.database_cuts),
        (0..doses.restarts).map(restart).collect(),
        same(Injury::TerminateBackends, doses.terminations),
    ]
    .concat()
}

fn turns(count: usize) -> impl Iterator<Item = usize> {
    (0..count).cycle()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOSES: Doses = Doses {
        worker_kills: 9,
        stops: 5,
        delays: 3,
        worker_cuts: 2,
        coordinator_kills: 3,
        database_cuts: 1,
        restarts: 2,
        terminations: 1,
    };
    const FIELD: Field = Field {
        jobs: 100,
        workers: 4,
        coordinators: 2,
    };

    #[test]
    fn seed_alone_decides() {
        assert_eq!(plan(7, DOSES, FIELD), plan(7, DOSES, FIELD));
        assert_ne!(plan(7, DOSES, FIELD), plan(8, DOSES, FIELD));
    }

    #[test]
    fn every_dose_is_given_in_time_and_to_somebody_who_is_there() {
        let steps = plan(3, DOSES, FIELD);
        assert_eq!(steps.len(), 26);
        assert!(steps.is_sorted_by_key(|step| step.after));
        assert!(steps.iter().all(|step| (5..=60).contains(&step.after)));
        let count = |wanted: fn(&Injury) -> bool| {
            let found = steps.iter().filter(|step| wanted(&step.injury));
            found.count()
        };
        assert_eq!(count(|i| matches!(i, Injury::KillWorker(0..4))), 9);
        assert_eq!(count(|i| matches!(i, Injury::KillCoordinator(0..2))), 3);
        let crashed = |i: &Injury| matches!(i, Injury::RestartPostgres { crashed: true });
        assert_eq!(count(crashed), 1);
        let stopped = |i: &Injury| matches!(i, Injury::DelayComplete { stopped: true, .. });
        assert_eq!(count(stopped), 2);
    }
}
