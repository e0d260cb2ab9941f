//! `pgbench`: the same rows without a queue, without leases, and without anybody in between.

use std::{fs, path::PathBuf, process::Stdio};

use anyhow::{Context as _, ensure};
use temper_e2e::checkout;
use temper_store::testing::bench::{CELL, Copied};
use tokio::process::Command;

use crate::place::Place;

/// Threads over which its clients are spread; they only wait.
const THREADS: u32 = 2;

/// A `pgbench` that goes on where it stopped.
pub struct Pgbench {
    program: PathBuf,
    script: PathBuf,
    url: String,
    copied: Copied,
    clients: u32,
    /// Cells that each client has done.
    done: u32,
}

impl Pgbench {
    /// Prepares it for the copies of the tables.
    ///
    /// # Errors
    /// When there is no such program, or its script cannot be written.
    pub fn new(place: &Place, copied: Copied, clients: u32) -> anyhow::Result<Self> {
        let program = checkout().join(".local/postgres/bin/pgbench");
        ensure!(
            program.is_file(),
            "the PostgreSQL in .local/postgres has no pgbench: install what holds it (of Debian \
             `postgresql`, of others often `postgresql-contrib`), or run `make setup` with \
             TEMPER_POSTGRES=fetch"
        );
        let script = place.folder().join("cell.sql");
        fs::write(&script, CELL)?;
        Ok(Self {
            program,
            script,
            url: place.database().to_owned(),
            copied,
            clients,
            done: 0,
        })
    }

    /// Does so many cells, as many for each client, and gives the jobs a second: a cell is two.
    ///
    /// # Errors
    /// When the copies do not have so many, or a statement fails.
    pub async fn work(&mut self, cells: u32) -> anyhow::Result<f64> {
        let each = cells / self.clients;
        let end = (self.done + each) * self.clients;
        ensure!(
            i64::from(end) <= self.copied.cells,
            "{end} cells of {} are wanted",
            self.copied.cells
        );
        let variables = [
            ("clients", i64::from(self.clients)),
            ("next", i64::from(self.done)),
            ("first_training", self.copied.first_training),
            ("first_evaluation", self.copied.first_evaluation),
        ];
        let mut command = Command::new(&self.program);
        command.args(["--no-vacuum", "--protocol=prepared"]);
        command.arg(format!("--client={}", self.clients));
        command.arg(format!("--jobs={}", THREADS.min(self.clients)));
        command.arg(format!("--transactions={each}"));
        command.arg("--file").arg(&self.script);
        for (name, value) in variables {
            command.arg(format!("--define={name}={value}"));
        }
        command
            .arg(&self.url)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = command.output().await?;
        let said = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "pgbench ended with {}: {errors}",
            output.status
        );
        self.done += each;
        let rate = rate(&said).with_context(|| format!("pgbench tells no rate: {said}{errors}"))?;
        Ok(2.0 * rate)
    }
}

/// Cells a second, by the line that leaves the time of connecting out.
fn rate(said: &str) -> Option<f64> {
    let mut lines = said.lines();
    let rate = lines.find_map(|line| line.strip_prefix("tps = "))?;
    rate.split_whitespace().next()?.parse().ok()
}
