//! A results service of which a test needs two methods only.

use std::pin::Pin;

use futures::Stream;
use temper_proto::v1::{self, results_service_server::ResultsService};
use tonic::{Request, Response, Status};

/// The methods that tests call.
#[tonic::async_trait]
pub trait Partial: Send + Sync + 'static {
    async fn get_curve(
        &self,
        request: Request<v1::GetCurveRequest>,
    ) -> Result<Response<v1::Curve>, Status>;

    async fn aggregate_curves(
        &self,
        request: Request<v1::AggregateCurvesRequest>,
    ) -> Result<Response<v1::AggregateCurvesResponse>, Status>;
}

/// The whole service, made of those.
pub struct Whole<P>(pub P);

/// Methods that nobody calls here.
macro_rules! uncalled {
    ($($method:ident($request:ident) -> $response:ident;)*) => {
        #[tonic::async_trait]
        impl<P: Partial> ResultsService for Whole<P> {
            async fn get_curve(
                &self,
                request: Request<v1::GetCurveRequest>,
            ) -> Result<Response<v1::Curve>, Status> {
                self.0.get_curve(request).await
            }

            async fn aggregate_curves(
                &self,
                request: Request<v1::AggregateCurvesRequest>,
            ) -> Result<Response<v1::AggregateCurvesResponse>, Status> {
                self.0.aggregate_curves(request).await
            }

            type ExportStream =
                Pin<Box<dyn Stream<Item = Result<v1::ExportResponse, Status>> + Send + 'static>>;

            async fn export(
                &self,
                _: Request<v1::ExportRequest>,
            ) -> Result<Response<Self::ExportStream>, Status> {
                Err(Status::unimplemented("not here"))
            }

            $(async fn $method(
                &self,
                _: Request<v1::$request>,
            ) -> Result<Response<v1::$response>, Status> {
                Err(Status::unimplemented("not here"))
            })*
        }
    };
}

uncalled! {
    list_curves(ListCurvesRequest) -> ListCurvesResponse;
    expected_robustness(ExpectedRobustnessRequest) -> ExpectedRobustnessResponse;
    compare_schedules(CompareSchedulesRequest) -> CompareSchedulesResponse;
    leaderboard(LeaderboardRequest) -> LeaderboardResponse;
    diagnose_transfer(DiagnoseTransferRequest) -> DiagnoseTransferResponse;
    sensitivity(SensitivityRequest) -> SensitivityResponse;
    compare_with_published(CompareWithPublishedRequest) -> CompareWithPublishedResponse;
    list_published(ListPublishedRequest) -> ListPublishedResponse;
}
