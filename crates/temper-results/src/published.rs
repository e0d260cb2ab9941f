//! What the paper published, by the same groups and statistics as what is measured.

use temper_core::{
    job::JobState,
    published::Published,
    spec::{EvaluationSettings, Selection},
};
use temper_store::{CellCurve, CurveFacts, JobId};

use crate::{
    compare::{self, Comparison, Question},
    group::{Axes, Axis, Cell, Group, Key, group},
};

/// The paper's rows, as cells that grouping and comparing take. They have no curve and no job.
#[derive(Debug)]
pub struct Rows<'a> {
    rows: Vec<&'a Published>,
    places: Vec<CellCurve>,
}

/// Means over published rows.
#[derive(Debug, Clone)]
pub struct Summed<'a> {
    pub group: Group<'a>,
    /// Rows that fit no falling curve.
    pub anomalous_count: usize,
}

impl<'a> Rows<'a> {
    /// These rows.
    pub fn of(rows: impl IntoIterator<Item = &'a Published>) -> Self {
        let rows: Vec<_> = rows.into_iter().collect();
        // Numbers below 1 are no job's.
        let places = rows
            .iter()
            .zip(1..)
            .map(|(row, number)| place(row, JobId(-number)));
        Self {
            places: places.collect(),
            rows,
        }
    }

    fn cells(&self) -> Vec<Cell<'_>> {
        let cells = self.places.iter().zip(&self.rows);
        let cell = |(curve, row): (_, &&Published)| Cell {
            curve,
            figures: Some(row.figures),
        };
        cells.map(cell).collect()
    }

    /// Means over groups of rows.
    pub fn summaries(&self, axes: &Axes) -> Vec<Summed<'_>> {
        let anomalous = |group: &Group<'_>| {
            let own = group.cells.iter().map(|cell| cell.curve.cell as usize);
            own.filter(|row| self.rows[*row].is_anomalous()).count()
        };
        let groups = group(&self.cells(), axes).into_iter();
        let summed = groups.map(|group| Summed {
            anomalous_count: anomalous(&group),
            group,
        });
        summed.collect()
    }

    /// Two-hinge against fixed, paired by model and dataset, by target: the paper's Table 9.
    pub fn comparisons(&self) -> Vec<Comparison<'_>> {
        let question = Question {
            baseline: "fixed",
            candidate: "two-hinge",
            by_configuration: false,
            axes: Axes::of(&[Axis::Target]),
        };
        compare::schedules(&self.cells(), &question)
    }
}

/// What was published of a group's model, dataset, schedule and target, if anything.
pub fn counterpart<'a>(key: &Key<'_>, rows: &'a [Published]) -> Option<&'a Published> {
    rows.iter().find(|row| {
        key.model == Some(&row.model)
            && key.dataset == Some(&row.dataset)
            && key.target == Some(row.target)
            && key.schedule == Some(row.schedule.to_string().as_str())
    })
}

/// Where on the axes a row would be; its seed and settings are not published.
fn place(row: &Published, job: JobId) -> CellCurve {
    let settings = EvaluationSettings::default();
    CellCurve {
        cell: u32::try_from(-job.0 - 1).unwrap_or_default(),
        model: row.model.clone(),
        dataset: row.dataset.clone(),
        schedule: row.schedule.to_string(),
        target: row.target,
        seed: 0,
        hyperparameters: 0,
        evaluation: 0,
        job,
        state: JobState::Succeeded,
        train_job: job,
        epochs: 0,
        facts: CurveFacts {
            mode: settings.mode,
            attacks: settings.attacks,
            model: Selection::Last,
            seed: 0,
            audit: None,
            flags: Vec::new(),
            passes: None,
        },
        points: None,
    }
}

#[cfg(test)]
mod tests {
    use temper_core::published::built_in;

    use super::*;
    use crate::{
        group::{clean, expected, robust},
        testing::curves,
    };

    #[test]
    fn summaries_are_the_papers_means_with_anomalous_rows_counted() {
        let published = built_in().unwrap();
        let rows = Rows::of(&published);
        let summaries = rows.summaries(&Axes::of(&[Axis::Schedule, Axis::Target]));
        let mut shown: Vec<_> = summaries
            .iter()
            .map(|one| {
                let means = [clean, robust, expected].map(|scalar| {
                    let mean = one.group.summary(scalar).unwrap().mean;
                    format!("{:.2}", mean * 100.0)
                });
                let key = &one.group.key;
                let key = format!("{} {}", key.schedule.unwrap(), key.target.unwrap());
                (key, means.join(" "), one.group.count(), one.anomalous_count)
            })
            .collect();
        shown.sort();
        let expected = [
            ("fixed 4/255", "38.15 20.61 29.20", 30, 0),
            ("fixed 8/255", "19.40 8.17 13.29", 30, 2),
            ("two-hinge 4/255", "76.18 36.04 56.59", 30, 0),
            ("two-hinge 8/255", "69.35 21.71 44.47", 30, 0),
        ];
        let expected =
            expected.map(|(key, means, n, odd)| (key.to_owned(), means.to_owned(), n, odd));
        assert_eq!(shown, expected);
    }

    #[test]
    fn comparisons_are_the_papers_table() {
        let published = built_in().unwrap();
        let rows = Rows::of(&published);
        let comparisons = rows.comparisons();
        assert_eq!(comparisons.len(), 2);
        let at_four = comparisons
            .iter()
            .find(|one| one.key.target.unwrap().to_string() == "4/255")
            .unwrap();
        assert_eq!((at_four.count, at_four.expected_count), (30, 30));
        let t = at_four.clean.unwrap().test.unwrap().t;
        assert_eq!(format!("{t:.4}"), "7.8233");
        let wins = [at_four.clean, at_four.robust, at_four.expected].map(|one| one.unwrap().wins);
        assert_eq!(wins, [30, 21, 30]);
    }

    #[test]
    fn counterpart_has_the_same_model_dataset_schedule_and_target() {
        let published = built_in().unwrap();
        let mut cells = curves(&[("two-hinge", 3, None)]);
        let axes = Axes::without(&[Axis::Seed]);
        let found = |cells: &[CellCurve]| {
            counterpart(&Key::of(&cells[0], &axes), &published).map(|row| row.figures.clean)
        };
        assert_eq!(found(&cells), None);
        cells[0].model = "vit-base".into();
        cells[0].dataset = "cub200".into();
        cells[0].target = temper_core::Epsilon::new(4, 255).unwrap();
        assert!((found(&cells).unwrap() - 0.734).abs() < 1e-12);
        cells[0].schedule = "linear".into();
        assert_eq!(found(&cells), None);
    }
}
