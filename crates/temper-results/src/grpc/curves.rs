//! Curves one by one and page by page.

use temper_core::{
    Violations,
    curve::{Distribution, Figures},
};
use temper_proto::{JobName, v1};
use temper_service::{page, status::field};
use temper_store::{CellCurve, CurvesQuery, JobId};
use tonic::Status;

use super::{
    Results, encode, refused,
    request::{Asked, Wanted},
    uncovered,
};
use crate::group::Uncovered;

pub async fn get(results: &Results, request: &v1::GetCurveRequest) -> Result<v1::Curve, Status> {
    let JobName(id) = field("name", &request.name)?;
    let curve = results.store.curve_get(JobId(id)).await.map_err(refused)?;
    encoded(curve.job, &curve.facts, &curve.points)
}

pub async fn list(
    results: &Results,
    request: &v1::ListCurvesRequest,
) -> Result<v1::ListCurvesResponse, Status> {
    let (after, limit) = (
        page::place(&request.page_token)?,
        page::size(request.page_size, 100)?,
    );
    let wanted = Wanted {
        field: "parent",
        sweep: &request.parent,
        cells: request.cells.as_ref(),
        evaluations: &request.evaluations,
    };
    let mut asked = Asked::read(results, &wanted, Violations::default()).await?;
    asked.filter.measured_only = request.measured_only;
    let query = CurvesQuery {
        sweep: asked.sweep,
        filter: &asked.filter,
        after,
        limit,
    };
    let listed = results.store.curve_list(query).await.map_err(refused)?;
    let curves = listed.curves.iter().map(of_cell);
    Ok(v1::ListCurvesResponse {
        curves: curves.collect::<Result<_, _>>()?,
        next_page_token: page::token(listed.next.as_ref()),
    })
}

fn of_cell(cell: &CellCurve) -> Result<v1::CellCurve, Status> {
    let points = cell.points.as_deref();
    let curve = points.map(|points| encoded(cell.job, &cell.facts, points));
    Ok(v1::CellCurve {
        cell: Some(encode::cell(cell)),
        curve: curve.transpose()?,
    })
}

fn encoded(
    job: JobId,
    facts: &temper_store::CurveFacts,
    points: &[temper_core::curve::Point],
) -> Result<v1::Curve, Status> {
    let figures = Figures::of(points, &Distribution::default());
    let figures = figures.map_err(|error| uncovered(vec![Uncovered { job, error }]))?;
    Ok(encode::curve(job, facts, points, figures))
}
