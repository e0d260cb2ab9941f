//! The real grpcurl.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, ensure};
use temper_service::client::token_in;
use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::checkout;

/// grpcurl against one server.
#[derive(Debug, Clone)]
pub struct Grpcurl {
    program: PathBuf,
    address: String,
    token: Option<String>,
}

impl Grpcurl {
    /// The one that `make setup` fetched, against the server at `url`, with the token in a file.
    ///
    /// # Errors
    /// When there is none.
    pub fn new(url: &str, token: &Path) -> anyhow::Result<Self> {
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
        Ok(Self {
            program,
            address,
            token: Some(token_in(token)?.reveal().to_owned()),
        })
    }

    /// The same without a token.
    #[must_use]
    pub fn anonymous(self) -> Self {
        Self {
            token: None,
            ..self
        }
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
        let mut command = Command::new(&self.program);
        command.arg("-plaintext");
        if let Some(token) = &self.token {
            // By the environment: a command line is everybody's to see.
            command.env("TEMPER_TOKEN", token).args([
                "-expand-headers",
                "-H",
                "authorization: Bearer ${TEMPER_TOKEN}",
            ]);
        }
        let mut child = command
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
