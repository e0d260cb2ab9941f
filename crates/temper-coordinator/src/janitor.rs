//! Deletes checkpoints that nobody will resume from: the bytes first, then the rows, so that it leaves
//! nothing behind which no row tells of.

use std::sync::Arc;

use futures::{StreamExt as _, stream};
use temper_service::status::chain;
use temper_store::StoreError;
use tokio::time::{self, MissedTickBehavior};

use crate::Shared;

/// Checkpoints that are looked at together.
const BATCH: u32 = 100;
/// Deletions that are under way at a time.
const AT_ONCE: usize = 8;

/// Runs until the graceful stop, and then to the end of the batch in hand; the cut drops that too.
/// Several coordinators may run it at once: what is deleted twice is deleted.
pub async fn run(shared: Arc<Shared>) {
    tokio::select! {
        () = shared.stop.cut.cancelled() => {}
        () = tidy_on_time(&shared) => {}
    }
}

async fn tidy_on_time(shared: &Shared) {
    let mut ticks = time::interval(shared.config.janitor);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shared.stop.graceful.cancelled() => return,
            _ = ticks.tick() => {}
        }
        match tidy(shared).await {
            Ok(0) => {}
            Ok(deleted) => tracing::debug!(deleted, "old checkpoints deleted"),
            // The next tick tries again; what is condemned stays so.
            Err(error) => tracing::warn!(error = %chain(&error), "janitor"),
        }
    }
}

/// Condemns what there is to condemn and deletes all that is condemned, what an earlier round failed
/// on as well. Says how many checkpoints are gone.
async fn tidy(shared: &Shared) -> Result<u64, StoreError> {
    let (store, stopping) = (&shared.store, &shared.stop.graceful);
    while store.checkpoints_condemn(BATCH).await? == u64::from(BATCH) {
        if stopping.is_cancelled() {
            return Ok(0);
        }
    }
    let (mut deleted, mut after) = (0, String::new());
    loop {
        let batch = store.checkpoints_condemned(&after, BATCH).await?;
        // By path, so that what cannot be deleted does not stand before the rest.
        let Some(last) = batch.last() else {
            return Ok(deleted);
        };
        after.clone_from(last);
        let gone = delete(shared, batch).await;
        deleted += store.checkpoints_forget(&gone).await?;
        if stopping.is_cancelled() {
            return Ok(deleted);
        }
    }
}

/// Deletes the bytes and gives the paths where none are left.
async fn delete(shared: &Shared, paths: Vec<String>) -> Vec<String> {
    let deletions = stream::iter(paths).map(|path| async move {
        match shared.objects.delete(&path).await {
            Ok(()) => Some(path),
            Err(error) => {
                tracing::warn!(path, error = %chain(&error), "cannot delete a checkpoint");
                None
            }
        }
    });
    let gone = deletions.buffer_unordered(AT_ONCE);
    gone.filter_map(|path| async { path }).collect().await
}
