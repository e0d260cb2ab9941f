//! Where the database is, as every program that has one asks for it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::Args;
use url::Url;

/// Which database; flatten it into a binary's arguments.
#[derive(Clone, Args)]
pub struct Database {
    /// PostgreSQL, `postgres://user:password@host/database`
    #[arg(
        long,
        env = "TEMPER_DATABASE_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    database_url: String,
    /// File that holds the password, instead of the URL
    #[arg(long, env = "TEMPER_DATABASE_PASSWORD_FILE", value_name = "FILE")]
    database_password_file: Option<PathBuf>,
}

/// A password that is not to be had. No message shows the URL, which may hold one.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The file cannot be read.
    #[error("cannot read the database's password in {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Nothing stands in it.
    #[error("{} is empty: it should hold the database's password", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The URL has no place for a password: no host, or it is none.
    #[error(
        "TEMPER_DATABASE_URL takes no password: postgres://user@host/database is wanted beside \
         TEMPER_DATABASE_PASSWORD_FILE"
    )]
    NoPlace,
    /// It holds a password as well.
    #[error(
        "two passwords: TEMPER_DATABASE_URL holds one, and TEMPER_DATABASE_PASSWORD_FILE names a file"
    )]
    Two,
}

impl Database {
    /// The URL, with the password of the file in it where there is one.
    ///
    /// # Errors
    /// When the file holds no password, or the URL has no place for it.
    pub fn url(&self) -> Result<String, DatabaseError> {
        let Some(path) = &self.database_password_file else {
            return Ok(self.database_url.clone());
        };
        let password = password_in(path)?;
        let mut url: Url = self
            .database_url
            .parse()
            .map_err(|_| DatabaseError::NoPlace)?;
        if url.password().is_some() {
            return Err(DatabaseError::Two);
        }
        // It encodes everything but this sign, which it takes for an encoding.
        let password = password.replace('%', "%25");
        url.set_password(Some(&password))
            .map_err(|()| DatabaseError::NoPlace)?;
        Ok(url.into())
    }
}

/// The text of the file less the line's end.
fn password_in(path: &Path) -> Result<String, DatabaseError> {
    let text = fs::read_to_string(path).map_err(|source| DatabaseError::Read {
        path: path.to_owned(),
        source,
    })?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(DatabaseError::Empty {
            path: path.to_owned(),
        }),
        password => Ok(password.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(url: &str, password_file: Option<PathBuf>) -> Database {
        Database {
            database_url: url.to_owned(),
            database_password_file: password_file,
        }
    }

    #[test]
    fn password_of_the_file_goes_into_the_url_whatever_signs_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        fs::write(&file, "p@ss/w:rd%\n").unwrap();
        let given = database(
            "postgres://temper@db:5432/temper?sslmode=require",
            Some(file),
        );
        assert_eq!(
            given.url().unwrap(),
            "postgres://temper:p%40ss%2Fw%3Ard%25@db:5432/temper?sslmode=require"
        );
    }

    #[test]
    fn url_stays_as_it_is_without_a_file() {
        let given = "postgres:///temper?host=/run/postgresql";
        assert_eq!(database(given, None).url().unwrap(), given);
    }

    #[test]
    fn what_cannot_be_a_password_is_refused_without_telling_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let (empty, full) = (folder.path().join("empty"), folder.path().join("full"));
        fs::write(&empty, "\n").unwrap();
        fs::write(&full, "hunter3").unwrap();
        let error = |url, file: &Path| {
            let error = database(url, Some(file.to_owned())).url().unwrap_err();
            let said = error.to_string();
            assert!(!said.contains("hunter"), "{said}");
            error
        };
        let plain = "postgres://temper@db/temper";
        assert!(matches!(error(plain, &empty), DatabaseError::Empty { .. }));
        let absent = folder.path().join("absent");
        assert!(matches!(error(plain, &absent), DatabaseError::Read { .. }));
        let two = "postgres://temper:hunter2@db/temper";
        assert!(matches!(error(two, &full), DatabaseError::Two));
        for url in ["postgres:///temper?host=/run", "temper@db"] {
            assert!(matches!(error(url, &full), DatabaseError::NoPlace), "{url}");
        }
    }
}
