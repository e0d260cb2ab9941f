//! The file that says where the services and the token for them are, and which processes run.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::json;

use super::{
    folder::{self, Folder},
    services::Services,
    tokens::Tokens,
};

/// Keeps `up.json` true. Clones share it.
#[derive(Clone)]
pub struct Beacon {
    path: PathBuf,
    token: PathBuf,
    coordinator: String,
    results: String,
    workers: Arc<Mutex<BTreeMap<u32, u32>>>,
}

impl Beacon {
    /// Services without workers yet.
    pub fn new(folder: &Folder, services: &Services, tokens: &Tokens) -> Self {
        Self {
            path: folder.beacon(),
            token: tokens.user.clone(),
            coordinator: services.coordinator().to_owned(),
            results: services.results().to_owned(),
            workers: Arc::default(),
        }
    }

    /// Tells that a worker runs as this process now.
    pub fn set_worker(&self, worker: u32, process: Option<u32>) {
        // Held while writing, so that the newest state is written last.
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        match process {
            Some(process) => workers.insert(worker, process),
            None => workers.remove(&worker),
        };
        let contents = json!({
            "coordinator": self.coordinator,
            "results": self.results,
            "token": self.token,
            "process": std::process::id(),
            "workers": workers.values().collect::<Vec<_>>(),
        });
        if let Err(error) = folder::replace(&self.path, &format!("{contents:#}\n")) {
            tracing::warn!(%error, path = %self.path.display(), "cannot say where the services are");
        }
    }
}
