//! What the paper published, by itself and beside what is measured.

use temper_core::{Violations, curve::Distribution, published::Published};
use temper_proto::v1;
use tonic::Status;

use super::{
    Results, compare as compared, encode,
    request::{self, Asked, Wanted},
    uncovered,
};
use crate::{
    group::{Axes, Axis, Group, clean, expected, group, measure, robust},
    published::{Rows, Summed, counterpart},
};

pub async fn compare(
    results: &Results,
    request: &v1::CompareWithPublishedRequest,
) -> Result<v1::CompareWithPublishedResponse, Status> {
    let wanted = Wanted {
        field: "sweep",
        sweep: &request.sweep,
        cells: request.cells.as_ref(),
        evaluations: &request.evaluations,
    };
    let asked = Asked::read(results, &wanted, Violations::default()).await?;
    let curves = asked.curves(results).await?;
    let cells = measure(&curves, &Distribution::default()).map_err(uncovered)?;
    let groups = group(&cells, &Axes::without(&[Axis::Seed]));
    let comparisons: Vec<_> = groups
        .iter()
        .filter_map(|group| {
            let row = counterpart(&group.key, &results.published)?;
            Some(comparison(group, row))
        })
        .collect();
    Ok(v1::CompareWithPublishedResponse {
        unpublished_count: encode::count(groups.len() - comparisons.len()),
        comparisons,
        summaries: summaries(&Rows::of(&results.published), &usual_axes()),
    })
}

pub fn list(
    results: &Results,
    request: &v1::ListPublishedRequest,
) -> Result<v1::ListPublishedResponse, Status> {
    let mut violations = Violations::default();
    let forbidden = &[Axis::Hyperparameters, Axis::Evaluation, Axis::Seed];
    let axes = request::axes(&request.group_by, usual_axes(), forbidden, &mut violations);
    let published = &results.published;
    for (field, asked, name) in [
        ("models", &request.models, model as fn(&Published) -> &str),
        ("datasets", &request.datasets, dataset),
    ] {
        for (i, wanted) in asked.iter().enumerate() {
            let known = published.iter().any(|row| name(row) == wanted);
            violations.require(known, &format!("{field}[{i}]"), || {
                format!("nothing was published of `{wanted}`")
            });
        }
    }
    request::refuse(violations)?;
    let wanted = |names: &[String], name: &str| {
        names.is_empty() || names.iter().any(|wanted| wanted == name)
    };
    let chosen: Vec<&Published> = published
        .iter()
        .filter(|row| {
            wanted(&request.models, &row.model) && wanted(&request.datasets, &row.dataset)
        })
        .collect();
    let rows = Rows::of(chosen.iter().copied());
    Ok(v1::ListPublishedResponse {
        rows: chosen.into_iter().map(row).collect(),
        summaries: summaries(&rows, &axes),
        comparisons: rows
            .comparisons()
            .iter()
            .map(compared::comparison)
            .collect(),
    })
}

fn usual_axes() -> Axes {
    Axes::of(&[Axis::Schedule, Axis::Target])
}

fn model(row: &Published) -> &str {
    &row.model
}

fn dataset(row: &Published) -> &str {
    &row.dataset
}

fn row(row: &Published) -> v1::PublishedRow {
    v1::PublishedRow {
        model: row.model.clone(),
        dataset: row.dataset.clone(),
        schedule: row.schedule.to_string(),
        target_epsilon: row.target.to_string(),
        clean_accuracy: row.figures.clean,
        robust_accuracy: row.figures.robust,
        expected_robustness: row.figures.expected,
        anomalous: row.is_anomalous(),
    }
}

fn comparison(group: &Group<'_>, published: &Published) -> v1::PublishedComparison {
    v1::PublishedComparison {
        key: Some(encode::key(&group.key)),
        published: Some(row(published)),
        clean_accuracy: group.summary(clean).map(encode::estimate),
        robust_accuracy: group.summary(robust).map(encode::estimate),
        expected_robustness: group.summary(expected).map(encode::estimate),
        count: encode::count(group.count()),
        expected_count: encode::count(group.cells.len()),
    }
}

fn summaries(rows: &Rows<'_>, axes: &Axes) -> Vec<v1::PublishedSummary> {
    rows.summaries(axes).iter().map(summary).collect()
}

fn summary(summed: &Summed<'_>) -> v1::PublishedSummary {
    let group = &summed.group;
    v1::PublishedSummary {
        key: Some(encode::key(&group.key)),
        clean_accuracy: group.summary(clean).map(encode::estimate),
        robust_accuracy: group.summary(robust).map(encode::estimate),
        expected_robustness: group.summary(expected).map(encode::estimate),
        count: encode::count(group.count()),
        anomalous_count: encode::count(summed.anomalous_count),
    }
}
