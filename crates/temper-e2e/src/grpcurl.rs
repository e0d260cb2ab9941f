//! The real grpcurl.

use std::{path::PathBuf, process::Stdio};

use anyhow::{Context as _, ensure};
use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::checkout;

/// grpcurl against one server.
#[derive(Debug, Clone)]
pub struct Grpcurl {
    program: PathBuf,
    address: String,
}

impl Grpcurl {
    /// The one that `make setup` fetched, against the server at `url`.
    ///
    /// # Errors
    /// When there is none.
    pub fn new(url: &str) -> anyhow::Result<Self> {
        let program = checkout().join(".local/tools/bin/grpcurl");
        ensure!(
            program.exists(),
            "{} is missing: run `make setup`",
            program.display()
        );
        let address = url
            .strip_prefix("http://")
            .context("not an http URL")?
            .to_owned();
        Ok(Self { program, address })
    }

    /// What it prints for its arguments behind the address.
    ///
    /// # Errors
    /// When it ends with an error; its message is what it printed.
    pub async fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.execute(&[], arguments, "").await
    }

    /// Calls a method with a request in JSON, read from standard input.
    ///
    /// # Errors
    /// When the call fails; the message holds grpcurl's whole output.
    pub async fn call(&self, method: &str, request: &str) -> anyhow::Result<String> {
        self.execute(&["-d", "@"], &[method], request).await
    }

    async fn execute(
        &self,
        flags: &[&str],
        arguments: &[&str],
        input: &str,
    ) -> anyhow::Result<String> {
        let mut child = Command::new(&self.program)
            .arg("-plaintext")
            .args(flags)
            .arg(&self.address)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut stdin = child.stdin.take().context("grpcurl takes no input")?;
        stdin.write_all(input.as_bytes()).await?;
        drop(stdin);
        let output = child.wait_with_output().await?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "grpcurl ended with {}: {said}",
            output.status
        );
        Ok(String::from_utf8(output.stdout)?)
    }
}
