//! Files of the Hugging Face hub: revisions resolved to commits, and downloads into the cache
//! that the hub's clients share.
//!
//! A [`Hub`] resolves what a branch or tag means ([`Hub::resolve`]) and fetches files of a commit
//! ([`Hub::fetch`]). Downloads resume, are checked by length and digest, and reach their final name
//! whole or not at all; processes that want the same file fetch it once. [`BlockingHub`] is the
//! same for threads without an async runtime, and [`local_commit`] reads what `hf download
//! --local-dir` noted in a folder.
//!
//! # Environment
//!
//! [`HubConfig::from_environment`] reads the variables of Python's `huggingface_hub`:
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `HF_ENDPOINT` | the hub, or a mirror that speaks its API | the public hub |
//! | `HF_TOKEN` | who asks; for gated and private repositories | what is in `HF_TOKEN_PATH` |
//! | `HF_TOKEN_PATH` | a file that holds the token | `$HF_HOME/token` |
//! | `HF_HOME` | the folder of all that the hub's clients keep | `$XDG_CACHE_HOME/huggingface`, else `~/.cache/huggingface` |
//! | `HF_HUB_CACHE` | the folder of the cache | `$HF_HOME/hub` |
//! | `HF_HUB_OFFLINE` | `1`, `on`, `yes`, `true`: never use the network | off |
//!
//! `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` act as usual, but for an endpoint on the
//! loopback interface, which is always reached directly. Certificates are checked against the
//! system's, or those in `SSL_CERT_FILE` and `SSL_CERT_DIR`.

mod api;
mod blocking;
mod cache;
mod config;
mod download;
mod error;
mod http;
mod hub;
mod local;
mod name;
mod retry;
#[cfg(feature = "testing")]
pub mod testing;
mod transfer;
mod verify;

pub use api::{RepoFile, RepoSnapshot};
pub use blocking::BlockingHub;
pub use config::{Endpoint, HubConfig, PUBLIC_HUB, Token};
pub use download::{OnProgress, Progress};
pub use error::{Authority, HubError};
pub use hub::{Hub, Wanted};
pub use local::local_commit;
pub use name::RepoKind;
pub use retry::RetryPolicy;
