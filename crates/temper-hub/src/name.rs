//! What the hub calls things: repositories, revisions, commits and files. Each is checked once, so
//! that what is made of them (addresses, paths in the cache) stays where it belongs.

use std::fmt;

use crate::HubError;

/// What a repository holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RepoKind {
    /// Weights.
    Model,
    /// Images and labels.
    Dataset,
}

/// A repository: its kind and `owner/name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Repo {
    pub(crate) kind: RepoKind,
    owner: String,
    name: String,
}

/// A branch, a tag, a ref such as `refs/pr/1`, or a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Revision(String);

/// A commit: 40 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Commit(String);

/// A file's path in its repository: relative, plain, with `/` between its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FilePath(String);

impl RepoKind {
    /// As in the hub's API and in the cache's folder names.
    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::Model => "models",
            Self::Dataset => "datasets",
        }
    }
}

impl fmt::Display for RepoKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Model => "model",
            Self::Dataset => "dataset",
        })
    }
}

impl Repo {
    pub(crate) fn parse(kind: RepoKind, text: &str) -> Result<Self, HubError> {
        let bad = || HubError::BadName {
            what: "a repository",
            name: text.to_owned(),
            wanted: "`owner/name` of letters, digits, `-`, `_` and `.`",
        };
        let (owner, name) = text.split_once('/').ok_or_else(bad)?;
        if !is_plain(owner) || !is_plain(name) {
            return Err(bad());
        }
        Ok(Self {
            kind,
            owner: owner.to_owned(),
            name: name.to_owned(),
        })
    }

    pub(crate) fn parts(&self) -> [&str; 2] {
        [&self.owner, &self.name]
    }

    /// The folder of the repository in the cache. `--` in a name is refused, so that no two
    /// repositories share one.
    pub(crate) fn folder(&self) -> String {
        format!("{}--{}--{}", self.kind.plural(), self.owner, self.name)
    }
}

impl fmt::Display for Repo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

impl Revision {
    pub(crate) fn parse(text: &str) -> Result<Self, HubError> {
        if is_relative(text) && text.len() <= 255 && !text.contains([' ', '~', '^', ':', '?', '*'])
        {
            Ok(Self(text.to_owned()))
        } else {
            Err(HubError::BadName {
                what: "a revision",
                name: text.to_owned(),
                wanted: "a branch, a tag or a commit",
            })
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The commit, if the revision is one.
    pub(crate) fn commit(&self) -> Option<Commit> {
        Commit::parse(&self.0).ok()
    }
}

impl Commit {
    pub(crate) fn parse(text: &str) -> Result<Self, HubError> {
        if text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(HubError::BadName {
                what: "a commit",
                name: text.to_owned(),
                wanted: "40 hexadecimal digits; resolve the revision first",
            })
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FilePath {
    pub(crate) fn parse(text: &str) -> Result<Self, HubError> {
        if is_relative(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(HubError::BadName {
                what: "a file of a repository",
                name: text.to_owned(),
                wanted: "a relative path without `.`, `..` and `\\`",
            })
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

/// Owner or name of a repository, by the hub's own rules.
fn is_plain(part: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=96).contains(&part.len())
        && part.bytes().all(inner)
        && !part.starts_with(['-', '.'])
        && !part.ends_with(['-', '.'])
        && !part.contains("--")
        && !part.contains("..")
}

/// A path that stays below the folder that it is joined to.
fn is_relative(path: &str) -> bool {
    !path.contains(|char: char| char == '\\' || char.is_control())
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_owner_and_name() {
        let repo = Repo::parse(RepoKind::Dataset, "uoft-cs/cifar10").unwrap();
        assert_eq!(repo.to_string(), "uoft-cs/cifar10");
        assert_eq!(repo.folder(), "datasets--uoft-cs--cifar10");
        for bad in [
            "", "cifar10", "a/b/c", "a/", "/b", "../b", "a/..", "a--b/c", "a/b c", "a/.b", "a\\b/c",
        ] {
            assert!(Repo::parse(RepoKind::Model, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn files_and_revisions_stay_below_their_folder() {
        assert!(FilePath::parse("data/train 0.parquet").is_ok());
        assert!(Revision::parse("refs/pr/1").is_ok());
        for bad in [
            "",
            "/etc/passwd",
            "a/../b",
            "..",
            ".",
            "a//b",
            "a/",
            "a\\b",
            "a\nb",
            "a\0b",
        ] {
            assert!(FilePath::parse(bad).is_err(), "{bad:?}");
            assert!(Revision::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_commit_is_forty_hexadecimal_digits() {
        let commit = "0123456789ABCDEF0123456789abcdef01234567";
        assert_eq!(
            Revision::parse(commit).unwrap().commit().unwrap().as_str(),
            commit.to_ascii_lowercase()
        );
        assert!(Revision::parse("main").unwrap().commit().is_none());
        assert!(Commit::parse("0123456").is_err());
    }
}
