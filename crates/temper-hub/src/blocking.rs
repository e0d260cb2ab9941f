//! The hub for threads without an async runtime.

use std::path::PathBuf;

use tokio::runtime::{Builder, Runtime};

use crate::{Hub, HubConfig, HubError, OnProgress, RepoKind, RepoSnapshot, Wanted};

/// A [`Hub`] with a small runtime of its own. Threads can share it.
///
/// Its calls block, so they panic in an async task; from `spawn_blocking` and plain threads they
/// are fine. It may be dropped anywhere.
#[derive(Debug)]
pub struct BlockingHub {
    hub: Hub,
    /// Taken when dropped, and then alone.
    runtime: Option<Runtime>,
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
            runtime: Some(runtime),
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
        self.wait(self.hub.resolve(kind, repo, revision))
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
        self.wait(self.hub.fetch(wanted, progress))
    }

    fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        #[expect(clippy::expect_used, reason = "only dropping takes the runtime")]
        let runtime = self.runtime.as_ref().expect("the runtime is there");
        runtime.block_on(work)
    }
}

impl Drop for BlockingHub {
    /// A runtime that is dropped waits for its tasks, which an async task must not; these have
    /// nothing to finish.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
