//! Where the services are, by what this command shows who it is, and calls to them.

use std::{future::Future, time::Duration};

use clap::Args;
use temper_proto::v1::{
    admin_service_client::AdminServiceClient, job_service_client::JobServiceClient,
    results_service_client::ResultsServiceClient, sweep_service_client::SweepServiceClient,
};
use temper_service::{
    client::{self, Access, Channel},
    status,
};
use tonic::{Response, Status};

use crate::local;

/// Waits between the tries of a call whose reply was lost; as many tries as waits, and one.
const RETRY_WAITS: [Duration; 5] = [
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(5),
];
/// Large enough for a page of a thousand jobs and the curves of a large sweep.
const LARGEST_MESSAGE: usize = 64 << 20;

/// Where the coordinator is.
#[derive(Debug, Clone, Args)]
pub struct Coordinator {
    /// The coordinator; where several run over one database, all of them, separated by commas
    #[arg(
        long,
        env = "TEMPER_COORDINATOR",
        default_value = "http://127.0.0.1:7070",
        value_name = "URLS"
    )]
    pub coordinator: String,
    #[command(flatten)]
    access: Access,
}

/// Where the results service is.
#[derive(Debug, Clone, Args)]
pub struct Results {
    /// The results service; where several run, all of them, separated by commas
    #[arg(
        long,
        env = "TEMPER_RESULTS",
        default_value = "http://127.0.0.1:7071",
        value_name = "URLS"
    )]
    pub results: String,
    #[command(flatten)]
    access: Access,
}

impl Coordinator {
    /// The coordinator's sweeps.
    pub async fn sweeps(&self) -> anyhow::Result<SweepServiceClient<Channel>> {
        let channel = channel(&self.coordinator, &self.access).await?;
        Ok(SweepServiceClient::new(channel).max_decoding_message_size(LARGEST_MESSAGE))
    }

    /// The coordinator's jobs.
    pub async fn jobs(&self) -> anyhow::Result<JobServiceClient<Channel>> {
        let channel = channel(&self.coordinator, &self.access).await?;
        Ok(JobServiceClient::new(channel).max_decoding_message_size(LARGEST_MESSAGE))
    }

    /// The coordinator's tokens and audit log.
    pub async fn admin(&self) -> anyhow::Result<AdminServiceClient<Channel>> {
        let channel = channel(&self.coordinator, &self.access).await?;
        Ok(AdminServiceClient::new(channel))
    }
}

impl Results {
    /// The results service at `urls`, under the credentials for the coordinator.
    pub fn beside(coordinator: &Coordinator, urls: String) -> Self {
        Self {
            results: urls,
            access: coordinator.access.clone(),
        }
    }

    /// The results service.
    pub async fn connect(&self) -> anyhow::Result<ResultsServiceClient<Channel>> {
        let channel = channel(&self.results, &self.access).await?;
        Ok(ResultsServiceClient::new(channel).max_decoding_message_size(LARGEST_MESSAGE))
    }
}

/// Connects, under the token that was given, else under that of the `temper up` that serves there.
async fn channel(url: &str, access: &Access) -> anyhow::Result<Channel> {
    let mut credentials = access.load()?;
    if !credentials.has_token()
        && let Some(token) = local::token(url)
    {
        credentials = credentials.with_token(token);
    }
    Ok(client::connect(url, &credentials).await?)
}

/// Makes a call, again while its reply is lost on the way. Only for calls that change nothing the
/// second time: reads, cancels, and creates with a request id.
pub async fn call<T, F>(mut attempt: impl FnMut() -> F) -> anyhow::Result<T>
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    for wait in RETRY_WAITS {
        match attempt().await {
            Ok(response) => return Ok(response.into_inner()),
            Err(status) if client::is_transient(&status) => {
                tracing::debug!(%status, "trying again");
                tokio::time::sleep(wait).await;
            }
            Err(status) => return Err(failure(&status)),
        }
    }
    attempt()
        .await
        .map(Response::into_inner)
        .map_err(|status| failure(&status))
}

/// A refused call as an error for people: every violated field on a line of its own.
pub fn failure(status: &Status) -> anyhow::Error {
    anyhow::anyhow!(status::explain(status))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn lost_reply_is_asked_for_again() {
        let tries = Cell::new(0);
        let answer = call(async || {
            tries.set(tries.get() + 1);
            match tries.get() {
                1 | 2 => Err(Status::unavailable("reset")),
                _ => Ok(Response::new("sweep")),
            }
        });
        assert_eq!((answer.await.unwrap(), tries.get()), ("sweep", 3));
    }

    #[tokio::test(start_paused = true)]
    async fn refusal_is_final_and_a_dead_peer_is_given_up() {
        let tries = Cell::new(0);
        let refused = call::<(), _>(async || {
            tries.set(tries.get() + 1);
            Err(Status::not_found("no such sweep"))
        });
        assert!(
            refused
                .await
                .unwrap_err()
                .to_string()
                .contains("no such sweep")
        );
        assert_eq!(tries.get(), 1);
        let dead = call::<(), _>(async || Err(Status::unavailable("down")));
        assert!(dead.await.unwrap_err().to_string().contains("down"));
    }
}
