//! `temper-worker pin`: gives catalog entries the digests of the files that are here.

use std::{collections::BTreeSet, fmt::Write as _, path::PathBuf};

use clap::Args;
use temper_core::catalog::{Catalog, CatalogError};
use temper_data::DataError;
use temper_service::status;

use crate::config::Inputs;

/// What to pin.
#[derive(Debug, Clone, Args)]
pub struct Pin {
    /// A catalog of your own, whose entries win over the built-in ones
    #[arg(long, env = "TEMPER_CATALOG", value_name = "FILE")]
    pub catalog: Option<PathBuf>,
    /// Only these entries
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub names: Vec<String>,
    /// Where images and weights lie.
    #[command(flatten)]
    pub inputs: Inputs,
}

/// What pinning found.
#[derive(Debug)]
pub struct Pinned {
    /// A catalog file with the entries that are pinned now.
    pub overlay: String,
    /// Entries that could not be, with the reason.
    pub missing: Vec<(String, DataError)>,
}

/// Why nothing was pinned.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// The user's catalog cannot be read.
    #[error("cannot read the catalog {}", .path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A catalog that is none.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A name that no catalog has.
    #[error("the catalog has no entry named {0}")]
    Unknown(String),
    /// The result has no form as TOML.
    #[error("the result cannot be written as TOML")]
    Form(#[from] toml::ser::Error),
}

impl Pin {
    /// Reads the files and takes their digests.
    ///
    /// # Errors
    /// [`PinError`]; files that are not here are no error.
    pub fn run(&self) -> Result<Pinned, PinError> {
        let catalog = self.entries()?;
        let (pinned, missing) = self.inputs.sources().pin(&catalog);
        let overlay = toml::to_string(&pinned)?;
        Ok(Pinned { overlay, missing })
    }

    fn entries(&self) -> Result<Catalog, PinError> {
        let mut catalog = Catalog::built_in()?;
        if let Some(path) = &self.catalog {
            let text = std::fs::read_to_string(path).map_err(|source| PinError::Unreadable {
                path: path.clone(),
                source,
            })?;
            catalog.overlay(Catalog::parse(&text)?);
        }
        if self.names.is_empty() {
            return Ok(catalog);
        }
        let names: BTreeSet<&str> = self.names.iter().map(String::as_str).collect();
        let known =
            |name: &str| catalog.models.contains_key(name) || catalog.datasets.contains_key(name);
        if let Some(unknown) = names.iter().find(|name| !known(name)) {
            return Err(PinError::Unknown((*unknown).to_owned()));
        }
        catalog
            .models
            .retain(|name, _| names.contains(name.as_str()));
        catalog
            .datasets
            .retain(|name, _| names.contains(name.as_str()));
        Ok(catalog)
    }
}

impl Pinned {
    /// A line for each entry that could not be pinned.
    #[must_use]
    pub fn complaints(&self) -> String {
        let mut lines = String::new();
        for (name, error) in &self.missing {
            // Writing to a string does not fail.
            let _ = writeln!(lines, "not pinned: {name}: {}", status::chain(error));
        }
        lines
    }
}
