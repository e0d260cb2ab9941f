//! Tokens of local mode, and what commands show of secrets.

use std::os::unix::fs::PermissionsExt as _;

use anyhow::ensure;
use temper_e2e::{Options, System, program};
use tokio::process::Command;

#[tokio::test]
async fn commands_find_the_token_of_local_mode_and_make_others() -> anyhow::Result<()> {
    let mut system = System::start(Options::default()).await?;
    let mode = std::fs::metadata(system.token())?.permissions().mode();
    ensure!(mode & 0o777 == 0o600, "{mode:o}");
    let (found, said) = system.temper(&["sweeps"]).await?;
    ensure!(found && said.contains("no such sweeps"), "{said}");

    let file = system.file("viewer.token");
    let path = file.display().to_string();
    let create = ["admin", "token", "create", "--name", "eve", "--role"];
    let arguments = [&create[..], &["viewer", "--output", &path]].concat();
    let (done, said) = system.temper(&arguments).await?;
    ensure!(done && said.contains("`eve`, role viewer"), "{said}");
    ensure!(
        !said.contains(std::fs::read_to_string(&file)?.trim()),
        "{said}"
    );
    let (may, said) = system.temper(&["sweeps", "--token-file", &path]).await?;
    ensure!(may, "{said}");
    let list = ["admin", "token", "list", "--token-file", &path];
    let (may, said) = system.temper(&list).await?;
    ensure!(!may && said.contains("is for the role admin"), "{said}");

    let (_, tokens) = system.temper(&["admin", "token", "list"]).await?;
    for name in ["eve", "local", "local-workers"] {
        ensure!(tokens.contains(name), "{tokens}");
    }
    let id = tokens.lines().find(|line| line.contains("eve"));
    let id = id
        .and_then(|line| line.split(' ').next())
        .unwrap_or_default();
    let (revoked, said) = system.temper(&["admin", "token", "revoke", id]).await?;
    ensure!(revoked && said.contains("revoked"), "{said}");
    let (_, audit) = system
        .temper(&["admin", "audit", "--actor", "local"])
        .await?;
    ensure!(
        audit.contains("CreateToken") && audit.contains("RevokeToken"),
        "{audit}"
    );

    // Another start makes others: of the ones before nothing is left to steal.
    let before = std::fs::read_to_string(system.token())?;
    system.stop().await?;
    let (found, said) = system.temper(&["sweeps"]).await?;
    ensure!(!found, "{said}");
    system.restart().await?;
    ensure!(std::fs::read_to_string(system.token())? != before);
    let (found, said) = system.temper(&["sweeps"]).await?;
    ensure!(found, "{said}");
    system.stop().await
}

#[tokio::test]
async fn help_shows_no_secret_of_the_environment() -> anyhow::Result<()> {
    let commands: [&[&str]; 10] = [
        &["temper", "--help"],
        &["temper", "up", "--help"],
        &["temper", "submit", "--help"],
        &["temper", "results", "--help"],
        &["temper", "migrate", "--help"],
        &["temper", "admin", "bootstrap", "--help"],
        &["temper", "admin", "token", "create", "--help"],
        &["temper-coordinator", "--help"],
        &["temper-results", "--help"],
        &["temper-worker", "run", "--help"],
    ];
    for command in commands {
        let output = Command::new(program(command[0])?)
            .args(&command[1..])
            .env("TEMPER_TOKEN", "temper_hunter2")
            .env("TEMPER_DATABASE_URL", "postgres://temper:hunter2@db/temper")
            .output()
            .await?;
        let help = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "{command:?}");
        ensure!(!help.contains("hunter2"), "{command:?}: {help}");
    }
    Ok(())
}
