//! How trainings transferred: when they began to adapt, and what came of it.

use std::collections::HashMap;

use temper_core::{
    curve::Figures,
    diagnosis::{Adaptation, chance, failed, suboptimal},
    schedule::Schedule,
    statistics::correlation,
};
use temper_store::{CellCurve, Course, JobId};

use crate::group::{Axes, Axis, Cell, Group, Key, group};

/// How one training transferred, by one evaluation.
#[derive(Debug, Clone)]
pub struct Diagnosis<'a> {
    pub curve: &'a CellCurve,
    /// What the evaluation says; none before there is a result.
    pub figures: Option<Figures>,
    /// Epochs reported so far.
    pub epochs_done: usize,
    pub adaptation: Adaptation,
    /// Accuracy of guessing.
    pub chance: f64,
    /// Clean accuracy of `standard` in the same place.
    pub standard: Option<f64>,
    /// Whether clean accuracy is below that.
    pub suboptimal: Option<bool>,
    /// Whether clean accuracy is near chance.
    pub failed: Option<bool>,
}

/// How delays go with final accuracies.
#[derive(Debug, Clone)]
pub struct Correlation<'a> {
    pub key: Key<'a>,
    /// Runs whose training and evaluation are done.
    pub count: usize,
    pub expected_count: usize,
    pub never_adapted_count: usize,
    pub clean: Option<f64>,
    pub expected: Option<f64>,
    pub loss: Option<f64>,
    /// Runs that `standard` is there for.
    pub loss_count: usize,
}

/// Whether a cell is of ordinary fine-tuning, which the others are held against.
pub fn is_standard(curve: &CellCurve) -> bool {
    curve.schedule == Schedule::Standard.to_string()
}

/// Diagnoses every cell whose training there is, by these courses.
pub fn diagnoses<'a>(cells: &[Cell<'a>], courses: &[Course], bound: f64) -> Vec<Diagnosis<'a>> {
    let place = Axes::without(&[Axis::Schedule]);
    let courses: HashMap<JobId, &Course> =
        courses.iter().map(|course| (course.job, course)).collect();
    let standards = cells.iter().filter(|cell| is_standard(cell.curve));
    let standards: HashMap<Key<'a>, f64> = standards
        .filter_map(|cell| Some((Key::of(cell.curve, &place), cell.figures?.clean)))
        .collect();
    let diagnosed = |cell: &Cell<'a>| {
        let course = courses.get(&cell.curve.train_job)?;
        let standard = standards.get(&Key::of(cell.curve, &place)).copied();
        let standard = standard.filter(|_| !is_standard(cell.curve));
        let clean = cell.figures.map(|figures| figures.clean);
        Some(Diagnosis {
            curve: cell.curve,
            figures: cell.figures,
            epochs_done: course.validation.len(),
            adaptation: Adaptation::of(&course.validation, course.epochs, bound),
            chance: chance(course.classes),
            standard,
            suboptimal: clean
                .zip(standard)
                .map(|(own, other)| suboptimal(own, other)),
            failed: clean.map(|clean| failed(clean, course.classes)),
        })
    };
    cells.iter().filter_map(diagnosed).collect()
}

/// How delays go with accuracies, by group; `standard` is left out.
pub fn correlations<'a>(diagnoses: &[Diagnosis<'a>], axes: &Axes) -> Vec<Correlation<'a>> {
    let own = diagnoses.iter().filter(|one| !is_standard(one.curve));
    let cells = own.clone().map(|one| Cell {
        curve: one.curve,
        figures: one.figures,
    });
    let by_job: HashMap<JobId, &Diagnosis<'a>> = own.map(|one| (one.curve.job, one)).collect();
    let groups = group(&cells.collect::<Vec<_>>(), axes);
    groups
        .into_iter()
        .map(|group| correlated(group, &by_job))
        .collect()
}

fn correlated<'a>(group: Group<'a>, by_job: &HashMap<JobId, &Diagnosis<'a>>) -> Correlation<'a> {
    let runs = group
        .cells
        .iter()
        .filter_map(|cell| by_job.get(&cell.curve.job));
    let done: Vec<(f64, Figures, &&Diagnosis<'a>)> = runs
        .filter_map(|run| Some((f64::from(run.adaptation.delay()?), run.figures?, run)))
        .collect();
    let of = |value: fn(&Figures) -> f64| {
        let pairs = done
            .iter()
            .map(|(delay, figures, _)| (*delay, value(figures)));
        correlation(&pairs.collect::<Vec<_>>())
    };
    let losses: Vec<(f64, f64)> = done
        .iter()
        .filter_map(|(delay, figures, run)| Some((*delay, run.standard? - figures.clean)))
        .collect();
    let never = |run: &&Diagnosis<'a>| matches!(run.adaptation, Adaptation::Never(_));
    Correlation {
        key: group.key,
        count: done.len(),
        expected_count: group.cells.len(),
        never_adapted_count: done.iter().filter(|(_, _, run)| never(run)).count(),
        clean: of(|figures| figures.clean),
        expected: of(|figures| figures.expected),
        loss: correlation(&losses),
        loss_count: losses.len(),
    }
}

#[cfg(test)]
mod tests {
    use temper_core::{curve::Distribution, diagnosis::ONSET_ACCURACY, job::JobState};

    use super::*;
    use crate::{group::measure, testing::curves};

    /// A course of 8 epochs on 4 classes that adapts after so many.
    fn course(job: JobId, onset: usize, done: usize) -> Course {
        let accuracy = |epoch| Some(if epoch < onset { 0.01 } else { 0.5 });
        Course {
            job,
            state: JobState::Succeeded,
            epochs: 8,
            classes: 4,
            validation: (0..done).map(accuracy).collect(),
        }
    }

    fn diagnosed(curves: &[CellCurve], onsets: &[(usize, usize)]) -> Vec<(Course, usize)> {
        let courses = curves.iter().zip(onsets);
        courses
            .map(|(curve, (onset, done))| (course(curve.train_job, *onset, *done), *onset))
            .collect()
    }

    #[test]
    fn runs_are_held_against_standard_of_the_same_seed_and_against_chance() {
        let curves = curves(&[
            ("standard", 0, Some([9, 0, 0])),
            ("standard", 1, Some([6, 0, 0])),
            ("fixed", 0, Some([5, 3, 2])),
            ("fixed", 1, Some([7, 3, 2])),
            ("linear", 0, None),
            ("linear", 2, Some([8, 3, 2])),
        ]);
        let courses: Vec<_> = diagnosed(&curves, &[(0, 8), (0, 8), (8, 8), (2, 8), (8, 3), (1, 8)])
            .into_iter()
            .map(|(course, _)| course)
            .collect();
        let cells = measure(&curves, &Distribution::default()).unwrap();
        let all = diagnoses(&cells, &courses, ONSET_ACCURACY);
        let shown: Vec<_> = all
            .iter()
            .map(|one| (one.standard, one.suboptimal, one.failed))
            .collect();
        assert_eq!(
            shown,
            [
                (None, None, Some(false)),
                (None, None, Some(false)),
                // Of 4 classes 5 of 10 is twice what guessing gets.
                (Some(0.9), Some(true), Some(true)),
                (Some(0.6), Some(false), Some(false)),
                (Some(0.9), None, None),
                (None, None, Some(false)),
            ]
        );
        assert_eq!(all[2].adaptation, Adaptation::Never(8));
        assert_eq!(all[3].adaptation, Adaptation::Since(2));
        assert_eq!(all[4].adaptation, Adaptation::Pending);
        assert_eq!((all[4].epochs_done, all[4].chance), (3, 0.25));
    }

    #[test]
    fn later_onset_goes_with_lower_accuracy_and_standard_is_left_out() {
        let curves = curves(&[
            ("standard", 0, Some([10, 0, 0])),
            ("fixed", 0, Some([2, 1, 0])),
            ("linear", 0, Some([6, 1, 0])),
            ("two-hinge", 0, Some([8, 1, 0])),
            ("cosine", 0, None),
        ]);
        let courses: Vec<_> = diagnosed(&curves, &[(0, 8), (8, 8), (4, 8), (2, 8), (1, 8)])
            .into_iter()
            .map(|(course, _)| course)
            .collect();
        let cells = measure(&curves, &Distribution::default()).unwrap();
        let all = diagnoses(&cells, &courses, ONSET_ACCURACY);
        let one = &correlations(&all, &Axes::of_settings())[0];
        assert_eq!(
            (one.count, one.expected_count, one.never_adapted_count),
            (3, 4, 1)
        );
        assert!((one.clean.unwrap() + 1.0).abs() < 1e-9);
        assert!((one.loss.unwrap() - 1.0).abs() < 1e-9);
        assert_eq!(one.loss_count, 3);
    }
}
