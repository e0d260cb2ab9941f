//! What can go wrong between the hub and the cache: each error names the repository, file or
//! setting and says what to do about it. None shows a token or a signed address.

use std::{fmt, io, path::PathBuf, time::Duration};

use temper_core::ErrorKind;

use crate::RepoKind;

/// Why the hub's answer or file cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// A name that the hub cannot know, or that would lead out of the cache.
    #[error("`{name}` is not {what}: it must be {wanted}")]
    BadName {
        /// What it should name.
        what: &'static str,
        /// The name.
        name: String,
        /// What would be right.
        wanted: &'static str,
    },
    /// A variable of the environment has no sense.
    #[error("{name} is wrong: {reason}")]
    BadSetting {
        /// The variable.
        name: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// No TLS or no system certificates.
    #[error("no HTTPS client can be made: see that the system has CA certificates")]
    Client(#[source] reqwest::Error),
    /// The hub has no such repository.
    #[error("the hub has no {kind} repository `{repo}`: check its name")]
    RepoNotFound {
        /// What it should hold.
        kind: RepoKind,
        /// `owner/name`.
        repo: String,
    },
    /// The repository has no such branch, tag or commit.
    #[error("the {kind} repository `{repo}` has no revision `{revision}`: check its name")]
    RevisionNotFound {
        /// What the repository holds.
        kind: RepoKind,
        /// `owner/name`.
        repo: String,
        /// The revision.
        revision: String,
    },
    /// The repository has no such file at the commit.
    #[error("the {kind} repository `{repo}` has no file `{file}` at {commit}: check its name")]
    FileNotFound {
        /// What the repository holds.
        kind: RepoKind,
        /// `owner/name`.
        repo: String,
        /// The commit.
        commit: String,
        /// The file.
        file: String,
    },
    /// 401: private or gated without a token, or the token is not valid, or there is no such
    /// repository (the hub does not say which).
    #[error(
        "the hub does not show the {kind} repository `{repo}` to {}: check its name; if it is \
         private or gated, set HF_TOKEN to a valid token of an account that may read it",
        if *.with_token { "the owner of this token" } else { "anonymous callers" }
    )]
    Unauthorized {
        /// What the repository holds.
        kind: RepoKind,
        /// `owner/name`.
        repo: String,
        /// Whether a token was sent.
        with_token: bool,
    },
    /// 403: the account has no access.
    #[error(
        "the {kind} repository `{repo}` is gated{}: accept its terms on the hub's page of it, \
         then try again",
        if *.with_token { " for the owner of this token" } else { " and no HF_TOKEN is set" }
    )]
    Gated {
        /// What the repository holds.
        kind: RepoKind,
        /// `owner/name`.
        repo: String,
        /// Whether a token was sent.
        with_token: bool,
    },
    /// The network is forbidden, and the cache does not have it.
    #[error(
        "offline, and `{}` does not hold {wanted}: unset HF_HUB_OFFLINE, or fetch it where the hub \
         can be reached and copy the folder here{}",
        cache.display(),
        if *.pinnable { ", or name a commit in place of the revision" } else { "" }
    )]
    Offline {
        /// What was asked for.
        wanted: String,
        /// Where it was sought.
        cache: PathBuf,
        /// Whether a commit would have helped.
        pinnable: bool,
    },
    /// 429, to the last try.
    #[error("the hub limits requests: try again {}, or set HF_TOKEN", Later(*.retry_after))]
    RateLimited {
        /// What the hub asked for.
        retry_after: Option<Duration>,
    },
    /// Another status than success.
    #[error("`{url}` answers {status}: see whether the hub or a proxy between is at fault")]
    Status {
        /// The address, without its query.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// No connection, or silence.
    #[error(
        "`{url}` cannot be reached: check the network, HF_ENDPOINT, the proxy variables and the certificates"
    )]
    Network {
        /// The address, without its query.
        url: String,
        /// The system's reason.
        source: reqwest::Error,
    },
    /// An answer that no hub gives.
    #[error("`{url}` does not answer as a hub does: {reason}; check HF_ENDPOINT")]
    Protocol {
        /// The address, without its query.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The transfer ended early, to the last try. What came is kept and built on by the next call.
    #[error(
        "`{file}` came only in part, {done} bytes of {}: try again, the download goes on from there",
        Total(*.total)
    )]
    Truncated {
        /// The file.
        file: String,
        /// Bytes that are here.
        done: u64,
        /// Bytes that were announced.
        total: Option<u64>,
        /// How the transfer ended, if not in peace.
        source: Option<reqwest::Error>,
    },
    /// The bytes are not those that the hub, or the caller, names.
    #[error(
        "`{file}` has the digest {found}, but {by} says {expected}: {}",
        match by {
            Authority::Hub => "it was damaged on the way or on the disk; fetch it again",
            Authority::Caller => "pin it anew if the change is meant",
        }
    )]
    DigestMismatch {
        /// The file.
        file: String,
        /// Who is contradicted.
        by: Authority,
        /// SHA-256, or the SHA-1 of a git blob, in hexadecimal digits.
        expected: String,
        /// The same of the bytes that came.
        found: String,
    },
    /// No room in the cache. What came is kept and built on by the next call.
    #[error(
        "no room for {}in `{}`: free some, or name a roomier folder in HF_HUB_CACHE",
        Room(*.needed, *.free), folder.display()
    )]
    DiskFull {
        /// The folder that was written to.
        folder: PathBuf,
        /// Bytes that were still to come, if known.
        needed: Option<u64>,
        /// Bytes that were free, if known.
        free: Option<u64>,
        /// The system's word, if it was tried.
        source: Option<io::Error>,
    },
    /// The operating system refuses.
    #[error("cannot use `{}`: see that the folder of the cache can be read and written", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// Who names a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authority {
    /// The hub, by the name that it gives the file's bytes.
    Hub,
    /// The caller.
    Caller,
}

impl HubError {
    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::BadName { .. } | Self::DigestMismatch { .. } => ErrorKind::InvalidInput,
            Self::RepoNotFound { .. }
            | Self::RevisionNotFound { .. }
            | Self::FileNotFound { .. } => ErrorKind::NotFound,
            Self::BadSetting { .. }
            | Self::Client(_)
            | Self::Unauthorized { .. }
            | Self::Gated { .. }
            | Self::Offline { .. }
            | Self::DiskFull { .. } => ErrorKind::FailedPrecondition,
            Self::RateLimited { .. }
            | Self::Status { .. }
            | Self::Network { .. }
            | Self::Protocol { .. }
            | Self::Truncated { .. }
            | Self::Io { .. } => ErrorKind::Unavailable,
        }
    }

    /// Whether the next try may go better.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::RateLimited { .. } | Self::Network { .. } | Self::Truncated { .. } => true,
            Self::Status { status, .. } => *status == 408 || *status >= 500,
            _ => false,
        }
    }

    /// How long the hub asks to wait.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after } => *retry_after,
            _ => None,
        }
    }

    /// The system's refusal at `path`; one for want of room is told apart. `EFBIG` and `EDQUOT`,
    /// a limit of the process and of the account, come to the same.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::DiskFull {
                folder: path.parent().unwrap_or(&path).to_owned(),
                needed: None,
                free: None,
                source: Some(source),
            },
            _ => Self::Io { path, source },
        }
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hub => "the hub",
            Self::Caller => "the catalog",
        })
    }
}

struct Later(Option<Duration>);

impl fmt::Display for Later {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(wait) => write!(f, "in {} s", wait.as_secs()),
            None => f.write_str("later"),
        }
    }
}

struct Total(Option<u64>);

impl fmt::Display for Total {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(total) => total.fmt(f),
            None => f.write_str("an unknown number"),
        }
    }
}

struct Room(Option<u64>, Option<u64>);

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self(Some(needed), Some(free)) => write!(f, "{needed} bytes more ({free} are free) "),
            _ => f.write_str("more "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn want_of_room_is_told_apart() {
        // ENOSPC, EDQUOT and EFBIG on Linux.
        for code in [28, 122, 27] {
            let error = HubError::io("/cache/blobs/x")(io::Error::from_raw_os_error(code));
            assert!(matches!(error, HubError::DiskFull { .. }), "{error:?}");
            assert_eq!(
                error.to_string(),
                "no room for more in `/cache/blobs`: free some, or name a roomier folder in \
                 HF_HUB_CACHE"
            );
        }
        let error = HubError::io("/cache")(io::Error::from_raw_os_error(13));
        assert!(matches!(error, HubError::Io { .. }));
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let status = |status| HubError::Status {
            url: String::new(),
            status,
        };
        assert!(status(500).is_transient() && status(503).is_transient());
        assert!(status(408).is_transient() && !status(400).is_transient());
        assert!(HubError::RateLimited { retry_after: None }.is_transient());
    }
}
