//! `temper results export`.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};
use clap::ValueEnum;
use futures::{Stream, TryStreamExt as _};
use serde_json::json;
use temper_proto::{
    SweepName,
    v1::{ExportFormat, ExportKind, ExportRequest, ExportResponse, export_response::Part},
};
use tonic::Status;

use crate::{
    connection::{self, Results},
    names, output,
};

/// What to export, as what, and where to.
#[derive(clap::Args)]
pub struct Args {
    /// The sweep
    #[arg(value_parser = names::sweep)]
    sweep: SweepName,
    /// What a row is of
    #[arg(long, value_enum, default_value_t = Kind::Curves)]
    kind: Kind,
    /// How rows are written: JSON is an object a line
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
    /// Where to write; standard output when absent
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the file if it exists
    #[arg(long, requires = "output")]
    force: bool,
    /// Print as JSON which file was written; the rows themselves are JSON by --format
    #[arg(long, requires = "output")]
    json: bool,
    #[command(flatten)]
    results: Results,
}

/// What a row is of.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// A job, with its summary
    Jobs,
    /// An epoch of a training
    Epochs,
    /// A strength of an evaluation, in counts
    Evaluations,
    /// An evaluation, with its three scalars
    Curves,
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Csv,
    Json,
    Parquet,
}

/// Writes an export. A file appears under its name only when it is whole.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let request = ExportRequest {
        sweep: args.sweep.to_string(),
        kind: ExportKind::from(args.kind).into(),
        format: ExportFormat::from(args.format).into(),
    };
    let Some(path) = &args.output else {
        ensure!(
            args.format != Format::Parquet || !io::stdout().is_terminal(),
            "Parquet is no text: name a file with --output"
        );
        let stream = stream(&args.results, request).await?;
        let received = receive(stream, &mut io::stdout().lock()).await;
        received.inspect_err(output::end_unless_read)?;
        return Ok(());
    };
    ensure!(
        args.force || !path.exists(),
        "{} exists: --force replaces it",
        path.display()
    );
    let stream = stream(&args.results, request).await?;
    let part = part_path(path);
    let written = write(stream, &part).await;
    let size = written.inspect_err(|_| {
        // What is there of it is worth nothing; should it stay, the next try overwrites it.
        let _ = std::fs::remove_file(&part);
    })?;
    std::fs::rename(&part, path)
        .with_context(|| format!("cannot rename {} to {}", part.display(), path.display()))?;
    let path = path.display();
    if args.json {
        output::line(json!({ "path": path.to_string(), "bytes": size }));
    } else {
        output::line(format_args!("{path}  {size} bytes"));
    }
    Ok(())
}

async fn stream(
    results: &Results,
    request: ExportRequest,
) -> anyhow::Result<impl Stream<Item = Result<ExportResponse, Status>>> {
    let mut client = results.connect().await?;
    let stream = client.export(request).await;
    let stream = stream.map_err(|status| connection::failure(&status))?;
    Ok(stream.into_inner())
}

fn part_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

async fn write(
    stream: impl Stream<Item = Result<ExportResponse, Status>>,
    path: &Path,
) -> anyhow::Result<usize> {
    let written = || format!("cannot write {}", path.display());
    let mut file = File::create(path).with_context(written)?;
    let size = receive(stream, &mut file).await?;
    file.sync_all().with_context(written)?;
    Ok(size)
}

/// Writes what comes, and says how many bytes that were.
async fn receive(
    stream: impl Stream<Item = Result<ExportResponse, Status>>,
    to: &mut impl Write,
) -> anyhow::Result<usize> {
    let mut stream = std::pin::pin!(stream);
    let (mut size, mut is_first) = (0, true);
    while let Some(message) = stream
        .try_next()
        .await
        .map_err(|status| connection::failure(&status))?
    {
        match message.part {
            Some(Part::Info(_)) if is_first => {}
            Some(Part::Chunk(bytes)) if !is_first => {
                to.write_all(&bytes).context("cannot write")?;
                size += bytes.len();
            }
            _ => bail!("the results service did not keep to the protocol"),
        }
        is_first = false;
    }
    ensure!(!is_first, "the results service did not say what comes");
    to.flush().context("cannot write")?;
    Ok(size)
}

impl From<Kind> for ExportKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Jobs => Self::Jobs,
            Kind::Epochs => Self::Epochs,
            Kind::Evaluations => Self::Evaluations,
            Kind::Curves => Self::Curves,
        }
    }
}

impl From<Format> for ExportFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Csv => Self::Csv,
            Format::Json => Self::Json,
            Format::Parquet => Self::Parquet,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use temper_proto::v1::ExportInfo;

    use super::*;

    fn messages(chunks: &[&str]) -> Vec<Result<ExportResponse, Status>> {
        let info = Part::Info(ExportInfo::default());
        let chunks = chunks
            .iter()
            .map(|chunk| Part::Chunk(chunk.as_bytes().to_vec()));
        let parts = std::iter::once(info).chain(chunks);
        parts
            .map(|part| Ok(ExportResponse { part: Some(part) }))
            .collect()
    }

    #[tokio::test]
    async fn chunks_are_written_in_order_and_a_broken_stream_is_an_error() {
        let mut bytes = Vec::new();
        let stream = futures::stream::iter(messages(&["a,b\n", "1,2\n"]));
        assert_eq!(receive(stream, &mut bytes).await.unwrap(), 8);
        assert_eq!(bytes, b"a,b\n1,2\n");
        let mut torn = messages(&["a,b\n"]);
        torn.push(Err(Status::unavailable("gone")));
        let stream = futures::stream::iter(torn);
        let error = receive(stream, &mut Vec::new()).await.unwrap_err();
        assert!(error.to_string().contains("gone"), "{error}");
        let nothing = futures::stream::iter(Vec::new());
        assert!(receive(nothing, &mut Vec::new()).await.is_err());
    }

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: super::super::Args,
    }

    #[test]
    fn sweep_is_shown_or_exported() {
        let sweep = format!("sweeps/{}", uuid::Uuid::nil());
        let shown = Line::try_parse_from(["results", &sweep, "--json"]).unwrap();
        assert!(shown.args.command.is_none() && shown.args.sweep.is_some());
        let line = [
            "results", "export", &sweep, "--kind", "epochs", "--format", "parquet",
        ];
        let exported = Line::try_parse_from(line).unwrap();
        assert!(exported.args.command.is_some() && exported.args.sweep.is_none());
        assert!(Line::try_parse_from(["results"]).is_err());
        assert!(Line::try_parse_from(["results", "--json", "export", &sweep]).is_err());
    }

    #[test]
    fn json_tells_of_a_file_and_never_stands_among_the_rows() {
        let sweep = format!("sweeps/{}", uuid::Uuid::nil());
        let rows = ["results", "export", &sweep, "--json"];
        assert!(Line::try_parse_from(rows).is_err());
        let file = ["results", "export", &sweep, "--json", "-o", "rows.csv"];
        assert!(Line::try_parse_from(file).is_ok());
    }
}
