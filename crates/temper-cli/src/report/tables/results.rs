//! Schedules by model and dataset: the paper's Tables 1 and 2.

use temper_proto::v1::{CurveGroup, Estimate, GroupKey};

use super::{Cell, Row, Span, Table, columns};
use crate::report::{
    Answers, best,
    looks::{self, Looks},
    mean,
};

type Metric = fn(&CurveGroup) -> Option<Estimate>;

const METRICS: [Metric; 3] = [
    |group| group.clean_accuracy,
    |group| group.robust_accuracy,
    |group| group.expected_robustness,
];
const NOTE: &str = "In percent, means over seeds; n of the cells there are to be. Bold: the best of the \
    schedules whose cells are all there, ordinary fine-tuning (standard) apart. –: no result yet; blank: \
    the sweep leaves that out.";

/// A table for each target and settings.
pub fn results(answers: &Answers, looks: &Looks) -> Vec<Table> {
    let settings = looks::by_key(&answers.groups, |group| GroupKey {
        model: String::new(),
        dataset: String::new(),
        ..looks::place(group)
    });
    settings
        .into_iter()
        .map(|(place, groups)| table(&looks.title(&place), &groups, looks))
        .collect()
}

fn table(target: &str, groups: &[&CurveGroup], looks: &Looks) -> Table {
    let datasets = looks::by_key(groups, |group| group.dataset.as_str());
    let names: Vec<_> = datasets.iter().map(|(name, _)| *name).collect();
    let mut rows = Vec::new();
    for (model, groups) in looks::by_key(groups.iter().copied(), |group| group.model.as_str()) {
        let of_model = looks.schedules().iter();
        let of_model = of_model.filter(|name| groups.iter().any(|g| g.schedule == **name));
        for (i, schedule) in of_model.enumerate() {
            let mut cells = vec![Cell::from(model), Cell::from(schedule.as_str())];
            for dataset in &names {
                cells.extend(figures(schedule, dataset, &groups));
            }
            rows.push(Row {
                first: i == 0,
                cells,
            });
        }
    }
    let mut heads = vec!["model", "schedule"];
    let mut spans = vec![Span {
        text: String::new(),
        columns: 2,
    }];
    for name in names {
        heads.extend([">clean", ">robust", ">expected", ">n"]);
        spans.push(Span {
            text: name.to_owned(),
            columns: 4,
        });
    }
    Table {
        title: format!("Target {target}"),
        note: NOTE,
        spans,
        columns: columns(&heads),
        rows,
    }
}

/// The three scalars and n of one schedule on one dataset.
fn figures(schedule: &str, dataset: &str, groups: &[&CurveGroup]) -> [Cell; 4] {
    let rivals = groups.iter().filter(|group| group.dataset == dataset);
    let rivals: Vec<_> = rivals.copied().collect();
    let Some(group) = rivals.iter().find(|group| group.schedule == schedule) else {
        return Default::default();
    };
    let contends = group.count == group.expected_count && !looks::is_reference(schedule);
    let [clean, robust, expected] = METRICS.map(|metric| {
        let value = metric(group);
        let is_best = value
            .zip(best(&rivals, metric))
            .is_some_and(|(own, best)| own.mean >= best);
        Cell {
            text: mean(value),
            best: contends && is_best,
            missing: value.is_none(),
        }
    });
    let n = Cell {
        text: format!("{}/{}", group.count, group.expected_count),
        best: false,
        missing: group.count < group.expected_count,
    };
    [clean, robust, expected, n]
}
