//! `ResultsService`. Handlers are thin: decode, one or two calls, encode.

mod aggregate;
mod board;
mod compare;
mod curves;
mod encode;
mod export;
mod published;
mod request;
mod sensitivity;
mod transfer;

use std::sync::Arc;

use temper_core::ErrorKind;
use temper_core::published::Published;
use temper_proto::v1::{
    self,
    results_service_server::{ResultsService, ResultsServiceServer},
};
use temper_service::{server::Server, status};
use temper_store::{Store, StoreError};
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use crate::group::Uncovered;

/// Adds the service, of which at most so many exports run at a time.
pub fn services(server: Server, store: Store, published: Vec<Published>, exports: usize) -> Server {
    server.with(ResultsServiceServer::new(Results {
        store,
        published,
        exports: Arc::new(Semaphore::new(exports)),
    }))
}

struct Results {
    store: Store,
    published: Vec<Published>,
    /// Turns of exports: each is a task with the rows of some cells in memory, and a connection while it reads
    /// them.
    exports: Arc<Semaphore>,
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl ResultsService for Results {
    async fn get_curve(&self, request: Request<v1::GetCurveRequest>) -> Answer<v1::Curve> {
        curves::get(self, request.get_ref())
            .await
            .map(Response::new)
    }

    async fn list_curves(
        &self,
        request: Request<v1::ListCurvesRequest>,
    ) -> Answer<v1::ListCurvesResponse> {
        curves::list(self, request.get_ref())
            .await
            .map(Response::new)
    }

    async fn aggregate_curves(
        &self,
        request: Request<v1::AggregateCurvesRequest>,
    ) -> Answer<v1::AggregateCurvesResponse> {
        aggregate::curves(self, request.get_ref())
            .await
            .map(Response::new)
    }

    async fn expected_robustness(
        &self,
        request: Request<v1::ExpectedRobustnessRequest>,
    ) -> Answer<v1::ExpectedRobustnessResponse> {
        aggregate::expected(self, request.get_ref())
            .await
            .map(Response::new)
    }

    async fn compare_schedules(
        &self,
        request: Request<v1::CompareSchedulesRequest>,
    ) -> Answer<v1::CompareSchedulesResponse> {
        compare::schedules(self, request.get_ref())
            .await
            .map(Response::new)
    }

    async fn leaderboard(
        &self,
        request: Request<v1::LeaderboardRequest>,
    ) -> Answer<v1::LeaderboardResponse> {
        board::leaderboard(self, request.get_ref())
            .await
            .map(Response::new)
    }

    async fn diagnose_transfer(
        &self,
        request: Request<v1::DiagnoseTransferRequest>,
    ) -> Answer<v1::DiagnoseTransferResponse> {
        transfer::diagnose(self, request.get_ref())
            .await
            .map(Response::new)
    }

    async fn sensitivity(
        &self,
        request: Request<v1::SensitivityRequest>,
    ) -> Answer<v1::SensitivityResponse> {
        sensitivity::grids(self, request.get_ref())
            .await
            .map(Response::new)
    }

    async fn compare_with_published(
        &self,
        request: Request<v1::CompareWithPublishedRequest>,
    ) -> Answer<v1::CompareWithPublishedResponse> {
        published::compare(self, request.get_ref())
            .await
            .map(Response::new)
    }

    async fn list_published(
        &self,
        request: Request<v1::ListPublishedRequest>,
    ) -> Answer<v1::ListPublishedResponse> {
        published::list(self, request.get_ref()).map(Response::new)
    }

    type ExportStream = export::Parts;

    async fn export(&self, request: Request<v1::ExportRequest>) -> Answer<export::Parts> {
        export::stream(self, request.get_ref())
            .await
            .map(Response::new)
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the shape that map_err wants"
)]
fn refused(error: StoreError) -> Status {
    status::of(error.kind(), &error)
}

/// Refuses a distribution that curves do not cover, by its parameters. A stored curve that is none is
/// a defect: the store checks curves before it takes them.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the shape that map_err wants"
)]
fn uncovered(errors: Vec<Uncovered>) -> Status {
    let mut violations = temper_core::Violations::default();
    for error in &errors {
        match error.error.field() {
            Some(field) => violations.add(format!("distribution.{field}"), error.to_string()),
            None => return status::of(ErrorKind::Internal, error),
        }
    }
    status::bad_request(&violations)
}
