//! Files that hold a secret.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use temper_service::access::Secret;

/// Writes a secret into a new file that only its owner can read.
pub fn write_new(path: &Path, secret: &Secret) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    writeln!(file, "{}", secret.reveal())?;
    file.sync_all()
}

/// The same in place of a file that may be there; readers see the one or the other.
pub fn replace(path: &Path, secret: &Secret) -> io::Result<()> {
    let fresh = path.with_extension("new");
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    write_new(&fresh, secret)?;
    fs::rename(fresh, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn secrets_are_their_owners_alone_and_no_file_is_overwritten_unasked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let (first, second) = (Secret::generate().unwrap(), Secret::generate().unwrap());
        fs::write(path.with_extension("new"), "left behind").unwrap();
        replace(&path, &first).unwrap();
        assert!(write_new(&path, &second).is_err());
        replace(&path, &second).unwrap();
        assert_eq!(
            temper_service::client::token_in(&path).unwrap(),
            second,
            "the newest"
        );
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
