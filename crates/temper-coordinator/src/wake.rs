//! Wakes Lease calls that wait for a job: one listener for all of them, a hint behind which each
//! of them polls.

use std::{sync::Arc, time::Duration};

use tokio::time;

use crate::Shared;

/// How long one wait lasts at most, and the pause before listening is tried again.
const INTERVAL: Duration = Duration::from_secs(5);

/// Passes on every announcement, until the graceful stop.
pub async fn run(shared: Arc<Shared>) {
    tokio::select! {
        () = shared.stop.graceful.cancelled() => {}
        () = listen(&shared) => {}
    }
}

async fn listen(shared: &Shared) {
    loop {
        match shared.store.job_ready().await {
            Ok(mut ready) => loop {
                if ready.wait(INTERVAL).await {
                    shared.ready.send_replace(());
                }
            },
            Err(error) => {
                tracing::warn!(error = %temper_service::status::chain(&error), "cannot listen");
                time::sleep(INTERVAL).await;
            }
        }
    }
}
