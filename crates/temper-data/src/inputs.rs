//! Where images and weights lie, as every program that reads them asks for it.

use std::path::PathBuf;

use temper_hub::{BlockingHub, HubConfig};

use crate::{DataError, Sources};

/// Where images and weights lie. The hub is asked for what no mirror folder holds, by the
/// variables of its own clients: `HF_HOME`, `HF_TOKEN`, `HF_ENDPOINT`, `HF_HUB_OFFLINE` (see
/// [`temper_hub`]).
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Inputs {
    /// Mirror folders of the hub, separated by colons, with models/OWNER/NAME and
    /// datasets/OWNER/NAME below; the hub is asked for what none of them holds
    #[arg(
        long,
        env = "TEMPER_MIRROR",
        value_delimiter = ':',
        value_name = "FOLDERS"
    )]
    pub mirror: Vec<PathBuf>,
    /// Folders below which image folders may be named, separated by colons
    #[arg(
        long,
        env = "TEMPER_ROOTS",
        value_delimiter = ':',
        value_name = "FOLDERS"
    )]
    pub roots: Vec<PathBuf>,
    /// Folder that keeps decoded images [default: temper in $`XDG_CACHE_HOME` or ~/.cache]
    #[arg(long, env = "TEMPER_CACHE", value_name = "FOLDER")]
    pub cache: Option<PathBuf>,
}

impl Inputs {
    /// The way to images and weights.
    ///
    /// # Errors
    /// When a variable of the hub has no sense.
    pub fn sources(&self) -> Result<Sources, DataError> {
        let hub = BlockingHub::new(HubConfig::from_environment()?)?;
        let sources = self.local_sources().with_hub(hub);
        Ok(match self.cache_folder() {
            Some(folder) => sources.with_cache(&folder),
            None => sources,
        })
    }

    /// The same without the hub: what is in folders of this machine.
    #[must_use]
    pub fn local_sources(&self) -> Sources {
        Sources::new(self.mirror.clone(), self.roots.clone())
    }

    /// None where the environment names no home.
    fn cache_folder(&self) -> Option<PathBuf> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let user = || {
            let caches = variable("XDG_CACHE_HOME").map(PathBuf::from);
            let home = || Some(PathBuf::from(variable("HOME")?).join(".cache"));
            Some(caches.or_else(home)?.join("temper"))
        };
        self.cache.clone().or_else(user)
    }
}
