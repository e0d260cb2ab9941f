//! `temper-worker check`, which needs nobody else.

use std::process::Command;

use anyhow::ensure;
use temper_e2e::{checkout, processes::shelter, program};

/// The command, under nothing but its arguments.
fn check() -> anyhow::Result<Command> {
    let mut command = Command::new(program("temper-worker")?);
    shelter(&mut command);
    command.arg("check");
    Ok(command)
}

#[test]
fn processor_is_checked_and_told_of_in_one_document() -> anyhow::Result<()> {
    let output = check()?
        .args(["--device", "cpu", "--image-size", "32"])
        .args(["--batch-size", "8", "--precisions", "fp32", "--mirror"])
        .arg(checkout().join(".local/mirror"))
        .env("HF_HUB_OFFLINE", "1")
        .output()?;
    let log = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{log}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    ensure!(report["device"] == "cpu", "{report}");
    ensure!(report["rules"]["pgd_linf"] == 0.0, "{report}");
    ensure!(
        report["resume"]["steps"] == 8 && report["resume"]["resumed"] == 0.0,
        "{report}"
    );
    ensure!(report["throughput"][0]["precision"] == "fp32", "{report}");
    ensure!(report["peak_memory_bytes"].as_u64() > Some(0), "{report}");
    Ok(())
}

#[test]
fn what_cannot_be_checked_says_why() -> anyhow::Result<()> {
    for (arguments, said) in [
        (["--device", "cuda:99"], "cuda:99"),
        (["--model", "nothing"], "nothing"),
        (["--precisions", "fp7"], "fp32 or bf16"),
    ] {
        let output = check()?.args(arguments).output()?;
        let log = String::from_utf8_lossy(&output.stderr);
        ensure!(!output.status.success() && log.contains(said), "{log}");
    }
    Ok(())
}
