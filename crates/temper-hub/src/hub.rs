//! The hub and the cache as callers see them.

use std::{path::PathBuf, sync::Arc};

use temper_core::Digest;
use tokio::sync::OnceCell;

use crate::{
    HubConfig, HubError, RepoKind, RepoSnapshot, api,
    cache::{Entry, RepoCache, blocking},
    download::{Download, OnProgress, mismatch},
    http::Http,
    name::{Commit, FilePath, Repo, Revision},
    verify::{self, Finding},
};

/// A hub, and the cache of what came from it. Clones share their connections.
#[derive(Debug, Clone)]
pub struct Hub {
    config: HubConfig,
    /// Made when it is first needed: reading the system's certificates takes a while, and what is
    /// in the cache needs none.
    http: Arc<OnceCell<Http>>,
}

/// A file of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// What the repository holds.
    pub kind: RepoKind,
    /// `owner/name`.
    pub repo: &'a str,
    /// 40 hexadecimal digits, as [`Hub::resolve`] gives them.
    pub commit: &'a str,
    /// Path in the repository, with `/` between its parts.
    pub file: &'a str,
    /// The digest that the caller knows the file by.
    pub expected: Option<Digest>,
}

/// The same, checked.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) repo: Repo,
    pub(crate) commit: Commit,
    pub(crate) file: FilePath,
    pub(crate) expected: Option<Digest>,
}

impl Hub {
    /// A client by `config`. Nothing is sent and no folder is made yet.
    #[must_use]
    pub fn new(config: HubConfig) -> Self {
        Self {
            config,
            http: Arc::default(),
        }
    }

    /// How it was made.
    #[must_use]
    pub fn config(&self) -> &HubConfig {
        &self.config
    }

    /// The commit that `revision` (a branch, tag, ref or commit) of `repo` (`owner/name`) means
    /// now, with the files of it; noted in the cache for later calls offline.
    ///
    /// Offline it is what the cache last noted, and the files are those that the cache holds.
    ///
    /// # Errors
    /// `BadName`; `Offline` if the cache has no note of it; what the hub refuses; network errors
    /// after the retries; `Client` and `BadSetting` if system or token are unfit for requests.
    pub async fn resolve(
        &self,
        kind: RepoKind,
        repo: &str,
        revision: &str,
    ) -> Result<RepoSnapshot, HubError> {
        let repo = Repo::parse(kind, repo)?;
        let revision = Revision::parse(revision)?;
        let cache = RepoCache::new(&self.config.cache, &repo);
        if self.config.offline {
            return blocking(move || api::resolve_offline(&cache, &repo, &revision)).await;
        }
        let http = self.http().await?;
        api::resolve(http, &self.config.retry, (&repo, &revision), cache).await
    }

    /// The path of a file in the cache, downloaded first if it is not there.
    ///
    /// With `expected` the bytes are read once more and held against it, whoever put them there.
    /// Without, a file that another client left in the cache is taken as it is. Dropping the future
    /// stops the download; the next call goes on from there.
    ///
    /// # Errors
    /// `BadName`; `Offline` if it is not in the cache; what the hub refuses; `DiskFull`;
    /// `DigestMismatch`, at once if the hub names another digest than `expected`, else after a
    /// second download; network errors and `Truncated` after the retries; `Client` and `BadSetting`
    /// if system or token are unfit for requests.
    pub async fn fetch(
        &self,
        wanted: &Wanted<'_>,
        progress: OnProgress<'_>,
    ) -> Result<PathBuf, HubError> {
        let target = Target::parse(wanted)?;
        let cache = RepoCache::new(&self.config.cache, &target.repo);
        if let Some(path) = self.cached(&cache, &target).await? {
            tracing::debug!(path = %path.display(), "the file is in the cache");
            return Ok(path);
        }
        if self.config.offline {
            return Err(HubError::Offline {
                wanted: format!("`{}` of `{}`", target.file.as_str(), target.repo),
                cache: cache.root().to_owned(),
                pinnable: false,
            });
        }
        let download = Download {
            http: self.http().await?,
            retry: &self.config.retry,
            cache: &cache,
            target: &target,
            progress,
        };
        download.run().await
    }

    async fn http(&self) -> Result<&Http, HubError> {
        let make = async || {
            let config = self.config.clone();
            blocking(move || Http::new(&config)).await
        };
        self.http.get_or_try_init(make).await
    }

    /// The file if it is in the cache and as expected. Damaged bytes count as absent, unless
    /// there is no network to mend them.
    async fn cached(
        &self,
        cache: &RepoCache,
        target: &Target,
    ) -> Result<Option<PathBuf>, HubError> {
        let (cache, wanted) = (cache.clone(), target.clone());
        let found = blocking(move || {
            let Some(entry) = cache.find(&wanted.commit, &wanted.file) else {
                return Ok(None);
            };
            let finding = wanted.check(&entry)?;
            Ok(Some((entry, finding)))
        });
        let Some((entry, finding)) = found.await? else {
            return Ok(None);
        };
        match mismatch(&target.file, finding) {
            None => Ok(Some(entry.path)),
            Some((error, true)) if !self.config.offline => {
                tracing::warn!(%error, "the cache is damaged: the file is fetched again");
                Ok(None)
            }
            Some((error, _)) => Err(error),
        }
    }
}

impl Target {
    fn parse(wanted: &Wanted<'_>) -> Result<Self, HubError> {
        Ok(Self {
            repo: Repo::parse(wanted.kind, wanted.repo)?,
            commit: Commit::parse(wanted.commit)?,
            file: FilePath::parse(wanted.file)?,
            expected: wanted.expected,
        })
    }

    fn check(&self, entry: &Entry) -> Result<Finding, HubError> {
        match self.expected {
            None => Ok(Finding::Right),
            Some(expected) => match entry.etag.contradiction(expected) {
                Some(finding) => Ok(finding),
                None => verify::check(&entry.path, &entry.etag, self.expected)
                    .map_err(HubError::io(&entry.path)),
            },
        }
    }
}
