use temper_core::{
    Digest,
    job::{JobKind, JobState},
    spec::Selection,
};

use crate::{
    JobId, Store, StoreError,
    value::{digest, named, stored},
};

/// A trained model in the object store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Path in the object store.
    pub path: String,
    /// SHA-256 of the bytes.
    pub sha256: Digest,
    /// Length in bytes.
    pub size: u64,
}

impl Store {
    /// The model that a training made; the last one where the best is asked for and none is stored.
    ///
    /// # Errors
    /// `NotFound` without such a job, `NoResult` while it has made none.
    pub async fn artifact_get(
        &self,
        job: JobId,
        selection: Selection,
    ) -> Result<Artifact, StoreError> {
        let record = sqlx::query_as!(
            ArtifactRecord,
            "SELECT path, sha256, size FROM temper.artifact
            WHERE job_id = $1 AND selection IN ($2, 'last') ORDER BY selection = $2 DESC LIMIT 1",
            job.0,
            selection.as_str(),
        )
        .fetch_optional(&self.pool)
        .await?;
        match record {
            Some(record) => record.into_artifact(),
            None => Err(no_result(self, job, "trained model").await),
        }
    }
}

pub(crate) struct ArtifactRecord {
    pub(crate) path: String,
    pub(crate) sha256: Vec<u8>,
    pub(crate) size: i64,
}

impl ArtifactRecord {
    pub(crate) fn into_artifact(self) -> Result<Artifact, StoreError> {
        let sha256 = digest(&self.sha256, "digest of an artifact")?;
        Ok(Artifact {
            path: self.path,
            sha256,
            size: stored(self.size, "size")?,
        })
    }
}

/// Why a job has no such result: there is no such job, or it is of another kind or not done.
pub(crate) async fn no_result(store: &Store, job: JobId, what: &'static str) -> StoreError {
    let found = sqlx::query!("SELECT kind, state FROM temper.job WHERE id = $1", job.0)
        .fetch_optional(&store.pool)
        .await;
    let refusal = |row: Option<(String, String)>| {
        let Some((kind, state)) = row else {
            return Ok(StoreError::not_found("job", &job));
        };
        let kind = named(JobKind::from_name, &kind, "job kind")?;
        let state = named(JobState::from_name, &state, "job state")?;
        Ok(StoreError::NoResult {
            job,
            kind,
            state,
            what,
        })
    };
    match found {
        Ok(row) => refusal(row.map(|row| (row.kind, row.state))).unwrap_or_else(|error| error),
        Err(error) => error.into(),
    }
}
