//! The hub for threads without an async runtime.

use std::path::PathBuf;

use tokio::runtime::{Builder, Runtime};

use crate::{Hub, HubConfig, HubError, OnProgress, RepoKind, RepoSnapshot, Wanted};

/// A [`Hub`] with a small runtime of its own. Threads can share it.
///
/// Its calls block, so they panic in an async task; from `spawn_blocking` and plain threads they
/// are fine. The same holds for dropping it.
#[derive(Debug)]
pub struct BlockingHub {
    hub: Hub,
    runtime: Runtime,
}

impl BlockingHub {
    /// See [`Hub::new`].
    ///
    /// # Errors
    /// `Io` if the system gives no runtime.
    pub fn new(config: HubConfig) -> Result<Self, HubError> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(HubError::io(&config.cache))?;
        Ok(Self {
            hub: Hub::new(config),
            runtime,
        })
    }

    /// How it was made.
    #[must_use]
    pub fn config(&self) -> &HubConfig {
        self.hub.config()
    }

    /// See [`Hub::resolve`].
    ///
    /// # Errors
    /// Those of [`Hub::resolve`].
    pub fn resolve(
        &self,
        kind: RepoKind,
        repo: &str,
        revision: &str,
    ) -> Result<RepoSnapshot, HubError> {
        self.runtime
            .block_on(self.hub.resolve(kind, repo, revision))
    }

    /// See [`Hub::fetch`].
    ///
    /// # Errors
    /// Those of [`Hub::fetch`].
    pub fn fetch(
        &self,
        wanted: &Wanted<'_>,
        progress: OnProgress<'_>,
    ) -> Result<PathBuf, HubError> {
        self.runtime.block_on(self.hub.fetch(wanted, progress))
    }
}
