//! The folder of a cluster: who owns it, and where its parts lie.

use std::{
    env, fs,
    fs::{File, TryLockError},
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
};

use uuid::Uuid;

use super::LocalError;

/// Where clusters of root lie whose own folder the server's user cannot enter.
const SHARED: &str = "/var/lib/temper";
/// Paths of sockets may have 107 bytes, the last 14 of which are the socket's own name.
const LONGEST_SOCKET_FOLDER: usize = 90;

/// A cluster's folder, in use by this process.
#[derive(Debug)]
pub(super) struct Folder {
    /// Where the cluster is: the folder asked for, but for root's private ones.
    home: PathBuf,
    socket: PathBuf,
    user: Option<User>,
}

/// An unprivileged user under whom root runs the server.
#[derive(Debug, Clone)]
pub(super) struct User {
    pub(super) name: String,
    uid: u32,
    gid: u32,
}

impl Folder {
    /// Takes the folder for this process; the lock goes with the file.
    pub(super) fn claim(asked: &Path) -> Result<(Self, File), LocalError> {
        fs::create_dir_all(asked).map_err(LocalError::path(asked))?;
        let asked = asked.canonicalize().map_err(LocalError::path(asked))?;
        let lock = lock(&asked)?;
        let user = server_user(&asked)?;
        let home = match &user {
            Some(user) => home_of(&asked, user)?,
            None => asked,
        };
        let mut socket = home.join("socket");
        if socket.as_os_str().len() > LONGEST_SOCKET_FOLDER {
            socket = env::temp_dir().join(format!("temper-{}", Uuid::new_v4().simple()));
        }
        let folder = Self { home, socket, user };
        folder.make_private(&folder.socket)?;
        Ok((folder, lock))
    }

    pub(super) fn home(&self) -> &Path {
        &self.home
    }

    pub(super) fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.home.join("postgres.log")
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// The socket's folder where it had to be made outside of this one, for one life of the server.
    pub(super) fn socket_elsewhere(&self) -> Option<&Path> {
        (!self.socket.starts_with(&self.home)).then_some(&self.socket)
    }

    pub(super) fn user(&self) -> Option<&User> {
        self.user.as_ref()
    }

    pub(super) fn url(&self, database: &str) -> String {
        let host = percent_encoded(&self.socket);
        format!(
            "postgres://{}@localhost/{database}?host={host}",
            super::NAME
        )
    }

    /// The last lines of the server's log.
    pub(super) fn log_tail(&self) -> String {
        let log = fs::read(self.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }

    /// A command that runs as the server's user.
    pub(super) fn command(&self, program: impl AsRef<Path>) -> Command {
        command_as(self.user(), program.as_ref(), &self.home)
    }

    fn make_private(&self, path: &Path) -> Result<(), LocalError> {
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path);
        made.map_err(LocalError::path(path))?;
        self.user.as_ref().map_or(Ok(()), |user| give(path, user))
    }
}

fn command_as(user: Option<&User>, program: &Path, folder: &Path) -> Command {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(program);
    command.current_dir(folder);
    if let Some(user) = user {
        command.uid(user.uid).gid(user.gid);
    }
    command
}

fn lock(folder: &Path) -> Result<File, LocalError> {
    let path = folder.join("lock");
    let file = File::options().create(true).append(true).open(&path);
    let file = file.map_err(LocalError::path(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LocalError::InUse(folder.to_owned())),
        Err(TryLockError::Error(error)) => Err(LocalError::path(&path)(error)),
    }
}

/// Nobody else than us, unless we are root, as a file that we make tells.
fn server_user(folder: &Path) -> Result<Option<User>, LocalError> {
    let probe = folder.join("probe");
    fs::write(&probe, []).map_err(LocalError::path(&probe))?;
    let owner = fs::metadata(&probe)
        .map_err(LocalError::path(&probe))?
        .uid();
    fs::remove_file(&probe).map_err(LocalError::path(&probe))?;
    if owner != 0 {
        return Ok(None);
    }
    let users =
        fs::read_to_string("/etc/passwd").map_err(LocalError::path("/etc/passwd".as_ref()))?;
    let named = |name| users.lines().find_map(|line| user_of(line, name));
    named("postgres")
        .or_else(|| named("nobody"))
        .map(Some)
        .ok_or(LocalError::NoUser)
}

/// A user from a line of passwd, `name:password:uid:gid:…`.
fn user_of(line: &str, name: &str) -> Option<User> {
    let mut fields = line.split(':');
    let found = fields.next().filter(|found| *found == name)?;
    let uid = fields.nth(1)?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    Some(User {
        name: found.to_owned(),
        uid,
        gid,
    })
}

/// The folder itself where the server's user can enter it, else one of the machine's that the
/// folder then names: root's home is closed to others on most machines.
fn home_of(asked: &Path, user: &User) -> Result<PathBuf, LocalError> {
    let link = asked.join("location");
    if let Ok(home) = fs::read_to_string(&link) {
        let home = PathBuf::from(home.trim_end());
        fs::create_dir_all(&home).map_err(LocalError::path(&home))?;
        give(&home, user)?;
        return Ok(home);
    }
    give(asked, user)?;
    if can_enter(user, asked) {
        return Ok(asked.to_owned());
    }
    let home = Path::new(SHARED).join(Uuid::new_v4().simple().to_string());
    fs::create_dir_all(&home).map_err(LocalError::path(&home))?;
    give(&home, user)?;
    if !can_enter(user, &home) {
        return Err(LocalError::Unreachable {
            user: user.name.clone(),
            path: home,
        });
    }
    fs::write(&link, home.as_os_str().as_encoded_bytes()).map_err(LocalError::path(&link))?;
    tracing::info!(
        user = user.name, home = %home.display(), "the database lies where its user can enter"
    );
    Ok(home)
}

fn can_enter(user: &User, folder: &Path) -> bool {
    let mut test = command_as(Some(user), "test".as_ref(), Path::new("/"));
    test.arg("-w")
        .arg(folder)
        .status()
        .is_ok_and(|status| status.success())
}

fn give(path: &Path, user: &User) -> Result<(), LocalError> {
    chown(path, Some(user.uid), Some(user.gid)).map_err(LocalError::path(path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(LocalError::path(path))
}

/// A path as a URL's query takes it.
fn percent_encoded(path: &Path) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    path.as_os_str()
        .as_encoded_bytes()
        .iter()
        .map(|&byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}
