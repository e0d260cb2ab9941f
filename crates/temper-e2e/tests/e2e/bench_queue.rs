//! The short form of `make bench-queue`: that it works and counts rightly, and nothing of times.

use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use temper_e2e::program;

#[test]
fn short_bench_of_the_queue_does_each_job_once_and_leaves_the_queue_as_deep_as_it_was()
-> anyhow::Result<()> {
    let output = Command::new(program("bench-queue")?)
        .arg("--short")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    let said = String::from_utf8(output.stdout)?;
    println!("{said}");
    ensure!(output.status.success(), "it ended with {}", output.status);
    // What was counted is what is stored, or else it would have failed. Here it is what was wanted: two
    // rounds of 100 cells, one of them beside pgbench, ahead of the 200 that wait.
    let last = said.lines().last().context("it said nothing")?;
    let wanted = "bench-queue: ok short cells=200 previewed=2000 queued=400 trainings=200 \
                  evaluations=200 pgbench_jobs=200 history=1000";
    ensure!(last == wanted, "{last}");
    // 200 of the 2,000 cells that were looked at have jobs already.
    ensure!(said.contains("jobs_shared=400 (estimated from 4000 jobs)"));
    Ok(())
}
