//! A database that is lost in mid-sweep and restored from a dump, by the commands of `docs/operations.md`.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use temper_e2e::{
    chaos::{
        self, Against, Settings,
        cluster::{Cluster, Size},
        inflict::Chaos,
        look::Look,
    },
    checkout,
    processes::{Trainer, shelter},
    program,
};
use temper_store::testing::tables::{AttemptRecord, Tables};
use tokio::process::Command;

/// Where the commands are.
const SECTION: &str = "## Backup and restore";
const JOBS: i64 = 48;
/// Results that the time between dump and loss brings at least, and that are lost with it.
const LOST: i64 = 10;

/// The commands of a section's code blocks, which begin at `program`.
fn commands(section: &str, first: &str) -> anyhow::Result<String> {
    let lines: Vec<_> = section.lines().collect();
    let is_first = |line: &&str| line.starts_with(&format!("    {first}"));
    let start = lines.iter().position(is_first);
    let start = start.with_context(|| format!("`{first}` is not documented"))?;
    let block = lines[start..].iter().take_while(|l| l.starts_with("    "));
    Ok(block.map(|line| line.trim()).collect::<Vec<_>>().join("\n"))
}

/// Runs commands as an operator does, in `folder`.
async fn operate(cluster: &Cluster, folder: &Path, commands: &str) -> anyhow::Result<String> {
    let temper = program("temper")?;
    let own = temper.parent().context("no folder")?.to_owned();
    let folders = [checkout().join(".local/postgres/bin"), own];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(folders.into_iter().chain(std::env::split_paths(&path)))?;
    let database = cluster.database_url("temper");
    let mut shell = Command::new("sh");
    shelter(shell.as_std_mut());
    let output = shell
        .args(["-euc", commands])
        .current_dir(folder)
        .env("PATH", path)
        .env("TEMPER_DATABASE_URL", database)
        .env("POSTGRES_URL", cluster.database_url("postgres"))
        .kill_on_drop(true)
        .output()
        .await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{commands}: {said}");
    Ok(String::from_utf8(output.stdout)?)
}

/// Files of the object store that the database does not know.
fn unknown(folder: &Path, tables: &Tables) -> anyhow::Result<Vec<PathBuf>> {
    let records = tables.artifacts.iter().chain(&tables.checkpoints);
    let known: HashSet<_> = records.map(|row| folder.join(&row.path)).collect();
    let mut files = Vec::new();
    walk(folder, &mut files)?;
    files.retain(|file| !known.contains(file));
    Ok(files)
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

fn succeeded(tables: &Tables) -> Vec<&AttemptRecord> {
    let attempts = tables.attempts.iter();
    let succeeded = attempts.filter(|a| a.outcome.as_deref() == Some("succeeded"));
    succeeded.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sweep_goes_on_from_a_dump_as_if_nothing_had_been_after_it() -> anyhow::Result<()> {
    let document = fs::read_to_string(checkout().join("docs/operations.md"))?;
    let (_, section) = document.split_once(SECTION).context("no such section")?;
    let settings = Settings {
        cells: 24,
        size: Size {
            workers: 3,
            coordinators: 2,
            lease: Duration::from_secs(3),
            trainer: Trainer::Fake(Duration::from_millis(300)),
        },
        ..Settings::short(0).calm()
    };
    let chaos = Chaos::new(Cluster::start(settings.size).await?);
    let cluster = &chaos.cluster;
    let folder = tempfile::tempdir()?;
    chaos::submit(cluster, settings).await?;
    chaos.wait_ended(10).await?;
    let dump = commands(section, "pg_dump")?;
    // Results come in while it is written, and of those of that time it has some or none.
    let look = Look(&cluster.store);
    let least = look.progress().await?.succeeded;
    operate(cluster, folder.path(), &dump).await?;
    let most = look.progress().await?.succeeded;

    // Time that will be lost: results come in, and a worker registers that the dump does not know.
    let mut life = cluster.worker(0).life.lock().await;
    cluster.replace_worker(&mut life).await?;
    drop(life);
    chaos.wait_ended(most + LOST).await?;
    for place in 0..settings.size.coordinators {
        cluster.kill_coordinator(place).await?;
    }
    let lose = "psql --quiet \"$POSTGRES_URL\" --command 'DROP DATABASE temper WITH (FORCE)'";
    operate(cluster, folder.path(), lose).await?;
    let said = operate(cluster, folder.path(), &commands(section, "psql")?).await?;
    ensure!(said.contains("given back"), "{said}");

    // Workers went on all the while, and hold leases of that time. Another device's bytes are others.
    let restored = Tables::read(&cluster.store).await?;
    let before = i64::try_from(succeeded(&restored).len())?;
    ensure!(
        (least..=most).contains(&before),
        "{before} results were restored of {least} to {most}"
    );
    let objects = cluster.folder().join("objects");
    let strange = unknown(&objects, &restored)?;
    ensure!(!strange.is_empty(), "no file is of the time that was lost");
    for file in strange {
        fs::write(file, b"of another device")?;
    }
    for place in 0..settings.size.coordinators {
        cluster.restart_coordinator(place).await?;
    }
    chaos.wait_ended(JOBS).await?;

    let (tables, findings) = chaos::judge(
        &cluster.store,
        &cluster.objects(),
        settings.jobs(),
        Against::Truth,
    )
    .await?;
    findings.verdict()?;
    let after = succeeded(&tables);
    let kept = succeeded(&restored).iter().all(|old| after.contains(old));
    ensure!(kept, "what was restored was computed again");
    chaos.cluster.stop(true).await
}

#[test]
fn commands_are_those_of_the_block_that_begins_so() -> anyhow::Result<()> {
    let section = "x\n\n    pg_dump one\n    # two\n\ny\n\n    psql three\n";
    ensure!(commands(section, "pg_dump")? == "pg_dump one\n# two");
    ensure!(commands(section, "psql")? == "psql three");
    ensure!(commands(section, "rsync").is_err());
    Ok(())
}
