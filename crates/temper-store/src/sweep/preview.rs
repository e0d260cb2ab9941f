use std::collections::HashMap;

use temper_core::{
    Digest,
    expand::{Job, Kindred, Layout, Sample},
    job::JobState,
};

use super::templates;
use crate::{
    Store, StoreError,
    value::{digest, named},
};

/// What a sweep would come to.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SweepPreview {
    /// Jobs that were looked up.
    pub looked_up: u64,
    /// Jobs that are there already; an estimate unless all were looked up, like what follows.
    pub shared: u64,
    /// Jobs with results.
    pub succeeded: u64,
    /// Seconds of a device that the jobs without results may take, from attempts at jobs that
    /// differ in ramp and seed alone.
    pub device_seconds: f64,
    /// Jobs without results of which nothing such was ever run.
    pub without_estimate: u64,
}

/// What a job is and what its training is, each like others.
type Alike = (Kindred, Kindred);

impl Store {
    /// Looks up what of a sweep is there already, and what the rest may take.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sweep_preview(
        &self,
        layout: &Layout,
        sample: &Sample,
    ) -> Result<SweepPreview, StoreError> {
        let states = self.job_states(&sample.keys).await?;
        let (mut shared, mut succeeded) = (0_u64, 0_u64);
        let mut to_do: HashMap<Alike, (u64, &Job)> = HashMap::new();
        for (&job, key) in sample.jobs.iter().zip(&sample.keys) {
            let state = states.get(key);
            shared += u64::from(state.is_some());
            if state == Some(&JobState::Succeeded) {
                succeeded += 1;
                continue;
            }
            let job = &layout.jobs()[job as usize];
            let alike = (layout.kindred(job), layout.kindred_training(job));
            to_do.entry(alike).or_insert((0, job)).0 += 1;
        }
        let (device_seconds, without_estimate) = self.seconds(layout, &to_do).await?;
        let scale = Scale::of(layout.jobs().len(), sample.jobs.len());
        Ok(SweepPreview {
            looked_up: sample.jobs.len() as u64,
            shared: scale.count(shared),
            succeeded: scale.count(succeeded),
            device_seconds: scale.0 * device_seconds,
            without_estimate: scale.count(without_estimate),
        })
    }

    /// States of those of the keys that there are.
    async fn job_states(&self, keys: &[Digest]) -> Result<HashMap<Digest, JobState>, StoreError> {
        let keys: Vec<Vec<u8>> = keys.iter().map(|key| key.as_bytes().to_vec()).collect();
        let rows = sqlx::query!(
            "SELECT key, state FROM temper.job WHERE key = ANY($1)",
            &keys
        )
        .fetch_all(&self.pool)
        .await?;
        let states = rows.into_iter().map(|row| {
            let state = named(JobState::from_name, &row.state, "job state")?;
            Ok((digest(&row.key, "job key")?, state))
        });
        states.collect()
    }

    /// Seconds that jobs may take, so many of each kind, and how many are left out for want of
    /// others like them. Of each kind the means of at most 20 are taken.
    async fn seconds(
        &self,
        layout: &Layout,
        to_do: &HashMap<Alike, (u64, &Job)>,
    ) -> Result<(f64, u64), StoreError> {
        let jobs = to_do.values().flat_map(|(_, job)| {
            let training = job.depends_on.map(|train| &layout.jobs()[train as usize]);
            std::iter::once(*job).chain(training)
        });
        let digests = templates::digests(layout, jobs)?;
        let bytes = |kindred: &Kindred| digests[kindred].as_bytes().to_vec();
        let kinds: Vec<(Vec<u8>, Vec<u8>)> = to_do
            .keys()
            .map(|(own, training)| (bytes(own), bytes(training)))
            .collect();
        let (own, trainings): (Vec<_>, Vec<_>) = kinds.into_iter().unzip();
        let means = sqlx::query_scalar!(
            "SELECT (
                SELECT avg(past.device_seconds) FROM (
                    SELECT summary.device_seconds
                    FROM temper.job JOIN temper.job_summary AS summary ON summary.job_id = job.id
                    LEFT JOIN temper.job_dependency AS dependency ON dependency.job_id = job.id
                    JOIN temper.job AS train ON train.id = coalesce(dependency.depends_on, job.id)
                    WHERE job.template_id = own.id AND train.template_id = training.id
                        AND job.state = 'succeeded'
                    LIMIT 20
                ) AS past
            ) AS seconds
            FROM unnest($1::bytea[], $2::bytea[]) WITH ORDINALITY AS kind (own, training, place)
            LEFT JOIN temper.job_template AS own ON own.digest = kind.own
            LEFT JOIN temper.job_template AS training ON training.digest = kind.training
            ORDER BY kind.place",
            &own,
            &trainings,
        )
        .fetch_all(&self.pool)
        .await?;
        let (mut seconds, mut unknown) = (0.0, 0);
        for ((count, _), mean) in to_do.values().zip(means) {
            match mean {
                #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
                Some(mean) => seconds += mean * *count as f64,
                None => unknown += count,
            }
        }
        Ok((seconds, unknown))
    }
}

/// By what a sample's counts grow to those of all.
struct Scale(f64);

impl Scale {
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    fn of(all: usize, sample: usize) -> Self {
        Self(all as f64 / sample.max(1) as f64)
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts are not negative and far below 2^53"
    )]
    fn count(&self, count: u64) -> u64 {
        (count as f64 * self.0).round() as u64
    }
}
