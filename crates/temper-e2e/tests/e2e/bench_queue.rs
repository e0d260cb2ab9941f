//! The short form of `make bench-queue`: that it works and counts rightly, and nothing of times.

use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use temper_e2e::{processes::shelter, program};

#[test]
fn short_bench_of_the_queue_does_each_job_once_and_leaves_the_queue_as_deep_as_it_was()
-> anyhow::Result<()> {
    let mut bench = Command::new(program("bench-queue")?);
    shelter(&mut bench);
    let output = bench
        .arg("--short")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    let said = String::from_utf8(output.stdout)?;
    println!("{said}");
    ensure!(output.status.success(), "it ended with {}", output.status);
    // What was counted is what is stored, or else it would have failed. Here it is what was wanted: three
    // rounds of 100 cells, one of them by turns with pgbench and one beside idle workers, ahead of the 200 that wait.
    let last = said.lines().last().context("it said nothing")?;
    ensure!(last.starts_with("bench-queue: ok short "), "{last}");
    let number = |name: &str| -> anyhow::Result<u32> {
        let mut words = last.split(' ').filter_map(|word| word.split_once('='));
        let (_, value) = words
            .find(|(key, _)| *key == name)
            .context("it is not told")?;
        Ok(value.parse()?)
    };
    let told = ["cells", "previewed", "queued", "pgbench_jobs", "history"].map(number);
    let told: Vec<u32> = told.into_iter().collect::<anyhow::Result<_>>()?;
    ensure!(told == [200, 2000, 400, 200, 1000], "{last}");
    // A worker that asks while a training is just being handed in may get a training of those that wait
    // instead of the evaluation.
    let (trainings, evaluations) = (number("trainings")?, number("evaluations")?);
    ensure!(
        trainings + evaluations == 600 && (300..350).contains(&trainings),
        "{last}"
    );
    for figure in [
        "heartbeats_per_s=",
        "fruitless_asks_per_s=",
        "idle=20 ",
        "done_job_bytes=",
    ] {
        ensure!(said.contains(figure), "no {figure}");
    }
    // 200 of the 2,000 cells that were looked at have jobs already.
    ensure!(said.contains("jobs_shared=400 (estimated from 4000 jobs)"));
    Ok(())
}
