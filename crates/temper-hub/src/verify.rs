//! Whether bytes are those that the hub, or the caller, names.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use sha1::{Digest as _, Sha1};
use temper_core::{Digest, DigestBuilder};

/// Bytes that are hashed at a time.
const CHUNK: usize = 1 << 18;

/// The hub's name of a file's bytes, which is its name in the cache too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Etag {
    /// SHA-256, of a file in large file storage.
    Sha256(Digest),
    /// SHA-1 of `blob`, a space, the length, a zero byte and the bytes: git's name of a file that
    /// is kept in git itself.
    Git(String),
    /// Of a mirror that names bytes otherwise: nothing can be checked by it.
    Opaque(String),
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finding {
    /// As named.
    Right,
    /// Not what the hub names: the bytes are damaged.
    Damaged { expected: String, found: String },
    /// What the hub names, but not what the caller expects.
    Unexpected { expected: Digest, found: Digest },
}

impl Etag {
    /// Parses a header's value, or a file's name in the cache. None if it could not be a file's
    /// name there.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let name = text.strip_prefix("W/").unwrap_or(text).trim_matches('"');
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.is_empty() || name.len() > 128 || name.starts_with('.') || !name.bytes().all(plain)
        {
            return None;
        }
        let name = name.to_owned();
        if let Ok(digest) = name.parse() {
            return Some(Self::Sha256(digest));
        }
        let is_git = name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        Some(if is_git {
            Self::Git(name)
        } else {
            Self::Opaque(name)
        })
    }

    pub(crate) fn name(&self) -> String {
        match self {
            Self::Sha256(digest) => digest.to_string(),
            Self::Git(name) | Self::Opaque(name) => name.clone(),
        }
    }

    /// That the hub names other bytes than the caller expects, as far as the names alone tell.
    pub(crate) fn contradiction(&self, expected: Digest) -> Option<Finding> {
        match self {
            Self::Sha256(named) if *named != expected => Some(Finding::Unexpected {
                expected,
                found: *named,
            }),
            _ => None,
        }
    }
}

/// Reads the whole file and holds it against its name and, if there is one, the caller's digest.
pub(crate) fn check(path: &Path, etag: &Etag, expected: Option<Digest>) -> io::Result<Finding> {
    let mut file = File::open(path)?;
    let mut sha256 = DigestBuilder::default();
    let mut git = matches!(etag, Etag::Git(_))
        .then(|| file.metadata())
        .transpose()?
        .map(|data| Sha1::new_with_prefix(format!("blob {}\0", data.len())));
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = match file.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        sha256.update(&chunk[..read]);
        if let Some(git) = &mut git {
            git.update(&chunk[..read]);
        }
    }
    let found = sha256.finish();
    if expected == Some(found) {
        return Ok(Finding::Right);
    }
    let (named, found_name) = match (etag, git) {
        (Etag::Sha256(digest), _) => (digest.to_string(), found.to_string()),
        (Etag::Git(name), Some(git)) => (name.to_ascii_lowercase(), hex::encode(git.finalize())),
        _ => (String::new(), String::new()),
    };
    Ok(match expected {
        _ if named != found_name => Finding::Damaged {
            expected: named,
            found: found_name,
        },
        Some(expected) => Finding::Unexpected { expected, found },
        None => Finding::Right,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf 'hello\n' | git hash-object --stdin`.
    const HELLO_GIT: &str = "ce013625030ba8dba906f756967f9e9ca394464a";
    /// `printf 'hello\n' | sha256sum`.
    const HELLO_SHA256: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";

    fn find(content: &str, etag: &str, expected: Option<Digest>) -> Finding {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, content).unwrap();
        check(&path, &Etag::parse(etag).unwrap(), expected).unwrap()
    }

    #[test]
    fn etags_are_told_by_their_length() {
        let parse = |text: &str| Etag::parse(text).unwrap();
        let quoted = format!("\"{HELLO_SHA256}\"");
        assert_eq!(parse(&quoted), Etag::Sha256(HELLO_SHA256.parse().unwrap()));
        assert_eq!(
            parse(&format!("W/\"{HELLO_GIT}\"")),
            Etag::Git(HELLO_GIT.to_owned())
        );
        assert_eq!(parse("\"abc-1\""), Etag::Opaque("abc-1".to_owned()));
        for bad in ["", "\"\"", "\"../x\"", "a/b", ".hidden", "a b"] {
            assert_eq!(Etag::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn whole_files_are_right_by_either_digest() {
        for etag in [HELLO_GIT, HELLO_SHA256, "opaque"] {
            assert_eq!(find("hello\n", etag, None), Finding::Right);
            let digest = HELLO_SHA256.parse().unwrap();
            assert_eq!(find("hello\n", etag, Some(digest)), Finding::Right);
        }
    }

    #[test]
    fn damage_is_told_from_another_expectation() {
        for etag in [HELLO_GIT, HELLO_SHA256] {
            let finding = find("hullo\n", etag, None);
            assert!(matches!(finding, Finding::Damaged { ref expected, .. } if expected == etag));
            let finding = find("hello\n", etag, Some(Digest::of(b"other")));
            assert!(matches!(finding, Finding::Unexpected { .. }));
        }
        let finding = find("hello\n", "opaque", Some(Digest::of(b"other")));
        assert!(matches!(finding, Finding::Unexpected { .. }));
    }
}
