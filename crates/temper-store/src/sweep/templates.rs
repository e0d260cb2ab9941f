//! What jobs have in common, stored once.

use std::collections::{HashMap, hash_map::Entry};

use serde_json::{Map, Value};
use temper_core::{
    Digest,
    expand::{Job, Kindred, Layout},
    key,
};

use crate::{StoreError, store::Tx, value::digest};

/// Ids of the templates of a layout.
pub(super) struct Templates(HashMap<Kindred, i32>);

impl Templates {
    /// Stores those that are new.
    pub async fn insert(tx: &mut Tx, layout: &Layout) -> Result<Self, StoreError> {
        let contents = contents(layout, layout.jobs())?;
        let of = |(kindred, content): (&Kindred, _)| (*kindred, key::digest_of(content));
        let digests: HashMap<Kindred, Digest> = contents.iter().map(of).collect();
        let rows = contents.into_iter().map(|(kindred, content)| {
            let digest = digests[&kindred].as_bytes().to_vec();
            (digest, Value::Object(content))
        });
        let (keys, contents): (Vec<Vec<u8>>, Vec<Value>) = rows.unzip();
        // In the order of their digests, so that two inserts take turns.
        sqlx::query!(
            "INSERT INTO temper.job_template (digest, content)
            SELECT * FROM unnest($1::bytea[], $2::jsonb[]) AS template (digest, content)
            ORDER BY digest ON CONFLICT DO NOTHING",
            &keys,
            &contents,
        )
        .execute(&mut **tx)
        .await?;
        let rows = sqlx::query!(
            "SELECT id, digest FROM temper.job_template WHERE digest = ANY($1)",
            &keys,
        )
        .fetch_all(&mut **tx)
        .await?;
        let ids = rows
            .into_iter()
            .map(|row| Ok((digest(&row.digest, "template digest")?, row.id)))
            .collect::<Result<HashMap<Digest, i32>, StoreError>>()?;
        let missing = || StoreError::corrupt("template", "it was not stored");
        let templates = digests.into_iter().map(|(kindred, digest)| {
            let id = ids.get(&digest).copied().ok_or_else(missing)?;
            Ok((kindred, id))
        });
        Ok(Self(templates.collect::<Result<_, StoreError>>()?))
    }

    /// The template of the layout's jobs that are so.
    pub fn of(&self, kindred: Kindred) -> Result<i32, StoreError> {
        let missing = || StoreError::corrupt("template", "there is none for a job");
        self.0.get(&kindred).copied().ok_or_else(missing)
    }
}

/// Digests of the templates of some of a layout's jobs, stored or not.
pub(super) fn digests<'a>(
    layout: &Layout,
    jobs: impl IntoIterator<Item = &'a Job>,
) -> Result<HashMap<Kindred, Digest>, StoreError> {
    let contents = contents(layout, jobs)?.into_iter();
    let digests = contents.map(|(kindred, content)| (kindred, key::digest_of(&content)));
    Ok(digests.collect())
}

fn contents<'a>(
    layout: &Layout,
    jobs: impl IntoIterator<Item = &'a Job>,
) -> Result<HashMap<Kindred, Map<String, Value>>, StoreError> {
    let mut contents = HashMap::new();
    for job in jobs {
        if let Entry::Vacant(place) = contents.entry(layout.kindred(job)) {
            place.insert(content(layout, job)?);
        }
    }
    Ok(contents)
}

/// The fields of a spec that are the same for all that are kindred.
fn content(layout: &Layout, job: &Job) -> Result<Map<String, Value>, StoreError> {
    let value = match layout.measurement(job) {
        None => serde_json::to_value(layout.training(job).to_spec()),
        Some(measurement) => serde_json::to_value(measurement),
    };
    let Value::Object(mut fields) = value.map_err(|error| StoreError::corrupt("spec", &error))?
    else {
        return Err(StoreError::corrupt("spec", "it is no object"));
    };
    if job.depends_on.is_none() {
        // These are the job's own.
        fields.remove("ramp");
        fields.remove("seed");
    }
    Ok(fields)
}
