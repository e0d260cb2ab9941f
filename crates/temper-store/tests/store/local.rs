use std::{env, fs, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use temper_store::{
    Store,
    postgres::{LocalError, LocalPostgres, Options},
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    time::sleep,
};

/// Set for the process that is going to be killed: the folder of its cluster.
const VICTIM: &str = "TEMPER_TEST_VICTIM";

async fn names(url: &str) -> Result<Vec<String>> {
    let store = Store::connect(url, 1).await?;
    let names = sqlx::query_scalar("SELECT name FROM temper.owner")
        .fetch_all(store.pool())
        .await?;
    store.close().await;
    Ok(names)
}

async fn note(url: &str, name: &'static str) -> Result<()> {
    let store = Store::connect(url, 1).await?;
    store.migrate().await?;
    let insert = "INSERT INTO temper.owner (name) VALUES ($1)";
    sqlx::query(insert).bind(name).execute(store.pool()).await?;
    store.close().await;
    Ok(())
}

fn postmaster(folder: &Path) -> Result<u32> {
    let file = fs::read_to_string(folder.join("data/postmaster.pid"))?;
    Ok(file.lines().next().context("an empty file")?.parse()?)
}

fn alive(process: u32) -> bool {
    // A dead process stays in the list until its parent looks, which not every init does.
    let status = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    status
        .rsplit(')')
        .next()
        .is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

#[tokio::test]
async fn cluster_continues_after_a_stop_and_belongs_to_one_process() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let cluster = LocalPostgres::start(folder.path(), Options::default()).await?;
    note(cluster.url(), "before").await?;
    let second = LocalPostgres::start(folder.path(), Options::default()).await;
    ensure!(matches!(second, Err(LocalError::InUse(_))), "{second:?}");
    let process = postmaster(folder.path())?;
    cluster.stop().await?;
    ensure!(!alive(process), "the server is left behind");
    let cluster = LocalPostgres::start(folder.path(), Options::default()).await?;
    assert_eq!(names(cluster.url()).await?, ["before"]);
    cluster.stop().await?;
    Ok(())
}

#[tokio::test]
async fn crashed_cluster_recovers_what_was_committed() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let cluster = LocalPostgres::start(folder.path(), Options::default()).await?;
    note(cluster.url(), "committed").await?;
    cluster.crash().await?;
    let cluster = LocalPostgres::start(folder.path(), Options::default()).await?;
    assert_eq!(names(cluster.url()).await?, ["committed"]);
    let log = fs::read_to_string(folder.path().join("postgres.log"))?;
    ensure!(log.contains("was not properly shut down"), "{log}");
    cluster.stop().await?;
    Ok(())
}

/// No test by itself: the process that `cluster_outlives_no_killed_process` kills.
#[tokio::test]
async fn victim() -> Result<()> {
    let Ok(folder) = env::var(VICTIM) else {
        return Ok(());
    };
    let cluster = LocalPostgres::start(Path::new(&folder), Options::default()).await?;
    note(cluster.url(), "kept").await?;
    println!("ready");
    sleep(Duration::from_mins(10)).await;
    Ok(())
}

#[tokio::test]
async fn cluster_outlives_no_killed_process_and_loses_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut victim = Command::new(env::current_exe()?)
        .args(["--exact", "local::victim", "--nocapture"])
        .env(VICTIM, folder.path())
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(victim.stdout.take().context("no output")?).lines();
    while !lines
        .next_line()
        .await?
        .context("the victim ended by itself")?
        .ends_with("ready")
    {}
    let process = postmaster(folder.path())?;
    victim.kill().await?;
    // At once, while the server may still be stopping.
    let cluster = LocalPostgres::start(folder.path(), Options::default()).await?;
    ensure!(
        !alive(process),
        "the killed process's server is still there"
    );
    assert_eq!(names(cluster.url()).await?, ["kept"]);
    cluster.stop().await?;
    Ok(())
}

#[tokio::test]
async fn server_whose_watcher_was_killed_too_is_replaced() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let cluster = LocalPostgres::start(folder.path(), Options::default()).await?;
    note(cluster.url(), "kept").await?;
    let process = postmaster(folder.path())?;
    // Everything but the server goes: the shell with its helpers, and this handle.
    let status = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let watcher = status
        .rsplit(')')
        .next()
        .and_then(|rest| rest.split_whitespace().nth(1));
    let watcher = watcher.context("no parent")?;
    let family = fs::read_to_string(format!("/proc/{watcher}/task/{watcher}/children"))?;
    let helpers = family
        .split_whitespace()
        .filter(|child| *child != process.to_string());
    Command::new("kill")
        .arg("-KILL")
        .args(helpers)
        .arg(watcher)
        .status()
        .await?;
    drop(cluster);
    ensure!(alive(process), "this test wants a server without a watcher");
    let cluster = LocalPostgres::start(folder.path(), Options::default()).await?;
    ensure!(!alive(process), "the orphan is still there");
    assert_eq!(names(cluster.url()).await?, ["kept"]);
    cluster.stop().await?;
    Ok(())
}

#[tokio::test]
async fn ephemeral_cluster_leaves_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    // Too long for a socket, whose folder is elsewhere then.
    let home = folder.path().join("cluster".repeat(15));
    // For the server's user, when we are root.
    fs::set_permissions(
        folder.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o777),
    )?;
    let options = Options {
        ephemeral: true,
        ..Options::default()
    };
    let cluster = LocalPostgres::start(&home, options).await?;
    note(cluster.url(), "gone").await?;
    let (_, socket) = cluster.url().split_once("?host=").context("no socket")?;
    let socket = Path::new(socket).to_owned();
    ensure!(socket.exists() && !socket.starts_with(&home));
    cluster.stop().await?;
    ensure!(!home.exists(), "{} is left", home.display());
    ensure!(!socket.exists(), "{} is left", socket.display());
    Ok(())
}

#[tokio::test]
async fn installation_that_is_none_is_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let options = Options {
        installation: Some("/nonexistent".into()),
        ..Options::default()
    };
    let error = LocalPostgres::start(folder.path(), options)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("/nonexistent/bin"), "{error}");
    Ok(())
}
