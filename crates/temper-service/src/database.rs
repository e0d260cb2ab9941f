//! Where the database is, as every program that has one asks for it, and how it is waited for.

use std::{
    error::Error,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use temper_core::ErrorKind;
use tokio::time;
use url::Url;

use crate::{status, stop::Stop};

/// Between two tries to open a database that is away.
const PAUSE: Duration = Duration::from_secs(1);

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

/// Opens a database, again while it is away: it may be started after what needs it. None where that is
/// stopped before.
///
/// # Errors
/// What `attempt` fails with, unless its kind is [`ErrorKind::Unavailable`].
pub async fn open<T, E, F>(
    stop: &Stop,
    attempt: impl Fn() -> F,
    kind: fn(&E) -> ErrorKind,
) -> Result<Option<T>, E>
where
    E: Error + 'static,
    F: Future<Output = Result<T, E>>,
{
    tokio::select! {
        opened = opened(attempt, kind) => opened.map(Some),
        () = stop.graceful.cancelled() => Ok(None),
    }
}

async fn opened<T, E, F>(attempt: impl Fn() -> F, kind: fn(&E) -> ErrorKind) -> Result<T, E>
where
    E: Error + 'static,
    F: Future<Output = Result<T, E>>,
{
    loop {
        match attempt().await {
            Err(error) if kind(&error) == ErrorKind::Unavailable => {
                let error = status::chain(&error);
                tracing::warn!(error, "no database yet: trying again");
                time::sleep(PAUSE).await;
            }
            opened => return opened,
        }
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
    use std::cell::Cell;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("no database")]
    struct Broken(ErrorKind);

    /// What comes of a database that this is wrong with at the first three tries, and the tries.
    async fn tried(stop: &Stop, wrong: ErrorKind) -> (Result<Option<i32>, ErrorKind>, u32) {
        let tries = Cell::new(0);
        let attempt = || {
            tries.set(tries.get() + 1);
            let outcome = if tries.get() > 3 {
                Ok(7)
            } else {
                Err(Broken(wrong))
            };
            async { outcome }
        };
        let opened = open(stop, attempt, |error: &Broken| error.0).await;
        (opened.map_err(|error| error.0), tries.get())
    }

    #[tokio::test(start_paused = true)]
    async fn database_that_is_away_is_waited_for_and_one_that_refuses_is_not() {
        let stop = Stop::new();
        let away = tried(&stop, ErrorKind::Unavailable).await;
        assert_eq!(away, (Ok(Some(7)), 4));
        let refused = tried(&stop, ErrorKind::Internal).await;
        assert_eq!(refused, (Err(ErrorKind::Internal), 1));
        stop.gracefully();
        let (stopped, _) = tried(&stop, ErrorKind::Unavailable).await;
        assert_eq!(stopped, Ok(None));
    }

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
