//! Curves for tests.

use std::sync::atomic::{AtomicI64, Ordering};

use temper_core::{
    Epsilon,
    curve::Point,
    job::JobState,
    spec::{EvaluationSettings, Selection},
};
use temper_store::{CellCurve, CurveFacts, JobId};

/// A cell of 10 test images on the grid 0, 1/255, 2/255, with so many right at each.
pub fn cell(schedule: &str, seed: u64, correct: Option<[u32; 3]>) -> CellCurve {
    static NEXT: AtomicI64 = AtomicI64::new(1);
    let number = NEXT.fetch_add(2, Ordering::Relaxed);
    let points = correct.map(|correct| {
        let point = |(i, correct)| Point {
            epsilon: Epsilon::new(i, 255).unwrap(),
            correct,
            samples: 10,
        };
        (0..3).zip(correct).map(point).collect()
    });
    let settings = EvaluationSettings::default();
    CellCurve {
        cell: 0,
        model: "mobilenetv2".into(),
        dataset: "fashion-mnist".into(),
        schedule: schedule.into(),
        target: Epsilon::new(2, 255).unwrap(),
        seed,
        hyperparameters: 0,
        evaluation: 0,
        job: JobId(number + 1),
        state: if points.is_some() {
            JobState::Succeeded
        } else {
            JobState::Queued
        },
        train_job: JobId(number),
        epochs: 8,
        facts: CurveFacts {
            mode: settings.mode,
            attacks: settings.attacks,
            model: Selection::Last,
            seed: 0,
            audit: None,
            flags: Vec::new(),
            passes: None,
        },
        points,
    }
}

/// Cells by schedule, seed and what was counted, numbered in this order.
pub fn curves(cells: &[(&str, u64, Option<[u32; 3]>)]) -> Vec<CellCurve> {
    let cells = (0..).zip(cells);
    let numbered =
        |(place, (schedule, seed, correct)): (u32, &(&str, u64, Option<[u32; 3]>))| CellCurve {
            cell: place,
            ..cell(schedule, *seed, *correct)
        };
    cells.map(numbered).collect()
}
