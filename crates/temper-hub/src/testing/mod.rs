//! A hub on the loopback interface for tests: it speaks as much of the API as a client needs, notes
//! what it was asked, and misbehaves as told.

mod answer;

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use axum::Router;
use bytes::Bytes;
use sha1::{Digest as _, Sha1};
use temper_core::Digest;
use tokio::{
    net::TcpListener,
    sync::{oneshot, watch},
};

use crate::{Endpoint, HubConfig, RepoKind, RetryPolicy};

/// How long a test waits for a state before it fails.
const PATIENCE: Duration = Duration::from_mins(1);

/// A hub, and the other host that it redirects to for files in large file storage (the same
/// address, another port). It ends when dropped.
pub struct FakeHub {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// A file to serve.
#[derive(Debug, Clone)]
pub struct FakeFile {
    /// Path in the repository.
    pub path: String,
    /// Its bytes.
    pub content: Bytes,
    /// Kept in large file storage: named by SHA-256, served by the other host. Else in git: named
    /// by git's SHA-1, served by the hub itself.
    pub lfs: bool,
}

/// A request that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// `GET` or `HEAD`.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Whether the other host got it.
    pub elsewhere: bool,
    /// The `Range` header.
    pub range: Option<String>,
    /// The `Authorization` header.
    pub authorization: Option<String>,
}

/// Where the hub misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// Asked what a revision is.
    Api,
    /// Asked about a file.
    Head,
    /// Asked for a file, before it redirects.
    Get,
    /// Sending a file's bytes, whichever host does.
    Bytes,
}

/// How the hub misbehaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Answers this status with these headers.
    Status(u16, Vec<(&'static str, String)>),
    /// Announces all, then cuts the connection after so many bytes.
    CutAfter(usize),
    /// Announces all, then falls silent after so many bytes.
    StallAfter(usize),
    /// Announces and sends at most so many bytes of what was asked for.
    EndAfter(usize),
    /// Sends as many bytes, but others.
    WrongBytes,
    /// Sends all from the first byte, whatever was asked for.
    NoRanges,
    /// Sends this many bytes too many.
    Excess(usize),
    /// Adds these headers, or puts them in the place of its own.
    Headers(Vec<(&'static str, String)>),
}

#[derive(Default)]
struct State {
    /// By kind and name: commit, revisions, files.
    repos: HashMap<(RepoKind, String), FakeRepo>,
    faults: Vec<(On, usize, Fault)>,
    seen: Vec<Seen>,
    token: Option<String>,
    sent: usize,
}

struct FakeRepo {
    commit: String,
    revision: String,
    files: Vec<FakeFile>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    held: watch::Sender<bool>,
    elsewhere: SocketAddr,
}

impl FakeHub {
    /// Starts one on ports of the system's choice.
    ///
    /// # Panics
    /// If the system gives no port, thread or runtime.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test without its server cannot go on")]
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let (hub, other) = (bind().expect("a port"), bind().expect("a port"));
        let address = hub.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            held: watch::Sender::new(false),
            elsewhere: other.local_addr().expect("an address"),
        });
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = shared.clone();
        let thread = std::thread::Builder::new()
            .name("fake-hub".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    let hub = TcpListener::from_std(hub).expect("a socket");
                    let other = TcpListener::from_std(other).expect("a socket");
                    let hub = axum::serve(hub, router(&serving, false)).into_future();
                    let other = axum::serve(other, router(&serving, true)).into_future();
                    tokio::select! { _ = hub => {}, _ = other => {}, _ = stopped => {} }
                });
                // Connections that are still open end here.
                runtime.shutdown_background();
            })
            .expect("a thread");
        Self {
            address,
            shared,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Its address.
    ///
    /// # Panics
    /// Never: the address is one.
    #[must_use]
    #[expect(clippy::expect_used, reason = "an address made of a socket's")]
    pub fn endpoint(&self) -> Endpoint {
        let address = format!("http://{}", self.address);
        address.parse().expect("an endpoint")
    }

    /// A configuration for it, anonymous, with waits of a millisecond.
    #[must_use]
    pub fn config(&self, cache: impl Into<std::path::PathBuf>) -> HubConfig {
        let mut config = HubConfig::new(self.endpoint(), cache);
        config.retry = RetryPolicy {
            retries: 3,
            first_wait: Duration::from_millis(1),
            longest_wait: Duration::from_millis(4),
            longest_asked: Duration::from_secs(5),
        };
        config
    }

    /// Serves a repository whose branch `main` is at a commit made of its name and files; another
    /// with the same name is replaced. Gives the commit.
    #[must_use]
    pub fn add(&self, kind: RepoKind, repo: &str, files: Vec<FakeFile>) -> String {
        let mut hash = Sha1::new_with_prefix(repo);
        for file in &files {
            hash.update(&file.path);
            hash.update(&file.content);
        }
        let commit = hex::encode(hash.finalize());
        let repository = FakeRepo {
            commit: commit.clone(),
            revision: "main".to_owned(),
            files,
        };
        let key = (kind, repo.to_owned());
        self.shared.state().repos.insert(key, repository);
        commit
    }

    /// Misbehaves so the next `times` times that it comes to `on`. Faults of the same place come
    /// one after another.
    pub fn misbehave(&self, on: On, times: usize, fault: Fault) {
        self.shared.state().faults.push((on, times, fault));
    }

    /// Behaves from now on.
    pub fn behave(&self) {
        self.shared.state().faults.clear();
    }

    /// Shows repositories to the owner of this token alone.
    pub fn require_token(&self, token: &str) {
        self.shared.state().token = Some(token.to_owned());
    }

    /// Sends no file's bytes until [`FakeHub::release`].
    pub fn hold(&self) {
        self.shared.held.send_replace(true);
    }

    /// Sends what was held.
    pub fn release(&self) {
        self.shared.held.send_replace(false);
    }

    /// All requests so far, in their order.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.state().seen.clone()
    }

    /// How often a file's bytes were sent, or began to be; redirects are not counted.
    #[must_use]
    pub fn downloads(&self) -> usize {
        self.shared.state().sent
    }

    /// Waits until the requests so far satisfy `wanted`.
    ///
    /// # Panics
    /// If they do not within a minute.
    pub fn wait_until(&self, wanted: impl Fn(&[Seen]) -> bool) {
        let (state, timeout) = self
            .shared
            .changed
            .wait_timeout_while(self.shared.state(), PATIENCE, |state| !wanted(&state.seen))
            .unwrap_or_else(PoisonError::into_inner);
        assert!(!timeout.timed_out(), "not in time: {:?}", state.seen);
    }
}

impl Drop for FakeHub {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the server shows in what the test got from it.
            let _ = thread.join();
        }
    }
}

impl FakeFile {
    /// A file kept in git.
    #[must_use]
    pub fn git(path: &str, content: impl Into<Bytes>) -> Self {
        Self {
            path: path.to_owned(),
            content: content.into(),
            lfs: false,
        }
    }

    /// A file in large file storage.
    #[must_use]
    pub fn lfs(path: &str, content: impl Into<Bytes>) -> Self {
        Self {
            lfs: true,
            ..Self::git(path, content)
        }
    }

    /// The name of its bytes.
    #[must_use]
    pub fn etag(&self) -> String {
        if self.lfs {
            Digest::of(&self.content).to_string()
        } else {
            git_name(&self.content)
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bind() -> io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn router(shared: &Arc<Shared>, elsewhere: bool) -> Router {
    let shared = shared.clone();
    Router::new().fallback(move |request| {
        let shared = shared.clone();
        async move { answer::answer(&shared, elsewhere, request).await }
    })
}

/// Git's name of a file.
fn git_name(content: &[u8]) -> String {
    let hash = Sha1::new_with_prefix(format!("blob {}\0", content.len()));
    hex::encode(hash.chain_update(content).finalize())
}
