//! The coordinator's `WorkerService`, each call with a time limit.

use std::time::Duration;

use temper_proto::v1::{self, worker_service_client::WorkerServiceClient};
use temper_service::client::{self, Channel, ConnectError, Credentials};
use tonic::{Response, Status};

/// How long an ordinary call may take.
const CALL_LIMIT: Duration = Duration::from_secs(15);
/// How long the coordinator may wait for a job to lease out.
const LONG_POLL: Duration = Duration::from_secs(20);

/// A connection to the coordinator; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Coordinator {
    client: WorkerServiceClient<Channel>,
}

impl Coordinator {
    /// Connects on first use, and again after each break.
    pub(crate) fn new(url: &str, credentials: &Credentials) -> Result<Self, ConnectError> {
        let channel = client::connect_lazily(url, credentials)?;
        Ok(Self {
            client: WorkerServiceClient::new(channel),
        })
    }

    pub(crate) async fn register(
        &self,
        request: v1::RegisterRequest,
    ) -> Result<v1::RegisterResponse, Status> {
        let mut client = self.client.clone();
        limited(CALL_LIMIT, client.register(request)).await
    }

    /// A job, or none after a poll of at most so long. Whatever this incarnation is said to hold is given back first: it
    /// has one job at a time, and asks when it has none.
    pub(crate) async fn lease(
        &self,
        incarnation: &str,
        free_memory: Option<u64>,
        longest: Option<Duration>,
    ) -> Result<Option<v1::Assignment>, Status> {
        let mut client = self.client.clone();
        let wait = longest.map_or(LONG_POLL, |longest| longest.min(LONG_POLL));
        let request = v1::LeaseRequest {
            incarnation: incarnation.to_owned(),
            wait: wait.try_into().ok(),
            idle: true,
            free_memory_bytes: free_memory
                .and_then(|bytes| i64::try_from(bytes).ok())
                .unwrap_or_default(),
        };
        let answer = limited(LONG_POLL + CALL_LIMIT, client.lease(request)).await?;
        Ok(answer.assignment)
    }

    /// What became of the lease. The caller limits its time.
    pub(crate) async fn heartbeat(self, lease: v1::LeaseRef) -> Result<v1::LeaseStatus, Status> {
        let mut client = self.client;
        let incarnation = lease.incarnation.clone();
        let request = v1::HeartbeatRequest {
            incarnation,
            leases: vec![lease],
        };
        let answer = client.heartbeat(request).await?.into_inner();
        Ok(answer.statuses().next().unwrap_or_default())
    }

    pub(crate) async fn report_epochs(
        &self,
        request: v1::ReportEpochsRequest,
    ) -> Result<(), Status> {
        let mut client = self.client.clone();
        limited(CALL_LIMIT, client.report_epochs(request))
            .await
            .map(drop)
    }

    pub(crate) async fn register_checkpoint(
        &self,
        request: v1::RegisterCheckpointRequest,
    ) -> Result<(), Status> {
        let mut client = self.client.clone();
        limited(CALL_LIMIT, client.register_checkpoint(request))
            .await
            .map(drop)
    }

    pub(crate) async fn report_logs(&self, request: v1::ReportLogsRequest) -> Result<(), Status> {
        let mut client = self.client.clone();
        limited(CALL_LIMIT, client.report_logs(request))
            .await
            .map(drop)
    }

    pub(crate) async fn complete(&self, request: v1::CompleteRequest) -> Result<(), Status> {
        let mut client = self.client.clone();
        limited(CALL_LIMIT, client.complete(request))
            .await
            .map(drop)
    }

    pub(crate) async fn fail(&self, request: v1::FailRequest) -> Result<(), Status> {
        let mut client = self.client.clone();
        limited(CALL_LIMIT, client.fail(request)).await.map(drop)
    }

    pub(crate) async fn release(&self, request: v1::ReleaseRequest) -> Result<(), Status> {
        let mut client = self.client.clone();
        limited(CALL_LIMIT, client.release(request)).await.map(drop)
    }
}

async fn limited<T>(
    limit: Duration,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Status> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer.map(Response::into_inner),
        Err(_elapsed) => Err(Status::deadline_exceeded(format!(
            "no answer within {limit:?}"
        ))),
    }
}
