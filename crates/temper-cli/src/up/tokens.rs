//! The tokens of local mode: made at each start, and the ones of the start before revoked.

use std::path::PathBuf;

use anyhow::Context as _;
use temper_core::access::Role;
use temper_service::access::Secret;
use temper_store::{Actor, NewToken, Store};

use super::folder::Folder;
use crate::secret;

/// Where the tokens lie.
pub struct Tokens {
    /// Of whoever uses the folder: an admin's.
    pub user: PathBuf,
    /// Of the workers.
    pub worker: PathBuf,
}

/// Makes both tokens. The database is brought up to date for that.
pub async fn make(folder: &Folder, database_url: &str) -> anyhow::Result<Tokens> {
    let store = Store::connect(database_url, 1)
        .await
        .context("cannot connect to the database")?;
    store.migrate().await?;
    // By the folder, so that several on one database leave each other's alone.
    let maker = format!("temper up on {}", folder.path().display());
    let actor = Actor::at_database(&maker);
    store.tokens_revoke_made_by(&actor).await?;
    let tokens = Tokens {
        user: folder.token("user"),
        worker: folder.token("worker"),
    };
    for (name, role, path) in [
        ("local", Role::Admin, &tokens.user),
        ("local-workers", Role::Worker, &tokens.worker),
    ] {
        let secret = Secret::generate().context("the system gives no random bytes")?;
        let token = NewToken::new(name, role, secret.digest());
        store.token_create(&actor, token).await?;
        secret::replace(path, &secret)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    store.close().await;
    Ok(tokens)
}
