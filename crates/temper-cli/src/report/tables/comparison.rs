//! Two-hinge less fixed over pairs: the paper's Table 9.

use temper_proto::v1::PairedComparison;

use super::{Row, Table, columns};
use crate::report::{Answers, looks::Looks, percent};

const NOTE: &str = "Percentage points, two-hinge less fixed, paired by everything else, with the 95% \
    interval and Student's paired t-test. Wins, ties and losses are two-hinge's. n of the pairs there are \
    to be.";

/// One table, or none where the sweep has not both schedules.
pub fn comparisons(answers: &Answers, looks: &Looks) -> Vec<Table> {
    let mut rows = Vec::new();
    for comparison in &answers.comparisons {
        let title = looks.title(&comparison.key.clone().unwrap_or_default());
        let n = format!("{}/{}", comparison.count, comparison.expected_count);
        let metrics = [
            ("clean", &comparison.clean_accuracy),
            ("robust", &comparison.robust_accuracy),
            ("expected", &comparison.expected_robustness),
        ];
        for (i, (metric, paired)) in metrics.into_iter().enumerate() {
            let mut cells = vec![title.clone().into(), metric.into(), n.clone().into()];
            cells.extend(figures(paired.as_ref()).map(Into::into));
            rows.push(Row {
                first: i == 0,
                cells,
            });
        }
    }
    if rows.is_empty() {
        return Vec::new();
    }
    let heads = [
        "target",
        "accuracy",
        ">n",
        ">fixed",
        ">two-hinge",
        ">difference",
        ">95% interval",
        ">t",
        ">p",
        ">wins/ties/losses",
    ];
    vec![Table {
        title: "Two-hinge against fixed".to_owned(),
        note: NOTE,
        columns: columns(&heads),
        rows,
        ..Table::default()
    }]
}

fn figures(paired: Option<&PairedComparison>) -> [String; 7] {
    let none = || "–".to_owned();
    let Some(paired) = paired else {
        return std::array::from_fn(|_| none());
    };
    let points = |share: f64| format!("{:+.2}", percent(share));
    let interval = paired.lower.zip(paired.upper);
    [
        format!("{:.2}", percent(paired.baseline_mean)),
        format!("{:.2}", percent(paired.candidate_mean)),
        points(paired.mean_difference),
        interval.map_or_else(none, |(low, high)| {
            format!("{} to {}", points(low), points(high))
        }),
        paired.t.map_or_else(none, |t| format!("{t:.4}")),
        paired.p_value.map_or_else(none, |p| format!("{p:.1e}")),
        format!("{}/{}/{}", paired.wins, paired.ties, paired.losses),
    ]
}
