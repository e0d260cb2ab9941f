//! `temper admin`: tokens and the audit log.

mod after_restore;
mod audit;
mod bootstrap;
mod token;

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use clap::{Subcommand, ValueEnum};
use temper_core::access;
use temper_proto::v1::{CreateTokenResponse, Token};
use temper_service::{access::Secret, arguments, client};

use crate::{output, secret};

/// What to administer.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a token at the database itself: the first one, or when all are lost
    Bootstrap(bootstrap::Args),
    /// Make a database that was restored from a dump fit for use, before coordinators run on it
    AfterRestore(after_restore::Args),
    /// Make, revoke and list tokens
    Token(token::Args),
    /// Show who changed what, newest first
    Audit(audit::Args),
}

/// Runs the command.
pub async fn run(args: Args) -> anyhow::Result<()> {
    match args.command {
        Command::Bootstrap(args) => bootstrap::run(args).await,
        Command::AfterRestore(args) => after_restore::run(args).await,
        Command::Token(args) => token::run(args).await,
        Command::Audit(args) => audit::run(args).await,
    }
}

/// What a token may do.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Role {
    /// Submit and steer sweeps, and see everything
    Submitter,
    /// Lease jobs and report of them; nothing else
    Worker,
    /// See everything, change nothing
    Viewer,
    /// What a submitter may, and tokens and the audit log
    Admin,
}

impl From<Role> for access::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Submitter => Self::Submitter,
            Role::Worker => Self::Worker,
            Role::Viewer => Self::Viewer,
            Role::Admin => Self::Admin,
        }
    }
}

/// What a token is to be, besides its name and role.
#[derive(clap::Args)]
struct Wishes {
    /// Whose share of the workers its sweeps take [default: its name]
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
    /// How long it is good for, such as 12h or 90d [default: for ever]
    #[arg(long, value_name = "TIME", value_parser = arguments::time)]
    expires_in: Option<Duration>,
    /// Write the secret into this new file, which its owner alone can read, instead of showing it
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print JSON, with the secret unless it goes into a file
    #[arg(long)]
    json: bool,
}

impl Wishes {
    /// Hands the secret over, the only time that it is seen.
    fn hand_over(&self, secret: &Secret, token: Token) -> anyhow::Result<()> {
        let (name, role) = (&token.display_name, output::role(token.role));
        eprintln!(
            "{} `{name}`, role {role}; the secret is not shown again",
            token.name
        );
        if let Some(path) = &self.output {
            secret::write_new(path, secret)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        if self.json {
            return output::print_json(&self.answer(secret, token));
        }
        if self.output.is_none() {
            output::line(secret.reveal());
        }
        Ok(())
    }

    /// What was made, for JSON. A secret that goes into a file is not shown beside it.
    fn answer(&self, secret: &Secret, token: Token) -> CreateTokenResponse {
        let shown = self.output.is_none().then(|| secret.reveal().to_owned());
        CreateTokenResponse {
            token: Some(token),
            secret: shown.unwrap_or_default(),
        }
    }

    /// The token that the file holds already; none where there is no file.
    fn held(&self) -> anyhow::Result<Option<Secret>> {
        let path = self.output.as_deref().filter(|path| path.exists());
        Ok(path.map(client::token_in).transpose()?)
    }

    /// Looks before anything is made whether the file can be there.
    fn check(&self) -> anyhow::Result<()> {
        if let Some(path) = &self.output {
            anyhow::ensure!(!path.exists(), "{} exists already", path.display());
        }
        Ok(())
    }
}
