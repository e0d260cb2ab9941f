//! The server's process: made, watched, halted.

use std::{
    ffi::OsStr,
    fs,
    fs::File,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use super::{Folder, Installation, LocalError, NAME};

/// Runs the server until it ends or the pipe on standard input closes, which it also does when the
/// process at its other end is killed. Arguments: the signal that stops the server, two folders to be
/// removed afterwards (or nothing), the server's command line.
const WATCH: &str = r#"
signal=$1 home=$2 socket=$3
shift 3
exec 3<&0
"$@" 3<&- &
server=$!
{ cat <&3 >/dev/null; kill -s "$signal" "$server"; } 2>/dev/null &
watcher=$!
exec 3<&-
wait "$server"
status=$?
kill "$watcher" 2>/dev/null
cd /
for scrap in "$home" "$socket"; do
    if [ -n "$scrap" ]; then rm -rf "$scrap"; fi
done
exit $status
"#;

/// Makes the cluster's files, unless they are there. A cluster that is there is whole: it is made
/// aside and renamed.
pub(super) fn initialise(
    installation: &Installation,
    folder: &Folder,
    ephemeral: bool,
) -> Result<(), LocalError> {
    if folder.data().join("PG_VERSION").exists() {
        return Ok(());
    }
    let fresh = folder.home().join("data.new");
    if fresh.exists() {
        fs::remove_dir_all(&fresh).map_err(LocalError::path(&fresh))?;
    }
    let mut initdb = folder.command(installation.program("initdb"));
    initdb
        .arg("--pgdata")
        .arg(&fresh)
        .args(["--username", NAME, "--auth", "trust"]);
    initdb.args(["--encoding", "UTF8", "--no-locale"]);
    if ephemeral {
        initdb.arg("--no-sync");
    }
    checked("initdb", &mut initdb)?;
    fs::rename(&fresh, folder.data()).map_err(LocalError::path(&fresh))
}

/// Whether a server runs on the cluster.
pub(super) fn runs(installation: &Installation, folder: &Folder) -> Result<bool, LocalError> {
    Ok(run("pg_ctl", control(installation, folder).arg("status"))?
        .status
        .success())
}

/// Stops a server that is no child of ours and waits for that; `mode` is `pg_ctl`'s.
pub(super) fn halt(
    installation: &Installation,
    folder: &Folder,
    mode: &str,
) -> Result<(), LocalError> {
    let output = run(
        "pg_ctl",
        control(installation, folder).args(["stop", "--wait", "-m", mode]),
    )?;
    // It may have been stopping anyway and be gone by now.
    if output.status.success() || !runs(installation, folder)? {
        return Ok(());
    }
    Err(failure("pg_ctl", &output))
}

/// Starts the server under its watcher.
pub(super) fn launch(
    installation: &Installation,
    folder: &Folder,
    ephemeral: bool,
) -> Result<Child, LocalError> {
    let log = folder.log();
    let output = File::options().create(true).append(true).open(&log);
    let output = output.map_err(LocalError::path(&log))?;
    let errors = output.try_clone().map_err(LocalError::path(&log))?;
    let mut command = folder.command("sh");
    command.args(["-c", WATCH, "temper-postgres"]);
    // Fast shutdown, or at once where nothing has to be kept.
    command.arg(if ephemeral { "QUIT" } else { "INT" });
    let scrap = [
        ephemeral.then_some(folder.home()),
        folder.socket_elsewhere(),
    ];
    command.args(scrap.map(|folder| folder.map_or(OsStr::new(""), Path::as_os_str)));
    command.arg(installation.program("postgres"));
    command
        .arg("-D")
        .arg(folder.data())
        .arg("-k")
        .arg(folder.socket());
    command.args([
        "-c",
        "listen_addresses=",
        "-c",
        "unix_socket_permissions=0700",
        // Leases come and go: what is left of them slows every claim until it is cleared away.
        "-c",
        "autovacuum_naptime=5s",
    ]);
    if ephemeral {
        command.args(["-c", "fsync=off", "-c", "full_page_writes=off"]);
        command.args(["-c", "synchronous_commit=off", "-c", "max_connections=200"]);
    }
    command.stdin(Stdio::piped()).stdout(output).stderr(errors);
    // Ctrl-C in the terminal is for us: we stop the server last.
    command.process_group(0);
    command.spawn().map_err(|source| LocalError::Io {
        what: "starting PostgreSQL",
        source,
    })
}

fn control(installation: &Installation, folder: &Folder) -> Command {
    let mut command = folder.command(installation.program("pg_ctl"));
    command.arg("--pgdata").arg(folder.data());
    command
}

fn checked(program: &'static str, command: &mut Command) -> Result<(), LocalError> {
    let output = run(program, command)?;
    if output.status.success() {
        Ok(())
    } else {
        Err(failure(program, &output))
    }
}

fn run(program: &'static str, command: &mut Command) -> Result<Output, LocalError> {
    command.output().map_err(|source| LocalError::Io {
        what: program,
        source,
    })
}

fn failure(program: &str, output: &Output) -> LocalError {
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    let output_text = String::from_utf8_lossy(&said).trim_end().to_owned();
    LocalError::Program {
        program: program.to_owned(),
        status: output.status,
        output: output_text,
    }
}
