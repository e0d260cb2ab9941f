//! The columns of each kind of export, and the rows in them.

use temper_core::{Epsilon, attack, curve::Figures};
use temper_store::{CellAxes, CellCurve, ExportedEpoch, ExportedJob, ExportedPoint};

use super::table::{Column, Value, float, int, text, time};

/// A row of an export.
pub trait Row {
    /// Names and types, as documented in `docs/results.md`.
    const COLUMNS: &'static [Column];

    /// As many values, each of its column's type.
    fn values(self) -> Vec<Value>;
}

/// Appends the seven columns of a cell to others.
macro_rules! with_axes {
    ($($column:expr),* $(,)?) => {
        &[
            int("cell"),
            text("model"),
            text("dataset"),
            text("schedule"),
            text("target_epsilon"),
            int("hyperparameters"),
            int("seed"),
            $($column),*
        ]
    };
}

fn axes(axes: CellAxes) -> Vec<Value> {
    let mut values = Vec::with_capacity(32);
    values.extend([
        axes.cell.into(),
        axes.model.into(),
        axes.dataset.into(),
        axes.schedule.into(),
        axes.target.to_string().into(),
        axes.hyperparameters.into(),
        axes.seed.into(),
    ]);
    values
}

impl Row for ExportedEpoch {
    const COLUMNS: &'static [Column] = with_axes![
        int("job"),
        int("epoch"),
        float("epsilon"),
        float("learning_rate"),
        float("train_loss"),
        float("validation_accuracy"),
        float("validation_robust_accuracy"),
        float("images_per_second"),
        float("loading_share"),
    ];

    fn values(self) -> Vec<Value> {
        let mut values = axes(self.axes);
        values.extend([
            self.job.0.into(),
            self.epoch.into(),
            self.epsilon.into(),
            self.learning_rate.into(),
            self.train_loss.into(),
            self.validation_accuracy.into(),
            self.validation_robust_accuracy.into(),
            self.images_per_second.into(),
            self.loading_share.into(),
        ]);
        values
    }
}

impl Row for ExportedPoint {
    const COLUMNS: &'static [Column] = with_axes![
        int("evaluation"),
        int("job"),
        text("epsilon"),
        float("epsilon_value"),
        int("correct"),
        int("samples"),
        float("accuracy"),
    ];

    fn values(self) -> Vec<Value> {
        let mut values = axes(self.axes);
        values.extend([
            self.evaluation.into(),
            self.job.0.into(),
            self.point.epsilon.to_string().into(),
            self.point.epsilon.value().into(),
            self.point.correct.into(),
            self.point.samples.into(),
            self.point.accuracy().into(),
        ]);
        values
    }
}

/// A cell's curve, and what it says if there is one.
pub struct CurveRow(pub CellCurve, pub Option<Figures>);

impl Row for CurveRow {
    const COLUMNS: &'static [Column] = with_axes![
        int("evaluation"),
        int("job"),
        int("train_job"),
        text("state"),
        text("mode"),
        text("attack"),
        text("measured_model"),
        int("attack_seed"),
        int("points"),
        text("grid_end"),
        int("samples"),
        float("clean_accuracy"),
        float("robust_accuracy"),
        float("expected_robustness"),
        int("audit_samples"),
        float("audit_gap"),
        text("masking_flags"),
        int("passes"),
    ];

    fn values(self) -> Vec<Value> {
        let Self(curve, figures) = self;
        let points = curve.points.unwrap_or_default();
        let end = points.last().map(|point| point.epsilon);
        let flags: Vec<_> = curve.facts.flags.iter().map(|flag| flag.as_str()).collect();
        let mut values = axes(CellAxes {
            cell: curve.cell,
            model: curve.model,
            dataset: curve.dataset,
            schedule: curve.schedule,
            target: curve.target,
            hyperparameters: curve.hyperparameters,
            seed: curve.seed,
        });
        values.extend([
            curve.evaluation.into(),
            curve.job.0.into(),
            curve.train_job.0.into(),
            curve.state.as_str().into(),
            curve.facts.mode.as_str().into(),
            attack::name(&curve.facts.attacks).into(),
            curve.facts.model.as_str().into(),
            curve.facts.seed.into(),
            u32::try_from(points.len()).ok().into(),
            end.map(|end: Epsilon| end.to_string()).into(),
            points.first().map(|point| point.samples).into(),
            figures.map(|figures| figures.clean).into(),
            figures.map(|figures| figures.robust).into(),
            figures.map(|figures| figures.expected).into(),
            curve.facts.audit.map(|audit| audit.samples).into(),
            curve.facts.audit.map(|audit| audit.gap).into(),
            flags.join(" ").into(),
            curve
                .facts
                .passes
                .and_then(|passes| i64::try_from(passes).ok())
                .into(),
        ]);
        values
    }
}

impl Row for ExportedJob {
    const COLUMNS: &'static [Column] = with_axes![
        int("evaluation"),
        int("job"),
        int("train_job"),
        text("key"),
        text("kind"),
        text("state"),
        text("message"),
        int("result_version"),
        text("precision"),
        int("epochs"),
        int("epochs_done"),
        int("attempts"),
        text("worker"),
        text("device"),
        time("created_at"),
        time("finished_at"),
        float("train_loss"),
        float("validation_accuracy"),
        float("validation_robust_accuracy"),
        int("best_epoch"),
        int("micro_batch_size"),
        float("clean_accuracy"),
        float("robust_accuracy"),
        float("expected_robustness"),
        int("peak_memory_bytes"),
        float("device_seconds"),
    ];

    fn values(self) -> Vec<Value> {
        let summary = self.summary.as_ref();
        let mut values = axes(self.axes);
        values.extend([
            self.evaluation.into(),
            self.job.0.into(),
            self.train_job.0.into(),
            self.key.to_string().into(),
            self.kind.as_str().into(),
            self.state.as_str().into(),
            self.message.into(),
            self.result_version.into(),
            self.precision.into(),
            self.epochs.into(),
            self.epochs_done.into(),
            self.attempts.into(),
            self.worker.into(),
            self.device.into(),
            self.created_at.into(),
            self.finished_at.into(),
            summary.and_then(|summary| summary.train_loss).into(),
            summary
                .and_then(|summary| summary.validation_accuracy)
                .into(),
            summary
                .and_then(|summary| summary.validation_robust_accuracy)
                .into(),
            summary.and_then(|summary| summary.best_epoch).into(),
            summary.and_then(|summary| summary.micro_batch_size).into(),
            summary.and_then(|summary| summary.clean_accuracy).into(),
            summary.and_then(|summary| summary.robust_accuracy).into(),
            summary
                .and_then(|summary| summary.expected_robustness)
                .into(),
            summary.and_then(|summary| summary.peak_memory_bytes).into(),
            summary.map(|summary| summary.device_seconds).into(),
        ]);
        values
    }
}
