//! The calls that `docs/results.md` shows, with the real grpcurl.

use std::{env, fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use temper_store::{JobsQuery, Store};
use tokio::process::Command;
use uuid::Uuid;

use crate::{
    lab,
    system::{System, listen},
};

/// Begins the line that says what `call` is, and the lines that use it.
const CALL: &str = "    call";

#[tokio::test]
async fn every_call_of_the_document_is_answered() -> Result<()> {
    let system = System::start(|_| true).await?;
    let (address, stop) = listen(system.database.url()).await?;
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let document = fs::read_to_string(checkout.join("docs/results.md"))?;
    let lines = || document.lines().filter(|line| line.starts_with(CALL));
    let definition = lines().next().context("no definition")?;
    let evaluation = evaluation(system.database.store(), &system.sweep).await?;
    let tools = checkout.join(".local/tools/bin");
    let path = format!("{}:{}", tools.display(), env::var("PATH")?);
    let token = lab::token(system.database.store()).await?;
    let mut called = 0;
    for example in lines().skip(1) {
        let call = example
            .replace("sweeps/…", &system.sweep)
            .replace("jobs/17", &evaluation);
        let answer = Command::new("sh")
            .args(["-c", &format!("{definition}\n{call}")])
            .env("PATH", &path)
            .env("RESULTS", address.trim_start_matches("http://"))
            .env("TOKEN", token.reveal())
            .output()
            .await?;
        let errors = String::from_utf8_lossy(&answer.stderr);
        ensure!(answer.status.success(), "{call}: {errors}");
        let answer = String::from_utf8_lossy(&answer.stdout);
        ensure!(answer.lines().count() > 2, "{call}: {answer}");
        called += 1;
    }
    ensure!(called > 10, "{called}");
    stop.gracefully();
    Ok(())
}

/// An evaluation of the sweep.
async fn evaluation(store: &Store, sweep: &str) -> Result<String> {
    let sweep: Uuid = sweep.trim_start_matches("sweeps/").parse()?;
    let query = JobsQuery {
        sweep,
        state: None,
        after: None,
        limit: 100,
    };
    let jobs = store.job_list(query).await?.jobs;
    let evaluation = jobs.iter().find(|job| job.epochs == 0);
    let evaluation = evaluation.context("no evaluation")?;
    Ok(format!("jobs/{}", evaluation.id))
}
