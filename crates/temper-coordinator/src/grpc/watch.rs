//! Following a sweep: level-triggered, a snapshot first, then what has changed.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures::{Stream, StreamExt as _, stream};
use temper_core::ErrorKind;
use temper_proto::v1;
use temper_service::status;
use temper_store::{SnapshotToken, StoreError};
use tokio::time;
use tonic::Status;
use uuid::Uuid;

use super::{encode, refused};
use crate::Shared;

/// How often the database is asked for changes.
const INTERVAL: Duration = Duration::from_millis(500);
/// Jobs of a message: about 2 MB, where clients take 4 MB unless they are told otherwise.
const PAGE: u32 = 5000;

/// The watch is cut because its coordinator stops.
#[derive(Debug, thiserror::Error)]
#[error("this coordinator is stopping: watch again for a fresh snapshot")]
struct Stopping;

/// Where a watch stands.
struct Watch {
    shared: Arc<Shared>,
    sweep: Uuid,
    since: SnapshotToken,
    last: Option<v1::Sweep>,
}

/// What a watch tells, in order.
pub type Messages =
    Pin<Box<dyn Stream<Item = Result<v1::WatchSweepResponse, Status>> + Send + 'static>>;

/// A stream that ends with the sweep, with the client, or with the coordinator.
pub async fn stream(shared: Arc<Shared>, sweep: Uuid) -> Result<Messages, Status> {
    let mut watch = Watch {
        shared,
        sweep,
        since: SnapshotToken::default(),
        last: None,
    };
    // An unknown sweep is refused before the stream starts.
    let snapshot = watch.poll().await.map_err(refused)?;
    let changes = stream::try_unfold(watch, |mut watch| async move {
        if watch.has_ended() {
            return Ok(None);
        }
        let change = watch.change().await?;
        Ok(Some((change, watch)))
    });
    Ok(Box::pin(stream::iter(snapshot.map(Ok)).chain(changes)))
}

impl Watch {
    /// Waits for a change, unless one is not told to its end.
    async fn change(&mut self) -> Result<v1::WatchSweepResponse, Status> {
        loop {
            let pause = if self.since.is_whole() {
                INTERVAL
            } else {
                Duration::ZERO
            };
            tokio::select! {
                biased;
                () = self.shared.stop.graceful.cancelled() => {
                    return Err(status::of(ErrorKind::Unavailable, &Stopping));
                }
                () = time::sleep(pause) => {}
            }
            if let Some(change) = self.poll().await.map_err(refused)? {
                return Ok(change);
            }
        }
    }

    /// What has changed since the last poll; none if nothing has.
    async fn poll(&mut self) -> Result<Option<v1::WatchSweepResponse>, StoreError> {
        // Jobs first: a sweep read after them is never older than they are.
        let changes = self
            .shared
            .store
            .job_changes(self.sweep, self.since, PAGE)
            .await?;
        self.since = changes.next;
        let jobs: Vec<_> = changes.jobs.into_iter().map(encode::job).collect();
        // The sweep comes last: whoever reads that it has ended need not read on.
        if !self.since.is_whole() {
            return Ok(Some(v1::WatchSweepResponse { sweep: None, jobs }));
        }
        let row = self.shared.store.sweep_get(self.sweep).await?;
        let sweep = encode::sweep(row, None);
        if jobs.is_empty() && self.last.as_ref() == Some(&sweep) {
            return Ok(None);
        }
        self.last = Some(sweep.clone());
        Ok(Some(v1::WatchSweepResponse {
            sweep: Some(sweep),
            jobs,
        }))
    }

    fn has_ended(&self) -> bool {
        let goes_on = |sweep: &v1::Sweep| {
            matches!(
                sweep.state(),
                v1::SweepState::Running | v1::SweepState::Paused
            )
        };
        self.last.as_ref().is_some_and(|sweep| !goes_on(sweep))
    }
}
