//! One file from the hub to the cache: asked about, locked, fetched, checked, named.

use std::{
    io,
    path::{Path, PathBuf},
};

use reqwest::{Response, header};

use crate::{
    Authority, HubError, RepoKind, RetryPolicy,
    cache::{RepoCache, blocking, remove},
    http::{Http, LINKED_ETAG, Subject, shown, text},
    hub::Target,
    name::FilePath,
    retry::Patience,
    verify::{self, Etag, Finding},
};

/// Told of progress; called from the downloading task, so it should be quick.
pub type OnProgress<'a> = &'a (dyn Fn(Progress<'_>) + Sync);

/// How far a download is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The file's path in its repository.
    pub file: &'a str,
    /// Bytes that are here, those of earlier calls included.
    pub done: u64,
    /// Bytes of the whole, if known.
    pub total: Option<u64>,
}

/// All that a download needs.
pub(crate) struct Download<'a> {
    pub(crate) http: &'a Http,
    pub(crate) retry: &'a RetryPolicy,
    pub(crate) cache: &'a RepoCache,
    pub(crate) target: &'a Target,
    pub(crate) progress: OnProgress<'a>,
}

/// What the hub says of a file before it is fetched.
pub(crate) struct About {
    pub(crate) etag: Etag,
    pub(crate) size: Option<u64>,
}

impl Download<'_> {
    pub(crate) async fn run(&self) -> Result<PathBuf, HubError> {
        let about = self.ask().await?;
        if let Some(expected) = self.target.expected
            && let Some(finding) = about.etag.contradiction(expected)
            && let Some((error, _)) = mismatch(&self.target.file, finding)
        {
            return Err(error);
        }
        let cache = self.cache.clone();
        blocking(move || cache.prepare()).await?;
        let _lock = self.cache.lock(&about.etag).await?;
        if !self.is_here(&about).await? {
            self.transfer(&about).await?;
        }
        let (cache, target) = (self.cache.clone(), self.target.clone());
        blocking(move || cache.link(&target.commit, &target.file, &about.etag)).await
    }

    /// Asks for digest and length.
    async fn ask(&self) -> Result<About, HubError> {
        let mut patience = Patience::new(self.retry);
        loop {
            match self.http.head(self.url(), self.subject()).await {
                Ok(response) => return self.about(&response),
                Err(error) => patience.wait(error).await?,
            }
        }
    }

    fn about(&self, response: &Response) -> Result<About, HubError> {
        let headers = response.headers();
        let bad = |reason: String| HubError::Protocol {
            url: shown(response.url()),
            reason,
        };
        let commit = text(headers, "x-repo-commit");
        if let Some(other) = commit.filter(|commit| *commit != self.target.commit.as_str()) {
            return Err(bad(format!("the file is of commit {other}")));
        }
        let etag = text(headers, LINKED_ETAG).or_else(|| text(headers, header::ETAG.as_str()));
        let size = |name| text(headers, name)?.parse().ok();
        Ok(About {
            etag: etag
                .and_then(Etag::parse)
                .ok_or_else(|| bad("it gives no usable ETag".to_owned()))?,
            // Of a HEAD, a length of 0 may as well mean that nobody counted.
            size: size("x-linked-size").or_else(|| size("content-length").filter(|size| *size > 0)),
        })
    }

    /// Whether the bytes came while the lock was waited for, or with another commit. Damaged ones
    /// are removed.
    async fn is_here(&self, about: &About) -> Result<bool, HubError> {
        let blob = self.cache.blob(&about.etag);
        let length = match tokio::fs::metadata(&blob).await {
            Ok(data) => data.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(HubError::io(blob)(error)),
        };
        let finding = if about.size.is_some_and(|size| size != length) {
            None
        } else if self.target.expected.is_some() {
            Some(self.check(&blob, &about.etag).await?)
        } else {
            Some(Finding::Right)
        };
        match finding.map(|finding| mismatch(&self.target.file, finding)) {
            Some(None) => Ok(true),
            Some(Some((error, false))) => Err(error),
            _ => {
                tracing::warn!(blob = %blob.display(), "damaged bytes are removed from the cache");
                remove(&blob)?;
                Ok(false)
            }
        }
    }

    /// Fetches and checks; bytes that are wrong are fetched once more from the first on.
    async fn transfer(&self, about: &About) -> Result<(), HubError> {
        let partial = self.cache.partial(&about.etag);
        tracing::info!(repo = %self.target.repo, file = self.target.file.as_str(), size = about.size, "download begins");
        let mut again = true;
        loop {
            self.complete(about, &partial).await?;
            let finding = self.check(&partial, &about.etag).await?;
            let Some((error, damaged)) = mismatch(&self.target.file, finding) else {
                break;
            };
            remove(&partial)?;
            if !damaged || !again {
                return Err(error);
            }
            tracing::warn!(%error, "the download begins anew");
            again = false;
        }
        let (cache, etag) = (self.cache.clone(), about.etag.clone());
        blocking(move || cache.keep(&etag)).await?;
        tracing::info!(repo = %self.target.repo, file = self.target.file.as_str(), "download is done");
        Ok(())
    }

    async fn check(&self, path: &Path, etag: &Etag) -> Result<Finding, HubError> {
        let (path, etag, expected) = (path.to_owned(), etag.clone(), self.target.expected);
        blocking(move || verify::check(&path, &etag, expected).map_err(HubError::io(path))).await
    }

    pub(crate) fn url(&self) -> reqwest::Url {
        let target = self.target;
        let prefix = match target.repo.kind {
            RepoKind::Model => None,
            RepoKind::Dataset => Some("datasets"),
        };
        self.http.endpoint().below(
            prefix
                .into_iter()
                .chain(target.repo.parts())
                .chain(["resolve", target.commit.as_str()])
                .chain(target.file.parts()),
        )
    }

    pub(crate) fn subject(&self) -> Subject<'_> {
        Subject {
            repo: &self.target.repo,
            revision: self.target.commit.as_str(),
            file: Some(&self.target.file),
        }
    }
}

/// What to say of a finding, and whether fetching the bytes again may help.
pub(crate) fn mismatch(file: &FilePath, finding: Finding) -> Option<(HubError, bool)> {
    let (by, expected, found) = match finding {
        Finding::Right => return None,
        Finding::Damaged { expected, found } => (Authority::Hub, expected, found),
        Finding::Unexpected { expected, found } => {
            (Authority::Caller, expected.to_string(), found.to_string())
        }
    };
    let error = HubError::DigestMismatch {
        file: file.as_str().to_owned(),
        by,
        expected,
        found,
    };
    Some((error, by == Authority::Hub))
}
