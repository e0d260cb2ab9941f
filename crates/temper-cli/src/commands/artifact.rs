//! `temper artifact`.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};
use futures::{Stream, TryStreamExt as _};
use serde_json::json;
use temper_core::{Digest, DigestBuilder};
use temper_proto::{
    JobName,
    v1::{
        ArtifactInfo, GetArtifactRequest, GetArtifactResponse, Selection,
        get_artifact_response::Part,
    },
};
use tonic::Status;

use crate::{
    connection::{self, Coordinator},
    names, output,
};

/// Which model, and where to.
#[derive(clap::Args)]
pub struct Args {
    /// The training
    #[arg(value_parser = names::job)]
    job: JobName,
    /// Where to write the model
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Of the best epoch on the validation split instead of the last one, where that is stored
    #[arg(long)]
    best: bool,
    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    coordinator: Coordinator,
}

/// Downloads a model. The file appears under its name only when it is whole and its digest right.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let path = args.output;
    ensure!(
        args.force || !path.exists(),
        "{} exists: --force replaces it",
        path.display()
    );
    let mut client = args.coordinator.jobs().await?;
    let request = GetArtifactRequest {
        name: args.job.to_string(),
        selection: if args.best {
            Selection::Best.into()
        } else {
            Selection::Last.into()
        },
    };
    let stream = client.get_artifact(request).await;
    let stream = stream
        .map_err(|status| connection::failure(&status))?
        .into_inner();
    let part = part_path(&path);
    let received = receive(stream, &part).await;
    let info = received.inspect_err(|_| {
        // What is there of it is worth nothing; should it stay, the next try overwrites it.
        let _ = std::fs::remove_file(&part);
    })?;
    std::fs::rename(&part, &path)
        .with_context(|| format!("cannot rename {} to {}", part.display(), path.display()))?;
    let (path, ArtifactInfo { size, sha256 }) = (path.display(), info);
    if args.json {
        output::line(json!({ "path": path.to_string(), "bytes": size, "sha256": sha256 }));
    } else {
        output::line(format_args!("{path}  {size} bytes, sha256 {sha256}"));
    }
    Ok(())
}

fn part_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

async fn receive(
    stream: impl Stream<Item = Result<GetArtifactResponse, Status>>,
    path: &Path,
) -> anyhow::Result<ArtifactInfo> {
    let mut stream = std::pin::pin!(stream);
    let mut next = async || {
        let message = stream
            .try_next()
            .await
            .map_err(|status| connection::failure(&status))?;
        Ok::<_, anyhow::Error>(message.and_then(|message| message.part))
    };
    let Some(Part::Info(info)) = next().await? else {
        bail!("the coordinator did not say what comes");
    };
    let expected: Digest = info
        .sha256
        .parse()
        .context("the coordinator sent no digest")?;
    let written = || format!("cannot write {}", path.display());
    let mut file = std::fs::File::create(path).with_context(written)?;
    let (mut digest, mut size) = (DigestBuilder::default(), 0_usize);
    while let Some(Part::Chunk(chunk)) = next().await? {
        digest.update(&chunk);
        size += chunk.len();
        file.write_all(&chunk).with_context(written)?;
    }
    file.sync_all().with_context(written)?;
    ensure!(
        i64::try_from(size) == Ok(info.size) && digest.finish() == expected,
        "what arrived is not the model: {size} bytes of {}, or another digest than {expected}",
        info.size
    );
    Ok(info)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(
        bytes: &[u8],
        sha256: &Digest,
        size: i64,
    ) -> Vec<Result<GetArtifactResponse, Status>> {
        let info = Part::Info(ArtifactInfo {
            size,
            sha256: sha256.to_string(),
        });
        let chunks = bytes.chunks(4).map(|chunk| Part::Chunk(chunk.to_vec()));
        let parts = std::iter::once(info).chain(chunks);
        parts
            .map(|part| Ok(GetArtifactResponse { part: Some(part) }))
            .collect()
    }

    #[tokio::test]
    async fn whole_model_is_written_and_a_torn_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.part");
        let (bytes, digest) = (b"safetensors", Digest::of(b"safetensors"));
        let whole = futures::stream::iter(messages(bytes, &digest, 11));
        assert_eq!(receive(whole, &path).await.unwrap().size, 11);
        assert_eq!(std::fs::read(&path).unwrap(), bytes);

        let short = futures::stream::iter(messages(&bytes[..8], &digest, 11));
        assert!(
            receive(short, &path)
                .await
                .unwrap_err()
                .to_string()
                .contains("8 bytes of 11")
        );
        let changed = futures::stream::iter(messages(b"safetensorz", &digest, 11));
        assert!(receive(changed, &path).await.is_err());
    }

    #[tokio::test]
    async fn broken_stream_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let mut parts = messages(b"safetensors", &Digest::of(b"safetensors"), 11);
        parts.truncate(2);
        parts.push(Err(Status::unavailable("gone")));
        let stream = futures::stream::iter(parts);
        let error = receive(stream, &folder.path().join("x")).await.unwrap_err();
        assert!(error.to_string().contains("gone"), "{error}");
    }

    #[test]
    fn part_lies_beside_the_file() {
        assert_eq!(
            part_path(Path::new("a/b.safetensors")),
            Path::new("a/b.safetensors.part")
        );
    }
}
