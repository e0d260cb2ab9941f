//! The coordinator's catalog: the built-in one, the user's, and the digests of files that are here.

use std::{path::Path, process::Stdio};

use anyhow::Context as _;
use temper_core::catalog::Catalog;

use super::{
    folder::{self, Folder},
    workers::Crew,
};

/// Puts the catalog together. What cannot be pinned stays known but unpinned.
pub async fn load(user: Option<&Path>, crew: &Crew, folder: &Folder) -> anyhow::Result<Catalog> {
    let mut catalog = Catalog::built_in()?;
    if let Some(path) = user {
        let named = || format!("catalog {}", path.display());
        let text = std::fs::read_to_string(path).with_context(named)?;
        catalog.overlay(Catalog::parse(&text).with_context(named)?);
    }
    if let Some(pins) = pin(crew).await? {
        let path = folder.pins();
        folder::replace(&path, &pins)
            .with_context(|| format!("cannot write {}", path.display()))?;
        catalog.overlay(Catalog::parse(&pins).context("what temper-worker pinned")?);
    }
    Ok(catalog)
}

/// Asks the worker's program, because only that reads images and weights; none when it fails.
async fn pin(crew: &Crew) -> anyhow::Result<Option<String>> {
    let output = crew
        .command()
        .args(["pin", "--log", "warn"])
        .stdin(Stdio::null())
        .output()
        .await
        .context("cannot run temper-worker")?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        tracing::warn!(status = %output.status, %said, "nothing could be pinned");
        return Ok(None);
    }
    for line in said.lines() {
        tracing::info!("{line}");
    }
    String::from_utf8(output.stdout)
        .context("temper-worker pin")
        .map(Some)
}
