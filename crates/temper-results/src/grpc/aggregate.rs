//! Groups of curves, and their means over distributions.

use temper_core::{
    Violations,
    curve::{Distribution, Figures},
    statistics::summarise,
};
use temper_proto::{JobName, parse_distribution, v1};
use temper_service::status::{self, bad_field};
use temper_store::JobId;
use tonic::Status;

use super::{
    Results, encode, refused,
    request::{self, Asked, Wanted},
    uncovered,
};
use crate::{
    aggregate::{aggregate, common_fact},
    group::{Axes, Axis, Group, Uncovered, clean, expected as expected_of, group, measure, robust},
};

pub async fn curves(
    results: &Results,
    request: &v1::AggregateCurvesRequest,
) -> Result<v1::AggregateCurvesResponse, Status> {
    let mut violations = Violations::default();
    let usual = Axes::without(&[Axis::Seed]);
    let axes = request::axes(&request.group_by, usual, &[], &mut violations);
    let wanted = Wanted {
        field: "sweep",
        sweep: &request.sweep,
        cells: request.cells.as_ref(),
        evaluations: &request.evaluations,
    };
    let asked = Asked::read(results, &wanted, violations).await?;
    let curves = asked.curves(results).await?;
    let cells = measure(&curves, &Distribution::default()).map_err(uncovered)?;
    let groups = group(&cells, &axes);
    let encode = |group| curve_group(group, &axes, !request.without_points);
    Ok(v1::AggregateCurvesResponse {
        groups: groups.iter().map(encode).collect(),
    })
}

pub async fn expected(
    results: &Results,
    request: &v1::ExpectedRobustnessRequest,
) -> Result<v1::ExpectedRobustnessResponse, Status> {
    use v1::expected_robustness_request::Of;
    let mut violations = Violations::default();
    let over = request.distribution.as_ref();
    let over = parse_distribution(over, "distribution", &mut violations);
    match &request.of {
        None => {
            violations.add("of", "must be a sweep or a job");
            Err(status::bad_request(&violations))
        }
        Some(Of::Job(job)) => {
            for (field, is_given) in [
                ("group_by", !request.group_by.is_empty()),
                ("cells", request.cells.is_some()),
                ("evaluations", !request.evaluations.is_empty()),
            ] {
                violations.require(!is_given, field, || {
                    "is of sweeps, not of one job".to_owned()
                });
            }
            let name = violations.take("job", job.parse::<JobName>());
            request::refuse(violations)?;
            let JobName(id) = name.ok_or_else(|| bad_field("job", "must be given"))?;
            of_job(results, JobId(id), &over).await
        }
        Some(Of::Sweep(sweep)) => {
            let usual = Axes::without(&[Axis::Seed]);
            let axes = request::axes(&request.group_by, usual, &[], &mut violations);
            let wanted = Wanted {
                field: "sweep",
                sweep,
                cells: request.cells.as_ref(),
                evaluations: &request.evaluations,
            };
            let asked = Asked::read(results, &wanted, violations).await?;
            let curves = asked.curves(results).await?;
            let cells = measure(&curves, &over).map_err(uncovered)?;
            let groups = group(&cells, &axes);
            Ok(v1::ExpectedRobustnessResponse {
                groups: groups.iter().map(expected_group).collect(),
            })
        }
    }
}

async fn of_job(
    results: &Results,
    job: JobId,
    over: &Distribution,
) -> Result<v1::ExpectedRobustnessResponse, Status> {
    let curve = results.store.curve_get(job).await.map_err(refused)?;
    let figures = Figures::of(&curve.points, over);
    let figures = figures.map_err(|error| uncovered(vec![Uncovered { job, error }]))?;
    let group = v1::ExpectedRobustnessGroup {
        key: Some(v1::GroupKey::default()),
        expected_robustness: summarise(&[figures.expected]).map(encode::estimate),
        count: 1,
        expected_count: 1,
        missing: Vec::new(),
    };
    Ok(v1::ExpectedRobustnessResponse {
        groups: vec![group],
    })
}

fn expected_group(group: &Group<'_>) -> v1::ExpectedRobustnessGroup {
    v1::ExpectedRobustnessGroup {
        key: Some(encode::key(&group.key)),
        expected_robustness: group.summary(expected_of).map(encode::estimate),
        count: encode::count(group.count()),
        expected_count: encode::count(group.cells.len()),
        missing: encode::missing(&group.missing()),
    }
}

fn curve_group(group: &Group<'_>, axes: &Axes, with_points: bool) -> v1::CurveGroup {
    let (key, said) = (&group.key, aggregate(group, with_points));
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let points = said
        .points
        .into_iter()
        .map(|(epsilon, summary)| v1::EstimatePoint {
            epsilon: epsilon.to_string(),
            accuracy: Some(encode::estimate(summary)),
        });
    let mode = common_fact(group, |facts| facts.mode);
    let attacks = common_fact(group, |facts| temper_core::attack::name(&facts.attacks));
    let selection = common_fact(group, |facts| facts.model);
    v1::CurveGroup {
        model: text(key.model),
        dataset: text(key.dataset),
        schedule: text(key.schedule),
        target_epsilon: key
            .target
            .map(|target| target.to_string())
            .unwrap_or_default(),
        hyperparameters: key.hyperparameters.unwrap_or_default(),
        evaluation: key.evaluation.unwrap_or_default(),
        count: encode::count(group.count()),
        expected_count: encode::count(group.cells.len()),
        clean_accuracy: group.summary(clean).map(encode::estimate),
        robust_accuracy: group.summary(robust).map(encode::estimate),
        expected_robustness: group.summary(expected_of).map(encode::estimate),
        points: points.collect(),
        mode: mode
            .map(|mode| mode.as_str().to_owned())
            .unwrap_or_default(),
        attack: attacks.unwrap_or_default(),
        samples: said.samples,
        seed: common_fact(group, |facts| facts.seed).unwrap_or_default(),
        selection: selection
            .map_or_else(Default::default, v1::Selection::from)
            .into(),
        audit_samples: said.audit_samples,
        audit_gap: said.audit_gap.map(encode::estimate),
        flags: encode::flags(&said.flags),
        flagged_count: encode::count(said.flagged_count),
        axes: encode::axes(axes),
        training_seed: key.seed,
        missing: encode::missing(&group.missing()),
    }
}
