//! Results as messages.

use temper_core::{
    curve::Figures,
    report::MaskingFlag,
    statistics::{Paired, Summary},
};
use temper_proto::{JobName, v1};
use temper_store::{CellCurve, CurveFacts, JobId};

use super::request::encoded;
use crate::group::{Axes, Axis, Key};

/// Missing cells that one answer names of a group.
const NAMED: usize = 100;

/// A count in the protocol's width; counts beyond it do not occur.
pub fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

pub fn estimate(summary: Summary) -> v1::Estimate {
    v1::Estimate {
        mean: summary.mean,
        standard_deviation: summary.standard_deviation,
        lower: summary.interval.map(|interval| interval.lower),
        upper: summary.interval.map(|interval| interval.upper),
        count: count(summary.count),
    }
}

pub fn paired(paired: Paired) -> v1::PairedComparison {
    let difference = paired.difference;
    v1::PairedComparison {
        count: count(difference.count),
        baseline_mean: paired.baseline,
        candidate_mean: paired.candidate,
        mean_difference: difference.mean,
        standard_deviation: difference.standard_deviation,
        lower: difference.interval.map(|interval| interval.lower),
        upper: difference.interval.map(|interval| interval.upper),
        t: paired.test.map(|test| test.t),
        degrees_of_freedom: count(paired.degrees_of_freedom()),
        p_value: paired.test.map(|test| test.p),
        wins: count(paired.wins),
        ties: count(paired.ties),
        losses: count(paired.losses),
    }
}

pub fn axes(axes: &Axes) -> Vec<i32> {
    axes.iter().map(|axis| encoded(axis).into()).collect()
}

pub fn key(key: &Key<'_>) -> v1::GroupKey {
    let grouped = [
        (Axis::Model, key.model.is_some()),
        (Axis::Dataset, key.dataset.is_some()),
        (Axis::Schedule, key.schedule.is_some()),
        (Axis::Target, key.target.is_some()),
        (Axis::Hyperparameters, key.hyperparameters.is_some()),
        (Axis::Evaluation, key.evaluation.is_some()),
        (Axis::Seed, key.seed.is_some()),
    ];
    let grouped = grouped.into_iter().filter(|(_, is_grouped)| *is_grouped);
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    v1::GroupKey {
        axes: grouped.map(|(axis, _)| encoded(axis).into()).collect(),
        model: text(key.model),
        dataset: text(key.dataset),
        schedule: text(key.schedule),
        target_epsilon: key
            .target
            .map(|target| target.to_string())
            .unwrap_or_default(),
        hyperparameters: key.hyperparameters,
        evaluation: key.evaluation,
        seed: key.seed,
    }
}

/// The first of some missing cells.
pub fn missing(cells: &[&CellCurve]) -> Vec<v1::CurveCell> {
    cells.iter().take(NAMED).map(|curve| cell(curve)).collect()
}

pub fn cell(curve: &CellCurve) -> v1::CurveCell {
    v1::CurveCell {
        cell: curve.cell,
        model: curve.model.clone(),
        dataset: curve.dataset.clone(),
        schedule: curve.schedule.clone(),
        target_epsilon: curve.target.to_string(),
        hyperparameters: curve.hyperparameters,
        evaluation: curve.evaluation,
        seed: curve.seed,
        job: JobName(curve.job.0).to_string(),
        state: v1::JobState::from(curve.state).into(),
    }
}

pub fn curve(
    job: JobId,
    facts: &CurveFacts,
    points: &[temper_core::curve::Point],
    figures: Figures,
) -> v1::Curve {
    v1::Curve {
        job: JobName(job.0).to_string(),
        mode: facts.mode.as_str().to_owned(),
        attack: temper_core::attack::name(&facts.attacks),
        points: points.iter().map(Into::into).collect(),
        clean_accuracy: figures.clean,
        robust_accuracy: figures.robust,
        expected_robustness: figures.expected,
        samples: points.first().map_or(0, |point| point.samples),
        seed: facts.seed,
        audit: facts.audit.as_ref().map(Into::into),
        flags: flags(&facts.flags),
        model: v1::Selection::from(facts.model).into(),
        passes: facts.passes.unwrap_or_default(),
    }
}

pub fn flags<'a>(flags: impl IntoIterator<Item = &'a MaskingFlag>) -> Vec<i32> {
    let messages = flags.into_iter().map(|flag| v1::MaskingFlag::from(*flag));
    messages.map(Into::into).collect()
}
