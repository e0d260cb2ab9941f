//! `temper migrate`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use serde_json::json;
use temper_service::database::Database;
use temper_store::{READER, RESULTS, RolePasswords, Store, Verifier};

use crate::output;

/// Which database, and whether roles are made.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    database: Database,
    /// Also make the roles that only read, or bring them up to date: `temper_reader` for dashboards,
    /// `temper_results` for the results service
    #[arg(long)]
    roles: bool,
    /// File with the password of `temper_reader`; without one its password stays as it is
    #[arg(long, env = "TEMPER_READER_PASSWORD_FILE", value_name = "FILE")]
    reader_password_file: Option<PathBuf>,
    /// File with the password of `temper_results`; without one its password stays as it is
    #[arg(long, env = "TEMPER_RESULTS_PASSWORD_FILE", value_name = "FILE")]
    results_password_file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Applies the migrations that the database lacks. Coordinators do the same when they start; roles are
/// made here alone.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let passwords = RolePasswords {
        reader: verifier(args.reader_password_file.as_deref())?,
        results: verifier(args.results_password_file.as_deref())?,
    };
    let store = Store::connect(&args.database.url()?, 1)
        .await
        .context("cannot connect to the database (TEMPER_DATABASE_URL)")?;
    store.migrate().await?;
    if args.roles {
        let applied = store.roles_apply(&passwords).await;
        applied.context("cannot make the roles")?;
    }
    store.close().await;
    let roles: &[&str] = if args.roles { &[READER, RESULTS] } else { &[] };
    if args.json {
        output::line(json!({ "upToDate": true, "roles": roles }));
        return Ok(());
    }
    output::line("the database is up to date");
    if !roles.is_empty() {
        let roles = roles.join(" and ");
        output::line(format_args!("the roles {roles} are up to date"));
    }
    Ok(())
}

/// What is to be kept of the password in a file: its text less the line's end.
fn verifier(file: Option<&Path>) -> anyhow::Result<Option<Verifier>> {
    let Some(path) = file else { return Ok(None) };
    let text = fs::read_to_string(path)
        .with_context(|| format!("cannot read the password in {}", path.display()))?;
    let password = text.trim_end_matches(['\r', '\n']);
    ensure!(!password.is_empty(), "{} is empty", path.display());
    Ok(Some(Verifier::of(password)))
}
