//! Diagnoses of transfer.

use temper_core::{
    Violations,
    curve::Distribution,
    diagnosis::{Adaptation, ONSET_ACCURACY},
    schedule::Schedule,
};
use temper_proto::{JobName, v1};
use tonic::Status;

use super::{
    Results, encode, refused,
    request::{self, Asked, Wanted},
    uncovered,
};
use crate::{
    group::{Axes, measure},
    transfer::{Correlation, Diagnosis, correlations, diagnoses, is_standard},
};

pub async fn diagnose(
    results: &Results,
    request: &v1::DiagnoseTransferRequest,
) -> Result<v1::DiagnoseTransferResponse, Status> {
    let mut violations = Violations::default();
    let usual = Axes::of_settings();
    let axes = request::axes(&request.group_by, usual, &[], &mut violations);
    let bound = request.onset_accuracy.unwrap_or(ONSET_ACCURACY);
    violations.require((0.0..1.0).contains(&bound), "onset_accuracy", || {
        format!("{bound} is outside [0, 1)")
    });
    let wanted = Wanted {
        field: "sweep",
        sweep: &request.sweep,
        cells: request.cells.as_ref(),
        evaluations: &request.evaluations,
    };
    let mut asked = Asked::read(results, &wanted, violations).await?;
    let schedules = &mut asked.filter.cells.schedules;
    let with_standard = schedules.is_empty() || schedules.contains(&Schedule::Standard);
    if !with_standard {
        // What the others are held against.
        schedules.push(Schedule::Standard);
    }
    let curves = asked.curves(results).await?;
    let courses = results.store.sweep_courses(asked.sweep).await;
    let courses = courses.map_err(refused)?;
    let cells = measure(&curves, &Distribution::default()).map_err(uncovered)?;
    let mut all = diagnoses(&cells, &courses, bound);
    all.retain(|one| with_standard || !is_standard(one.curve));
    Ok(v1::DiagnoseTransferResponse {
        correlations: correlations(&all, &axes).iter().map(correlation).collect(),
        diagnoses: all.iter().map(diagnosis).collect(),
    })
}

fn diagnosis(one: &Diagnosis<'_>) -> v1::TransferDiagnosis {
    v1::TransferDiagnosis {
        cell: Some(encode::cell(one.curve)),
        train_job: JobName(one.curve.train_job.0).to_string(),
        epochs_done: encode::count(one.epochs_done),
        epochs: one.curve.epochs,
        onset_epoch: one.adaptation.onset(),
        never_adapted: matches!(one.adaptation, Adaptation::Never(_)),
        delay_epochs: one.adaptation.delay(),
        clean_accuracy: one.figures.map(|figures| figures.clean),
        standard_clean_accuracy: one.standard,
        suboptimal: one.suboptimal,
        chance_accuracy: one.chance,
        failed: one.failed,
    }
}

fn correlation(one: &Correlation<'_>) -> v1::TransferCorrelation {
    v1::TransferCorrelation {
        key: Some(encode::key(&one.key)),
        count: encode::count(one.count),
        expected_count: encode::count(one.expected_count),
        never_adapted_count: encode::count(one.never_adapted_count),
        clean_accuracy: one.clean,
        expected_robustness: one.expected,
        clean_accuracy_loss: one.loss,
        loss_count: encode::count(one.loss_count),
    }
}
