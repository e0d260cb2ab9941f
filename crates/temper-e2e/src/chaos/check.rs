//! What is left at the end, from the tables and the object store themselves.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context as _, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use temper_core::{Digest, key, spec::JobSpec};
use temper_service::objects::Objects;
use temper_store::{
    Store,
    testing::tables::{AttemptRecord, JobRecord, ObjectRecord, Tables},
};

use super::truth::{self, State};

/// Times are those of the beginnings of transactions, which may overlap by so much.
const OVERLAP: TimeDelta = TimeDelta::milliseconds(50);

/// What a job's result has to be.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Expected {
    /// A number of each epoch.
    pub losses: Vec<f64>,
    /// Correct samples at each point.
    pub correct: Vec<i32>,
    /// Digest of the model.
    pub model: Option<Vec<u8>>,
}

/// Results by key.
pub type Reference = HashMap<Vec<u8>, Expected>;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Jobs without an accepted result.
    pub lost: usize,
    /// Results that were accepted beyond one a job.
    pub duplicates: usize,
    /// All that is not as it should be, those included.
    pub wrong: Vec<String>,
}

impl Findings {
    /// Fails when something is wrong.
    ///
    /// # Errors
    /// Names the first.
    pub fn verdict(&self) -> anyhow::Result<()> {
        let Self {
            lost,
            duplicates,
            wrong,
        } = self;
        let first = wrong.first().map_or("", String::as_str);
        ensure!(
            wrong.is_empty(),
            "lost={lost} duplicates={duplicates} wrong={} first: {first}",
            wrong.len()
        );
        Ok(())
    }

    fn require(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.wrong.push(what());
        }
    }
}

/// What the fake trainer must have yielded.
#[must_use]
pub fn truth_of(tables: &Tables) -> Reference {
    let of = |job: &JobRecord| {
        let expected = match &job.spec.0 {
            JobSpec::Train(spec) => {
                let key = key::training_key(spec);
                let states = (1..=spec.training.epochs).map(|n| State::after(&key, n));
                let model = State::after(&key, spec.training.epochs).model();
                Expected {
                    losses: states.map(|state| state.metrics().train_loss).collect(),
                    correct: Vec::new(),
                    model: Some(Digest::of(&model).as_bytes().to_vec()),
                }
            }
            JobSpec::Evaluate(spec) => {
                let (key, train) = (key::evaluation_key(spec), key::training_key(&spec.train));
                let model = State::after(&train, spec.train.training.epochs).model();
                let points = truth::points(&key, &model, &spec.grid, spec.samples);
                let correct = points
                    .iter()
                    .map(|p| i32::try_from(p.correct).unwrap_or(-1));
                Expected {
                    correct: correct.collect(),
                    ..Expected::default()
                }
            }
        };
        (job.key.clone(), expected)
    };
    tables.jobs.iter().map(of).collect()
}

/// What is there, to compare another run with.
#[must_use]
pub fn results_of(tables: &Tables) -> Reference {
    let of = |job: &JobRecord| {
        let epochs = tables.epochs.iter().filter(|row| row.job_id == job.id);
        let points = tables.points.iter().filter(|row| row.job_id == job.id);
        let model = tables.artifacts.iter().find(|row| row.job_id == job.id);
        let expected = Expected {
            losses: epochs.map(|row| row.train_loss).collect(),
            correct: points.map(|row| row.correct).collect(),
            model: model.map(|row| row.sha256.clone()),
        };
        (job.key.clone(), expected)
    };
    tables.jobs.iter().map(of).collect()
}

/// Looks at the tables: `jobs` of them there must be, with the results of `reference`.
#[must_use]
pub fn tables(tables: &Tables, jobs: usize, reference: &Reference) -> Findings {
    let mut found = Findings::default();
    let succeeded = tables.jobs.iter().filter(|job| job.state == "succeeded");
    found.lost = jobs.saturating_sub(succeeded.count());
    let are = tables.jobs.len();
    found.require(are == jobs, || format!("there are {are} jobs, not {jobs}"));
    let results = results_of(tables);
    for job in &tables.jobs {
        let attempts: Vec<_> = of_job(&tables.attempts, job.id).collect();
        one_job(&mut found, job, &attempts);
        let (is, must) = (results.get(&job.key), reference.get(&job.key));
        found.require(is == must && is.is_some(), || {
            format!("job {} has {is:?}, not {must:?}", job.id)
        });
    }
    writers(&mut found, tables);
    let dangling = &tables.dangling;
    found.require(dangling.is_empty(), || format!("{dangling:?} lead nowhere"));
    found
}

/// One result, of the last lease, and nothing left open.
fn one_job(found: &mut Findings, job: &JobRecord, attempts: &[&AttemptRecord]) {
    let is_accepted = |a: &&&AttemptRecord| a.outcome.as_deref() == Some("succeeded");
    let accepted: Vec<_> = attempts.iter().filter(is_accepted).collect();
    let summaries = usize::try_from(job.summaries).unwrap_or_default();
    found.duplicates += accepted.len().max(summaries).saturating_sub(1);
    let id = job.id;
    found.require(job.state == "succeeded", || {
        format!("job {id} is {}: {}", job.state, job.message)
    });
    found.require(accepted.len() == 1 && summaries == 1, || {
        format!("job {id} has {} results", accepted.len())
    });
    found.require(accepted.iter().all(|a| a.fence == job.fence), || {
        format!("the result of job {id} is not of its last lease")
    });
    found.require(job.leases == 0, || format!("job {id} is leased still"));
    for attempt in attempts {
        let ended = attempt.outcome.as_deref().unwrap_or("running");
        found.require(["succeeded", "lost", "released"].contains(&ended), || {
            format!("an attempt at job {id} has {ended}: {}", attempt.message)
        });
    }
}

/// No row was written under a lease that was over, and results are those of the accepted attempt.
fn writers(found: &mut Findings, tables: &Tables) {
    let attempts: BTreeMap<_, _> = tables
        .attempts
        .iter()
        .map(|attempt| ((attempt.job_id, attempt.fence), attempt))
        .collect();
    let mut in_time = |what: &str, of: (i64, i64), at: DateTime<Utc>, accepted: bool| {
        let attempt = attempts.get(&of);
        let held = attempt.is_some_and(|attempt| {
            attempt.started_at <= at && attempt.ended_at.is_some_and(|end| at <= end + OVERLAP)
        });
        let outcome = attempt.and_then(|attempt| attempt.outcome.as_deref());
        found.require(held && (!accepted || outcome == Some("succeeded")), || {
            format!(
                "a late writer's {what} of job {} under fence {}",
                of.0, of.1
            )
        });
    };
    for row in &tables.epochs {
        in_time("epoch", (row.job_id, row.fence), row.reported_at, false);
    }
    for row in &tables.checkpoints {
        in_time("checkpoint", (row.job_id, row.fence), row.at, false);
    }
    for row in &tables.artifacts {
        in_time("model", (row.job_id, row.fence), row.at, true);
    }
}

/// Reads what the tables say lies in the object store: every model, and every checkpoint that is not
/// being deleted.
///
/// # Errors
/// When a row makes no sense, or the tables cannot be read once more.
pub async fn objects(
    found: &mut Findings,
    tables: &Tables,
    store: &Store,
    objects: &Objects,
) -> anyhow::Result<()> {
    let mut unreadable = Vec::new();
    for row in promised(tables) {
        let ObjectRecord { path, sha256, .. } = row;
        let digest = Digest::try_from(&sha256[..]).context("a digest of another length")?;
        if let Err(error) = objects.get(path, digest, u64::try_from(row.size)?).await {
            unreadable.push((path, error));
        }
    }
    // Janitors are at work meanwhile. Rows are condemned before bytes go: what is promised still is wrong.
    let now = Tables::read(store).await?;
    unreadable.retain(|(path, _)| promised(&now).any(|row| row.path == **path));
    for (path, error) in unreadable {
        found.wrong.push(format!("{path}: {error:?}"));
    }
    Ok(())
}

fn promised(tables: &Tables) -> impl Iterator<Item = &ObjectRecord> {
    let kept = tables.checkpoints.iter().filter(|row| !row.condemned);
    tables.artifacts.iter().chain(kept)
}

fn of_job(attempts: &[AttemptRecord], job: i64) -> impl Iterator<Item = &AttemptRecord> {
    attempts.iter().filter(move |attempt| attempt.job_id == job)
}

#[cfg(test)]
mod tests {
    use temper_store::testing::tables::EpochRecord;
    use uuid::Uuid;

    use super::*;

    fn second(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    /// An attempt from second 0 to second 10, and what it wrote at `at`.
    fn written(outcome: &str, at: i64) -> Tables {
        let attempt = AttemptRecord {
            job_id: 1,
            fence: 3,
            worker: "worker".to_owned(),
            incarnation: Uuid::nil(),
            started_at: second(0),
            ended_at: Some(second(10)),
            outcome: Some(outcome.to_owned()),
            message: String::new(),
        };
        let epoch = EpochRecord {
            job_id: 1,
            epoch: 0,
            fence: 3,
            train_loss: 0.5,
            reported_at: second(at),
        };
        let model = ObjectRecord {
            job_id: 1,
            fence: 3,
            path: "key/3/model.safetensors".to_owned(),
            sha256: vec![0; 32],
            size: 1,
            at: second(at),
            condemned: false,
        };
        Tables {
            attempts: vec![attempt],
            epochs: vec![epoch],
            artifacts: vec![model],
            ..Tables::default()
        }
    }

    #[test]
    fn rows_of_late_writers_are_found() {
        let wrong = |tables| {
            let mut found = Findings::default();
            writers(&mut found, &tables);
            found.wrong.len()
        };
        assert_eq!(wrong(written("succeeded", 10)), 0);
        assert_eq!(wrong(written("succeeded", 11)), 2);
        // A lost attempt's epochs may stay, its model may not.
        assert_eq!(wrong(written("lost", 9)), 1);
    }

    #[test]
    fn bytes_are_promised_of_models_and_of_checkpoints_that_are_not_condemned() {
        let tables = written("succeeded", 1);
        let checkpoint = |path: &str, condemned| ObjectRecord {
            path: path.to_owned(),
            condemned,
            ..tables.artifacts[0].clone()
        };
        let tables = Tables {
            checkpoints: vec![checkpoint("key/3/2", true), checkpoint("key/3/4", false)],
            ..tables.clone()
        };
        let paths: Vec<_> = promised(&tables).map(|row| row.path.as_str()).collect();
        assert_eq!(paths, ["key/3/model.safetensors", "key/3/4"]);
    }

    #[test]
    fn jobs_that_are_not_there_are_lost() {
        let found = tables(&Tables::default(), 2, &Reference::new());
        assert_eq!((found.lost, found.wrong.len()), (2, 1));
    }
}
