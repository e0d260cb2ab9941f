//! What `hf download --local-dir` noted beside the files that it put into a folder.

use std::{
    fs,
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use crate::{
    name::{Commit, FilePath},
    verify::{self, Etag, Finding},
};

/// The commit that `file` (its path in the repository, with `/`) in `folder` was downloaded from,
/// by the note `.cache/huggingface/download/{file}.metadata`: commit, `ETag` and time, a line each.
///
/// None if there is no note, or if the file was changed since: it is younger than the note (by more
/// than a second, as Python's client has it) and its bytes are not those of the noted `ETag`. A
/// folder that was copied without its files' times is thus read through, once a file.
#[must_use]
pub fn local_commit(folder: &Path, file: &str) -> Option<String> {
    let file = FilePath::parse(file).ok()?;
    let path = format!(".cache/huggingface/download/{}.metadata", file.as_str());
    let note = fs::read_to_string(folder.join(path)).ok()?;
    let mut lines = note.lines().map(str::trim);
    let commit = Commit::parse(lines.next()?).ok()?;
    let etag = Etag::parse(lines.next()?)?;
    let time = Duration::try_from_secs_f64(lines.next()?.parse().ok()?).ok()?;
    let path = folder.join(file.as_str());
    let changed = fs::metadata(&path).ok()?.modified().ok()?;
    let changed = changed.duration_since(UNIX_EPOCH).unwrap_or_default();
    let is_same = changed <= time.saturating_add(Duration::from_secs(1))
        || (!matches!(etag, Etag::Opaque(_))
            && verify::check(&path, &etag, None).is_ok_and(|finding| finding == Finding::Right));
    is_same.then(|| commit.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use std::{fs::File, time::SystemTime};

    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
    /// Git's name of `hello\n`.
    const HELLO: &str = "ce013625030ba8dba906f756967f9e9ca394464a";

    /// A folder with `data/a.txt` of the content and age, noted at 1000 s.
    fn folder(content: &str, changed: u64, note: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let notes = folder.path().join(".cache/huggingface/download/data");
        fs::create_dir_all(&notes).unwrap();
        fs::write(notes.join("a.txt.metadata"), note).unwrap();
        fs::create_dir_all(folder.path().join("data")).unwrap();
        let path = folder.path().join("data/a.txt");
        fs::write(&path, content).unwrap();
        let changed: SystemTime = UNIX_EPOCH + Duration::from_secs(changed);
        File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_modified(changed)
            .unwrap();
        folder
    }

    fn note() -> String {
        format!("{COMMIT}\n{HELLO}\n1000.25\n")
    }

    #[test]
    fn an_unchanged_file_has_the_noted_commit() {
        let folder = folder("whatever", 1001, &note());
        assert_eq!(
            local_commit(folder.path(), "data/a.txt").as_deref(),
            Some(COMMIT)
        );
        assert_eq!(local_commit(folder.path(), "data/b.txt"), None);
        assert_eq!(local_commit(folder.path(), "../a.txt"), None);
    }

    #[test]
    fn a_copied_file_is_known_by_its_bytes_and_a_changed_one_is_not() {
        let copied = folder("hello\n", 2000, &note());
        assert_eq!(
            local_commit(copied.path(), "data/a.txt").as_deref(),
            Some(COMMIT)
        );
        let changed = folder("hullo\n", 2000, &note());
        assert_eq!(local_commit(changed.path(), "data/a.txt"), None);
        let opaque = folder("hello\n", 2000, &note().replace(HELLO, "abc"));
        assert_eq!(local_commit(opaque.path(), "data/a.txt"), None);
    }

    #[test]
    fn a_note_without_its_three_lines_is_none() {
        for bad in [
            "",
            COMMIT,
            "main\nabc\n1\n",
            &note().replace("1000.25", "soon"),
        ] {
            let folder = folder("hello\n", 1000, bad);
            assert_eq!(local_commit(folder.path(), "data/a.txt"), None, "{bad}");
        }
    }
}
