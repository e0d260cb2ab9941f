//! What a sweep names and the catalog does not pin is looked up on the hub when the sweep is
//! created: a branch means its newest commit of that moment, which the sweep then keeps.

use std::borrow::Cow;

use futures::future::join_all;
use temper_core::{
    ErrorKind,
    catalog::{Catalog, DatasetEntry, ModelEntry, PinError},
    spec::SweepSpec,
};
use temper_hub::{Hub, HubError, RepoKind};

/// The catalog as one sweep sees it.
pub struct Pinned<'a> {
    /// With what was looked up in place of what was not pinned.
    pub catalog: Cow<'a, Catalog>,
    /// Entries that could not be pinned, with the reason.
    pub failures: Vec<(String, Failure)>,
}

/// Why an entry could not be pinned.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The hub does not tell.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The repository is not as the entry says.
    #[error(transparent)]
    Entry(#[from] PinError),
    /// The entry lies in a folder, which only workers see.
    #[error("its files are in a folder of the workers")]
    Folder,
}

impl Failure {
    /// `Unavailable` where trying again may help, else `FailedPrecondition`.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Hub(error) if error.kind() == ErrorKind::Unavailable => ErrorKind::Unavailable,
            _ => ErrorKind::FailedPrecondition,
        }
    }
}

/// Pins what `spec` names.
pub async fn pin<'a>(catalog: &'a Catalog, hub: &Hub, spec: &SweepSpec) -> Pinned<'a> {
    let (models, datasets) = catalog.unpinned(&spec.models, &spec.datasets);
    let models = models.into_iter().map(async |name| {
        let entry = &catalog.models[name];
        (name.to_owned(), model(hub, entry).await)
    });
    let datasets = datasets.into_iter().map(async |name| {
        let entry = &catalog.datasets[name];
        (name.to_owned(), dataset(hub, entry).await)
    });
    let (models, datasets) = futures::join!(join_all(models), join_all(datasets));
    let mut pinned = Pinned {
        catalog: Cow::Borrowed(catalog),
        failures: Vec::new(),
    };
    for (name, entry) in models {
        match entry {
            Ok(entry) => drop(pinned.catalog.to_mut().models.insert(name, entry)),
            Err(failure) => pinned.failures.push((name, failure)),
        }
    }
    for (name, entry) in datasets {
        match entry {
            Ok(entry) => drop(pinned.catalog.to_mut().datasets.insert(name, entry)),
            Err(failure) => pinned.failures.push((name, failure)),
        }
    }
    pinned
}

async fn model(hub: &Hub, entry: &ModelEntry) -> Result<ModelEntry, Failure> {
    let found = hub.resolve(RepoKind::Model, &entry.repository, entry.revision());
    Ok(entry.pinned_to(&found.await?.into())?)
}

async fn dataset(hub: &Hub, entry: &DatasetEntry) -> Result<DatasetEntry, Failure> {
    let (repository, _) = entry.source.repository().ok_or(Failure::Folder)?;
    let found = hub.resolve(RepoKind::Dataset, repository, entry.source.revision());
    Ok(entry.pinned_to(&found.await?.into())?)
}
