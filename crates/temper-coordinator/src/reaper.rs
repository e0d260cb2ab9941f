//! Takes back leases that have run out.

use std::{sync::Arc, time::Duration};

use tokio::time::{self, MissedTickBehavior};

use crate::{Shared, metrics};

/// How often leases are looked at: small against any lease.
const INTERVAL: Duration = Duration::from_secs(1);

/// Runs until the graceful stop. Several coordinators may run it at once.
pub async fn run(shared: Arc<Shared>) {
    let mut ticks = time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shared.stop.graceful.cancelled() => return,
            _ = ticks.tick() => {}
        }
        match shared.store.lease_expire().await {
            Ok(jobs) => {
                metrics::lost(jobs.len());
                for job in jobs {
                    tracing::warn!(%job, "lease ran out");
                }
            }
            // The next tick tries again; leases do not run away.
            Err(error) => tracing::warn!(error = %temper_service::status::chain(&error), "reaper"),
        }
    }
}
