//! `ResultsService`. Handlers are thin: decode, one call, encode.

use std::pin::Pin;

use futures::Stream;
use temper_core::{
    ErrorKind,
    curve::{Distribution, ExpectationError, Figures},
    report::MaskingFlag,
    statistics::Summary,
};
use temper_proto::{JobName, SweepName, v1};
use temper_service::{server::Server, status};
use temper_store::{JobId, Store, StoreError};
use tonic::{Request, Response, Status};

use crate::aggregate::{self, Group};

/// Adds the service.
pub fn services(server: Server, store: Store) -> Server {
    server.with(v1::results_service_server::ResultsServiceServer::new(
        Results(store),
    ))
}

struct Results(Store);

#[tonic::async_trait]
impl v1::results_service_server::ResultsService for Results {
    async fn get_curve(
        &self,
        request: Request<v1::GetCurveRequest>,
    ) -> Result<Response<v1::Curve>, Status> {
        let JobName(id) = status::field("name", &request.get_ref().name)?;
        let curve = self.0.curve_get(JobId(id)).await.map_err(refused)?;
        let figures = Figures::of(&curve.points, &Distribution::default());
        let figures = figures.map_err(|error| broken(&error))?;
        Ok(Response::new(v1::Curve {
            job: JobName(curve.job.0).to_string(),
            mode: curve.facts.mode.as_str().to_owned(),
            attack: temper_core::attack::name(&curve.facts.attacks),
            points: curve.points.iter().map(Into::into).collect(),
            clean_accuracy: figures.clean,
            robust_accuracy: figures.robust,
            expected_robustness: figures.expected,
            samples: curve.points.first().map_or(0, |point| point.samples),
            seed: curve.facts.seed,
            audit: curve.facts.audit.as_ref().map(Into::into),
            flags: flags(&curve.facts.flags),
            model: v1::Selection::from(curve.facts.model).into(),
            passes: curve.facts.passes.unwrap_or_default(),
        }))
    }

    async fn aggregate_curves(
        &self,
        request: Request<v1::AggregateCurvesRequest>,
    ) -> Result<Response<v1::AggregateCurvesResponse>, Status> {
        let SweepName(id) = status::field("sweep", &request.get_ref().sweep)?;
        let curves = self.0.sweep_curves(id).await.map_err(refused)?;
        let groups = aggregate::group(curves).map_err(|error| broken(&error))?;
        let groups = groups.into_iter().map(encode).collect();
        Ok(Response::new(v1::AggregateCurvesResponse { groups }))
    }

    type ExportStream =
        Pin<Box<dyn Stream<Item = Result<v1::ExportResponse, Status>> + Send + 'static>>;

    async fn export(
        &self,
        _: Request<v1::ExportRequest>,
    ) -> Result<Response<Self::ExportStream>, Status> {
        Err(Status::unimplemented("to come"))
    }

    async fn list_curves(
        &self,
        _: Request<v1::ListCurvesRequest>,
    ) -> Result<Response<v1::ListCurvesResponse>, Status> {
        Err(Status::unimplemented("to come"))
    }

    async fn expected_robustness(
        &self,
        _: Request<v1::ExpectedRobustnessRequest>,
    ) -> Result<Response<v1::ExpectedRobustnessResponse>, Status> {
        Err(Status::unimplemented("to come"))
    }

    async fn compare_schedules(
        &self,
        _: Request<v1::CompareSchedulesRequest>,
    ) -> Result<Response<v1::CompareSchedulesResponse>, Status> {
        Err(Status::unimplemented("to come"))
    }

    async fn leaderboard(
        &self,
        _: Request<v1::LeaderboardRequest>,
    ) -> Result<Response<v1::LeaderboardResponse>, Status> {
        Err(Status::unimplemented("to come"))
    }

    async fn diagnose_transfer(
        &self,
        _: Request<v1::DiagnoseTransferRequest>,
    ) -> Result<Response<v1::DiagnoseTransferResponse>, Status> {
        Err(Status::unimplemented("to come"))
    }

    async fn sensitivity(
        &self,
        _: Request<v1::SensitivityRequest>,
    ) -> Result<Response<v1::SensitivityResponse>, Status> {
        Err(Status::unimplemented("to come"))
    }

    async fn compare_with_published(
        &self,
        _: Request<v1::CompareWithPublishedRequest>,
    ) -> Result<Response<v1::CompareWithPublishedResponse>, Status> {
        Err(Status::unimplemented("to come"))
    }

    async fn list_published(
        &self,
        _: Request<v1::ListPublishedRequest>,
    ) -> Result<Response<v1::ListPublishedResponse>, Status> {
        Err(Status::unimplemented("to come"))
    }
}

fn encode(group: Group) -> v1::CurveGroup {
    let width = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    v1::CurveGroup {
        model: group.of.model,
        dataset: group.of.dataset,
        schedule: group.of.schedule,
        target_epsilon: group.of.target.to_string(),
        hyperparameters: group.of.hyperparameters,
        evaluation: group.of.evaluation,
        count: width(group.count),
        expected_count: width(group.expected_count),
        clean_accuracy: group.clean.map(estimate),
        robust_accuracy: group.robust.map(estimate),
        expected_robustness: group.expected.map(estimate),
        points: group
            .points
            .into_iter()
            .map(|(epsilon, summary)| v1::EstimatePoint {
                epsilon: epsilon.to_string(),
                accuracy: Some(estimate(summary)),
            })
            .collect(),
        axes: Vec::new(),
        training_seed: None,
        missing: Vec::new(),
        mode: group.of.facts.mode.as_str().to_owned(),
        attack: temper_core::attack::name(&group.of.facts.attacks),
        samples: group.samples,
        seed: group.of.facts.seed,
        selection: v1::Selection::from(group.of.facts.model).into(),
        audit_samples: group.audit_samples,
        audit_gap: group.audit_gap.map(estimate),
        flags: flags(&group.flags),
        flagged_count: width(group.flagged_count),
    }
}

fn flags<'a>(flags: impl IntoIterator<Item = &'a MaskingFlag>) -> Vec<i32> {
    let messages = flags.into_iter().map(|flag| v1::MaskingFlag::from(*flag));
    messages.map(Into::into).collect()
}

fn estimate(summary: Summary) -> v1::Estimate {
    v1::Estimate {
        mean: summary.mean,
        standard_deviation: summary.standard_deviation,
        lower: summary.interval.map(|interval| interval.lower),
        upper: summary.interval.map(|interval| interval.upper),
        count: u32::try_from(summary.count).unwrap_or(u32::MAX),
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the shape that map_err wants"
)]
fn refused(error: StoreError) -> Status {
    status::of(error.kind(), &error)
}

/// A stored curve that is none: the store checks curves before it takes them.
fn broken(error: &ExpectationError) -> Status {
    status::of(ErrorKind::Internal, error)
}
