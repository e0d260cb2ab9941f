//! The coordinator's catalog: the built-in one, the user's, and the digests of files that are here.

use anyhow::Context as _;
use temper_core::catalog::Catalog;
use temper_data::Inputs;
use temper_service::status;

use crate::catalog::CatalogFile;

/// Puts the catalog together. What lies in no folder stays unpinned: the coordinator asks the hub
/// for it when a sweep names it.
pub async fn load(user: CatalogFile, inputs: Inputs) -> anyhow::Result<Catalog> {
    let pin = move || {
        let mut catalog = user.load()?;
        let (pins, missing) = inputs.local_sources().pin(&catalog);
        for (name, error) in missing {
            tracing::info!(reason = status::chain(&error), "not pinned here: {name}");
        }
        catalog.overlay(pins);
        Ok(catalog)
    };
    // Digests are taken of every byte.
    tokio::task::spawn_blocking(pin).await.context("pinning")?
}
