//! `temper submit`.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use temper_proto::v1::{CreateSweepRequest, JobCounts, Sweep};
use uuid::Uuid;

use super::watch;
use crate::{
    connection::{self, Coordinator},
    names, output,
};

/// What to submit.
#[derive(clap::Args)]
pub struct Args {
    /// A `CreateSweepRequest` in protobuf JSON, as `grpcurl -d @` takes it; `-` for standard input
    #[arg(value_name = "SPEC.json")]
    spec: PathBuf,
    /// Makes a repeated submission the same sweep; a fresh one when absent here and in the file
    #[arg(long, value_name = "UUID")]
    request_id: Option<Uuid>,
    /// Check and count, but submit nothing
    #[arg(long)]
    validate_only: bool,
    /// Follow the sweep until it ends
    #[arg(long, conflicts_with = "validate_only")]
    watch: bool,
    /// Print the sweep as JSON
    #[arg(long, conflicts_with = "watch")]
    json: bool,
    #[command(flatten)]
    coordinator: Coordinator,
}

/// Submits a sweep and prints its name.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut request = read(&args.spec)?;
    request.validate_only |= args.validate_only;
    set_request_id(&mut request, args.request_id);
    let client = args.coordinator.sweeps().await?;
    // Safe to repeat: the request id makes the second create answer with the first one's sweep.
    let sweep = connection::call(|| {
        let (mut client, request) = (client.clone(), request.clone());
        async move { client.create_sweep(request).await }
    })
    .await?;
    if args.json {
        output::print_json(&sweep)?;
        return Ok(ExitCode::SUCCESS);
    }
    for warning in &sweep.warnings {
        eprintln!("warning: {warning}");
    }
    if request.validate_only {
        output::line(format_args!("valid: {}", counts(&sweep)));
        sweep.preview.iter().for_each(output::preview);
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("{}, {} of them new", counts(&sweep), sweep.jobs_created);
    output::line(&sweep.name);
    if args.watch {
        let name = names::sweep(&sweep.name).map_err(anyhow::Error::msg)?;
        return watch::follow(name, &args.coordinator).await;
    }
    eprintln!("follow it with `temper watch {}`", sweep.name);
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> anyhow::Result<CreateSweepRequest> {
    let text = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .context("cannot read standard input")?;
        text
    } else {
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?
    };
    temper_proto::from_json(&text).with_context(|| path.display().to_string())
}

/// The one asked for here wins over the file's; without either a fresh one.
fn set_request_id(request: &mut CreateSweepRequest, wanted: Option<Uuid>) {
    if wanted.is_some() || request.request_id.is_empty() {
        request.request_id = wanted.unwrap_or_else(Uuid::new_v4).to_string();
    }
}

pub(super) fn counts(sweep: &Sweep) -> String {
    let jobs = sweep.jobs.unwrap_or_default();
    let JobCounts {
        queued,
        leased,
        succeeded,
        failed,
        cancelled,
    } = jobs;
    let total = queued + leased + succeeded + failed + cancelled;
    format!("{} cells, {total} jobs", sweep.cells)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_id_of_the_file_is_kept_and_a_missing_one_is_made() {
        let mut request = CreateSweepRequest {
            request_id: "mine".into(),
            ..Default::default()
        };
        set_request_id(&mut request, None);
        assert_eq!(request.request_id, "mine");
        let wanted = Uuid::from_u128(7);
        set_request_id(&mut request, Some(wanted));
        assert_eq!(request.request_id, wanted.to_string());
        let mut bare = CreateSweepRequest::default();
        set_request_id(&mut bare, None);
        assert!(bare.request_id.parse::<Uuid>().is_ok());
    }

    #[test]
    fn broken_spec_is_blamed_with_file_and_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spec.json");
        std::fs::write(&path, "{\n  \"swep\": {}\n}").unwrap();
        let error = format!("{:#}", read(&path).unwrap_err());
        assert!(
            error.contains("spec.json") && error.contains("swep"),
            "{error}"
        );
        assert!(error.contains("line 2"), "{error}");
    }
}
