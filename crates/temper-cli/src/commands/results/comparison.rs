//! Schedules side by side, and two-hinge less fixed.

use serde_json::Value;
use temper_proto::{
    to_json,
    v1::{
        AggregateCurvesResponse, CompareSchedulesResponse, CurveAxis, CurveGroup, Estimate,
        GroupKey, PairedComparison, ScheduleComparison,
        results_service_client::ResultsServiceClient,
    },
};
use temper_service::client::Channel;

use crate::{output, report};

const PLACE: [CurveAxis; 5] = [
    CurveAxis::Model,
    CurveAxis::Dataset,
    CurveAxis::TargetEpsilon,
    CurveAxis::Hyperparameters,
    CurveAxis::Evaluation,
];

/// A metric's name, where a group has it, and where a comparison.
type Metric = (
    &'static str,
    fn(&CurveGroup) -> Option<Estimate>,
    fn(&ScheduleComparison) -> Option<&PairedComparison>,
);

const METRICS: [Metric; 3] = [
    ("clean", |g| g.clean_accuracy, |c| c.clean_accuracy.as_ref()),
    (
        "robust",
        |g| g.robust_accuracy,
        |c| c.robust_accuracy.as_ref(),
    ),
    (
        "expected",
        |g| g.expected_robustness,
        |c| c.expected_robustness.as_ref(),
    ),
];

/// Two-hinge less fixed; empty where the sweep has not both.
pub struct Comparison {
    /// By target and settings.
    overall: Vec<ScheduleComparison>,
    /// By model and dataset too.
    places: Vec<ScheduleComparison>,
}

impl Comparison {
    /// Asks for both.
    pub async fn ask(
        client: &ResultsServiceClient<Channel>,
        sweep: &str,
        groups: &[CurveGroup],
    ) -> anyhow::Result<Self> {
        Ok(Self {
            overall: report::compare(client, sweep, groups, &[]).await?,
            places: report::compare(client, sweep, groups, &PLACE).await?,
        })
    }

    /// The groups with the comparisons as JSON.
    pub fn beside(&self, groups: &AggregateCurvesResponse) -> anyhow::Result<String> {
        let mut all: Value = serde_json::from_str(&to_json(groups)?)?;
        for (name, comparisons) in [("comparisons", &self.overall), ("places", &self.places)] {
            let message = CompareSchedulesResponse {
                comparisons: comparisons.clone(),
            };
            let mut message: Value = serde_json::from_str(&to_json(&message)?)?;
            all[name] = match message["comparisons"].take() {
                Value::Null => Value::Array(Vec::new()),
                list => list,
            };
        }
        Ok(serde_json::to_string_pretty(&all)?)
    }

    /// Prints a row for each metric of each place that several schedules share.
    pub fn print(&self, groups: &[CurveGroup]) {
        let schedules = report::ranked(groups.iter().map(|group| group.schedule.as_str()));
        if schedules.len() < 2 {
            return;
        }
        output::line("");
        output::line(
            "schedules side by side: mean ± half of the 95% interval, n of the cells there are, * the best",
        );
        let columns = self.columns(&schedules);
        let columns: Vec<_> = columns.iter().map(String::as_str).collect();
        output::print_table(&output::table(&columns, self.rows(groups, &schedules)), "");
        for line in self.overall.iter().flat_map(lines) {
            output::line(line);
        }
    }

    fn columns(&self, schedules: &[String]) -> Vec<String> {
        let place = ["MODEL", "DATASET", "TARGET", "ACCURACY"];
        let place = place.into_iter().map(str::to_owned);
        let schedules = schedules.iter().map(|name| name.to_uppercase());
        let difference = (!self.places.is_empty()).then(|| "TWO-HINGE - FIXED".to_owned());
        place.chain(schedules).chain(difference).collect()
    }

    fn rows(&self, groups: &[CurveGroup], schedules: &[String]) -> Vec<Vec<String>> {
        let mut rows = Vec::new();
        for (place, groups) in report::by_key(groups, |group| report::place(group)) {
            let paired = self.places.iter().find(|other| is_of(other, &place));
            for (name, of_group, of_comparison) in METRICS {
                let mut row = vec![
                    place.model.clone(),
                    place.dataset.clone(),
                    target(&place, &self.places),
                    name.to_owned(),
                ];
                let best = report::best(&groups, of_group);
                row.extend(schedules.iter().map(|schedule| {
                    let group = groups.iter().find(|group| group.schedule == *schedule);
                    group.map_or_else(String::new, |group| cell(group, of_group(group), best))
                }));
                if !self.places.is_empty() {
                    row.push(difference(paired.and_then(of_comparison)));
                }
                rows.push(row);
            }
        }
        rows
    }
}

/// The target, and the settings where several are compared.
fn target(place: &GroupKey, all: &[ScheduleComparison]) -> String {
    let several = |of: fn(&GroupKey) -> Option<u32>| {
        let keys = all.iter().filter_map(|comparison| comparison.key.as_ref());
        keys.filter_map(of).any(|index| index > 0) || of(place).unwrap_or_default() > 0
    };
    let settings = [
        (
            "h",
            place
                .hyperparameters
                .filter(|_| several(|key| key.hyperparameters)),
        ),
        (
            "e",
            place.evaluation.filter(|_| several(|key| key.evaluation)),
        ),
    ];
    let settings = settings
        .into_iter()
        .filter_map(|(name, index)| Some(format!(" {name}{}", index?)));
    place.target_epsilon.clone() + &settings.collect::<String>()
}

fn is_of(comparison: &ScheduleComparison, place: &GroupKey) -> bool {
    let plain = |key: &GroupKey| GroupKey {
        axes: Vec::new(),
        ..key.clone()
    };
    comparison.key.as_ref().map(plain).as_ref() == Some(place)
}

/// `0.566 ± 0.026 3/3 *`.
fn cell(group: &CurveGroup, estimate: Option<Estimate>, best: Option<f64>) -> String {
    let n = format!("{}/{}", group.count, group.expected_count);
    let Some(estimate) = estimate else {
        return format!("- {n}");
    };
    let half = estimate
        .lower
        .zip(estimate.upper)
        .map(|(lower, upper)| (upper - lower) / 2.0);
    let half = half.map_or_else(String::new, |half| format!(" ± {half:.3}"));
    let contends = group.count == group.expected_count && !report::is_reference(&group.schedule);
    let mark = if contends && best.is_some_and(|best| estimate.mean >= best) {
        " *"
    } else {
        ""
    };
    format!("{:.3}{half} {n}{mark}", estimate.mean)
}

/// `+0.274 [+0.248, +0.300] n=3`.
fn difference(paired: Option<&PairedComparison>) -> String {
    let Some(paired) = paired else {
        return "-".to_owned();
    };
    let interval = paired.lower.zip(paired.upper);
    let interval = interval.map_or_else(String::new, |(low, high)| {
        format!(" [{low:+.3}, {high:+.3}]")
    });
    format!(
        "{:+.3}{interval} n={}",
        paired.mean_difference, paired.count
    )
}

/// A line for each metric over all pairs.
fn lines(comparison: &ScheduleComparison) -> Vec<String> {
    let key = comparison.key.clone().unwrap_or_default();
    let target = target(&key, std::slice::from_ref(comparison));
    let metrics = METRICS
        .into_iter()
        .filter_map(|(name, _, of)| Some((name, of(comparison)?)));
    let lines = metrics.map(|(name, paired)| {
        let p = paired
            .p_value
            .map_or_else(String::new, |p| format!(", p = {p:.1e}"));
        format!(
            "two-hinge - fixed at {target}, {name}: {} of {} pairs{p}, {} wins, {} ties, {} losses",
            difference(Some(paired)),
            comparison.expected_count,
            paired.wins,
            paired.ties,
            paired.losses
        )
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(schedule: &str, mean: f64, count: u32) -> CurveGroup {
        let estimate = Estimate {
            mean,
            lower: Some(mean - 0.02),
            upper: Some(mean + 0.02),
            ..Estimate::default()
        };
        CurveGroup {
            model: "vit-base".into(),
            dataset: "cub200".into(),
            schedule: schedule.into(),
            target_epsilon: "4/255".into(),
            count,
            expected_count: 3,
            clean_accuracy: (count > 0).then_some(estimate),
            ..Default::default()
        }
    }

    fn comparison() -> Comparison {
        let paired = PairedComparison {
            count: 3,
            mean_difference: 0.3,
            lower: Some(0.25),
            upper: Some(0.35),
            p_value: Some(0.001),
            wins: 3,
            ..Default::default()
        };
        let of = |key: GroupKey| ScheduleComparison {
            key: Some(GroupKey {
                axes: vec![CurveAxis::TargetEpsilon.into()],
                ..key
            }),
            clean_accuracy: Some(paired),
            count: 3,
            expected_count: 3,
            ..Default::default()
        };
        let place = report::place(&group("fixed", 0.4, 3));
        Comparison {
            overall: vec![of(GroupKey {
                model: String::new(),
                dataset: String::new(),
                ..place.clone()
            })],
            places: vec![of(place)],
        }
    }

    #[test]
    fn schedules_stand_side_by_side_with_the_best_marked_and_their_difference() {
        let groups = [
            group("two-hinge", 0.7, 3),
            group("fixed", 0.4, 3),
            group("auto", 0.8, 2),
        ];
        let schedules = report::ranked(groups.iter().map(|group| group.schedule.as_str()));
        let rows = comparison().rows(&groups, &schedules);
        assert_eq!(
            rows[0],
            [
                "vit-base",
                "cub200",
                "4/255",
                "clean",
                "0.400 ± 0.020 3/3",
                "0.700 ± 0.020 3/3 *",
                "0.800 ± 0.020 2/3",
                "+0.300 [+0.250, +0.350] n=3"
            ]
        );
        assert_eq!(rows[0].len(), comparison().columns(&schedules).len());
        assert_eq!(rows[1][4..], ["- 3/3", "- 3/3", "- 2/3", "-"]);
    }

    #[test]
    fn all_pairs_together_get_a_line_a_metric() {
        assert_eq!(
            lines(&comparison().overall[0]),
            [
                "two-hinge - fixed at 4/255, clean: +0.300 [+0.250, +0.350] n=3 of 3 pairs, p = 1.0e-3, \
              3 wins, 0 ties, 0 losses"
            ]
        );
    }

    #[test]
    fn json_keeps_the_groups_and_adds_the_comparisons() {
        let groups = AggregateCurvesResponse {
            groups: vec![group("fixed", 0.4, 3)],
        };
        let read = |comparison: Comparison| -> Value {
            serde_json::from_str(&comparison.beside(&groups).unwrap()).unwrap()
        };
        let all = read(comparison());
        assert_eq!(all["groups"][0]["schedule"], "fixed");
        assert_eq!(all["comparisons"][0]["cleanAccuracy"]["wins"], 3);
        assert_eq!(all["places"][0]["key"]["model"], "vit-base");
        let none = read(Comparison {
            overall: Vec::new(),
            places: Vec::new(),
        });
        assert_eq!(none["comparisons"], Value::Array(Vec::new()));
    }
}
