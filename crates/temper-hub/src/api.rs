//! What a revision is, by the hub's API (`/api/models/{repo}/revision/{revision}?blobs=true`) or by
//! the cache.

use serde::Deserialize;
use temper_core::{Digest, catalog::Snapshot};

use crate::{
    HubError, RetryPolicy,
    cache::{RepoCache, blocking},
    http::{Http, Subject, shown},
    name::{Commit, FilePath, Repo, Revision},
    retry::Patience,
};

/// A repository at a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoSnapshot {
    /// The commit: 40 lower-case hexadecimal digits.
    pub commit: String,
    /// Its files.
    pub files: Vec<RepoFile>,
}

impl From<RepoSnapshot> for Snapshot {
    fn from(found: RepoSnapshot) -> Self {
        let files = found.files.into_iter();
        Self {
            commit: found.commit.parse().ok(),
            files: files.map(|file| (file.path, file.sha256)).collect(),
        }
    }
}

/// A file of a repository at a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoFile {
    /// Path in the repository, with `/` between its parts.
    pub path: String,
    /// Length in bytes, where the hub says it.
    pub size: Option<u64>,
    /// Digest of the content, of files in large file storage.
    pub sha256: Option<Digest>,
    /// Git's SHA-1 of the content, or of the pointer that stands for it in git where `sha256` is
    /// there: 40 hexadecimal digits.
    pub blob_id: Option<String>,
}

/// The hub's answer, as far as it is used.
#[derive(Deserialize)]
struct Info {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: Digest,
}

/// Asks the hub, and notes the answer in the cache.
pub(crate) async fn resolve(
    http: &Http,
    retry: &RetryPolicy,
    (repo, revision): (&Repo, &Revision),
    cache: RepoCache,
) -> Result<RepoSnapshot, HubError> {
    let mut patience = Patience::new(retry);
    let (commit, snapshot) = loop {
        match ask(http, repo, revision).await {
            Ok(answer) => break answer,
            Err(error) => patience.wait(error).await?,
        }
    };
    if revision.commit().is_none() {
        let revision = revision.clone();
        let noted = blocking(move || cache.write_ref(&revision, &commit)).await;
        if let Err(error) = noted {
            // The answer is right all the same; only offline it will be missed.
            tracing::warn!(%error, "the cache does not note what a revision means");
        }
    }
    Ok(snapshot)
}

/// What the cache knows.
pub(crate) fn resolve_offline(
    cache: &RepoCache,
    repo: &Repo,
    revision: &Revision,
) -> Result<RepoSnapshot, HubError> {
    let commit = revision
        .commit()
        .or_else(|| cache.read_ref(revision))
        .ok_or_else(|| HubError::Offline {
            wanted: format!("what revision `{}` of `{repo}` means", revision.as_str()),
            cache: cache.root().to_owned(),
            pinnable: true,
        })?;
    Ok(RepoSnapshot {
        files: cache.files(&commit)?,
        commit: commit.as_str().to_owned(),
    })
}

async fn ask(
    http: &Http,
    repo: &Repo,
    revision: &Revision,
) -> Result<(Commit, RepoSnapshot), HubError> {
    let [owner, name] = repo.parts();
    let mut url = http.endpoint().below([
        "api",
        repo.kind.plural(),
        owner,
        name,
        "revision",
        revision.as_str(),
    ]);
    url.set_query(Some("blobs=true"));
    let about = Subject {
        repo,
        revision: revision.as_str(),
        file: None,
    };
    let response = http.get(url, 0, about).await?;
    let url = shown(response.url());
    let body = response.bytes().await.map_err(|source| HubError::Network {
        url: url.clone(),
        source: source.without_url(),
    })?;
    let bad = |reason: String| HubError::Protocol {
        url: url.clone(),
        reason,
    };
    let info: Info = serde_json::from_slice(&body).map_err(|error| bad(error.to_string()))?;
    let commit = Commit::parse(&info.sha)
        .map_err(|_| bad(format!("its `sha` is `{}`, which is no commit", info.sha)))?;
    let snapshot = RepoSnapshot {
        commit: commit.as_str().to_owned(),
        files: info.siblings.into_iter().filter_map(RepoFile::of).collect(),
    };
    Ok((commit, snapshot))
}

impl RepoFile {
    /// None for a path that could not be fetched.
    fn of(sibling: Sibling) -> Option<Self> {
        let path = FilePath::parse(&sibling.rfilename).ok()?;
        Some(Self {
            path: path.as_str().to_owned(),
            size: sibling.size,
            sha256: sibling.lfs.map(|lfs| lfs.sha256),
            blob_id: sibling.blob_id,
        })
    }
}
