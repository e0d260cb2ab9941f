//! The catalog as this machine sees it: the built-in entries, and those of a file of the user's.

use std::{collections::BTreeSet, path::PathBuf};

use anyhow::{Context as _, bail};
use temper_core::catalog::Catalog;

/// Which catalog.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct CatalogFile {
    /// Catalog file whose entries are added to the built-in ones and win over them
    #[arg(long, env = "TEMPER_CATALOG", value_name = "FILE")]
    pub catalog: Option<PathBuf>,
}

impl CatalogFile {
    /// The built-in catalog with the user's entries.
    pub fn load(&self) -> anyhow::Result<Catalog> {
        let mut catalog = Catalog::built_in()?;
        if let Some(path) = &self.catalog {
            let named = || format!("catalog {}", path.display());
            let text = std::fs::read_to_string(path).with_context(named)?;
            catalog.overlay(Catalog::parse(&text).with_context(named)?);
        }
        Ok(catalog)
    }
}

/// Only the entries of these names; all of them where none is named.
pub fn only(mut catalog: Catalog, names: &[String]) -> anyhow::Result<Catalog> {
    if names.is_empty() {
        return Ok(catalog);
    }
    let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    for name in &names {
        if !catalog.models.contains_key(*name) && !catalog.datasets.contains_key(*name) {
            bail!("the catalog has no entry named {name}");
        }
    }
    catalog
        .models
        .retain(|name, _| names.contains(name.as_str()));
    catalog
        .datasets
        .retain(|name, _| names.contains(name.as_str()));
    Ok(catalog)
}
