//! What a job logs, sent to the coordinator while it runs. Nothing here holds a job up or fails it:
//! lines that cannot be sent in time are dropped, the oldest first, and counted.

mod buffer;
mod capture;
mod redact;

use std::{sync::Arc, time::Duration};

use temper_proto::v1;
use temper_service::client::is_transient;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::coordinator::Coordinator;
pub use capture::Capture;
pub(crate) use capture::Captured;

/// How often lines are sent.
const INTERVAL: Duration = Duration::from_secs(2);
/// How long the end of a job waits for its last lines to be taken.
const FLUSH: Duration = Duration::from_secs(3);

/// Sends what a job logs; clones share the lines.
#[derive(Debug, Clone)]
pub(crate) struct Logs(Arc<Sender>);

#[derive(Debug)]
struct Sender {
    coordinator: Coordinator,
    lease: v1::LeaseRef,
    captured: Captured,
    /// Held while lines are sent, so that they go in order; whether the coordinator takes any.
    taken: Mutex<bool>,
}

impl Logs {
    pub(crate) fn new(coordinator: Coordinator, lease: v1::LeaseRef, captured: Captured) -> Self {
        Self(Arc::new(Sender {
            coordinator,
            lease,
            captured,
            taken: Mutex::new(true),
        }))
    }

    /// Sends every now and then, until told to end.
    pub(crate) async fn send_until(self, end: CancellationToken) {
        let sending = async {
            loop {
                tokio::time::sleep(INTERVAL).await;
                self.send().await;
            }
        };
        tokio::select! {
            () = end.cancelled() => {}
            () = sending => {}
        }
    }

    /// Sends what is left, and gives up soon: the job's end matters more.
    pub(crate) async fn flush(&self) {
        let _given_up = tokio::time::timeout(FLUSH, self.send()).await;
    }

    /// What is told of a job elsewhere, as free of secrets as its log.
    pub(crate) fn redact(&self, text: &str) -> String {
        self.0.captured.redact(text)
    }

    /// Sends all that there is. What is not taken stays for the next time: a line sent twice is one.
    async fn send(&self) {
        let sender = &*self.0;
        let mut taken = sender.taken.lock().await;
        while *taken && let Some(batch) = sender.captured.buffer().batch() {
            let last = batch.last();
            let request = v1::ReportLogsRequest {
                lease: Some(sender.lease.clone()),
                first_line: i32::try_from(batch.first).unwrap_or(i32::MAX),
                lines: batch.lines,
            };
            // Below what is captured: a failure to send a line must not make another.
            match sender.coordinator.report_logs(request).await {
                Ok(()) => sender.captured.buffer().forget(last),
                Err(status) if is_transient(&status) => {
                    tracing::debug!(%status, "lines of the log are sent later");
                    return;
                }
                // The lease is over, or the coordinator is of the release before.
                Err(status) => {
                    tracing::debug!(%status, "no more lines of the log are sent");
                    *taken = false;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
