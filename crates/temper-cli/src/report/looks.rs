//! What is the same throughout a report: the order of schedules, their looks, which is the best.

use temper_core::Epsilon;
use temper_proto::v1::{CurveGroup, Estimate, GroupKey};

use crate::plot::Style;

const FIRST: [&str; 2] = ["fixed", "two-hinge"];
const REFERENCE: &str = "standard";

/// The schedules of a sweep, each with its look, and what tells its groups apart.
#[derive(Debug)]
pub struct Looks {
    schedules: Vec<String>,
    hyperparameters: bool,
    evaluations: bool,
}

impl Looks {
    /// Of a sweep's groups.
    pub fn of(groups: &[CurveGroup]) -> Self {
        Self {
            schedules: ranked(groups.iter().map(|group| group.schedule.as_str())),
            hyperparameters: groups.iter().any(|group| group.hyperparameters > 0),
            evaluations: groups.iter().any(|group| group.evaluation > 0),
        }
    }

    /// The schedules in the order of tables and legends.
    pub fn schedules(&self) -> &[String] {
        &self.schedules
    }

    /// The schedule's place among them.
    pub fn place(&self, schedule: &str) -> usize {
        let place = self.schedules.iter().position(|other| other == schedule);
        place.unwrap_or(self.schedules.len())
    }

    /// The schedule's look.
    pub fn style(&self, schedule: &str) -> Style {
        Style::of(self.place(schedule))
    }

    /// Names what a key holds: `vit-base, cub200, 4/255`.
    pub fn title(&self, key: &GroupKey) -> String {
        let named = [&key.model, &key.dataset, &key.schedule, &key.target_epsilon];
        let named = named.into_iter().filter(|text| !text.is_empty()).cloned();
        let hyperparameters = key.hyperparameters.filter(|_| self.hyperparameters);
        let evaluation = key.evaluation.filter(|_| self.evaluations);
        let settings = [
            hyperparameters.map(|index| format!("hyper-parameters {index}")),
            evaluation.map(|index| format!("evaluation {index}")),
        ];
        let parts: Vec<_> = named.chain(settings.into_iter().flatten()).collect();
        parts.join(", ")
    }
}

/// Schedules, each once: fixed over two-hinge as in the paper, then the others as they come, and what is
/// only a reference last.
pub fn ranked<'a>(schedules: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut ranked: Vec<&str> = Vec::new();
    for schedule in schedules {
        if !ranked.contains(&schedule) {
            ranked.push(schedule);
        }
    }
    let rank = |schedule: &&str| match FIRST.iter().position(|first| first == schedule) {
        Some(place) => place,
        None => FIRST.len() + usize::from(is_reference(schedule)),
    };
    ranked.sort_by_key(rank);
    ranked.into_iter().map(str::to_owned).collect()
}

/// Whether a schedule is only compared with: ordinary fine-tuning does not contend for the best.
pub fn is_reference(schedule: &str) -> bool {
    schedule == REFERENCE
}

/// The greatest mean of groups that are compared; none where fewer than two contend. Means that lack
/// cells, and ordinary fine-tuning, do not contend.
pub fn best(groups: &[&CurveGroup], metric: fn(&CurveGroup) -> Option<Estimate>) -> Option<f64> {
    let contending = groups
        .iter()
        .filter(|group| group.count == group.expected_count && !is_reference(&group.schedule));
    let means: Vec<_> = contending
        .filter_map(|group| metric(group))
        .map(|estimate| estimate.mean)
        .collect();
    (means.len() > 1).then(|| means.into_iter().fold(f64::MIN, f64::max))
}

/// Whether a group has fewer cells than there are to be.
pub fn lacks(group: &CurveGroup) -> bool {
    group.count < group.expected_count
}

/// How many cells a mean is over: `n=3`, or `n=2/3` where there are to be more.
pub fn counted(group: &CurveGroup) -> String {
    if lacks(group) {
        format!("n={}/{}", group.count, group.expected_count)
    } else {
        format!("n={}", group.count)
    }
}

/// What a group has in common but for its schedule.
pub fn place(group: &CurveGroup) -> GroupKey {
    GroupKey {
        model: group.model.clone(),
        dataset: group.dataset.clone(),
        target_epsilon: group.target_epsilon.clone(),
        hyperparameters: Some(group.hyperparameters),
        evaluation: Some(group.evaluation),
        ..Default::default()
    }
}

/// Items by a key, in the order in which keys are met.
pub fn by_key<T, K: PartialEq>(
    items: impl IntoIterator<Item = T>,
    key: impl Fn(&T) -> K,
) -> Vec<(K, Vec<T>)> {
    let mut groups: Vec<(K, Vec<T>)> = Vec::new();
    for item in items {
        let key = key(&item);
        match groups.iter_mut().find(|(other, _)| *other == key) {
            Some((_, group)) => group.push(item),
            None => groups.push((key, vec![item])),
        }
    }
    groups
}

/// A strength in 1/255.
pub fn strength(epsilon: &str) -> anyhow::Result<f64> {
    let epsilon: Epsilon = epsilon.parse()?;
    Ok(epsilon.value() * 255.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(schedule: &str, mean: f64, count: u32) -> CurveGroup {
        CurveGroup {
            schedule: schedule.into(),
            count,
            expected_count: 3,
            clean_accuracy: Some(Estimate {
                mean,
                ..Estimate::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn fixed_stands_over_two_hinge_and_the_reference_last() {
        let given = [
            "standard",
            "cosine",
            "two-hinge",
            "fixed",
            "two-hinge",
            "auto",
        ];
        assert_eq!(
            ranked(given.into_iter()),
            ["fixed", "two-hinge", "cosine", "auto", "standard"]
        );
    }

    #[test]
    fn only_whole_means_of_contenders_are_best() {
        let clean = |group: &CurveGroup| group.clean_accuracy;
        let groups = [
            group("fixed", 0.4, 3),
            group("two-hinge", 0.7, 3),
            group("cosine", 0.8, 2),
            group("standard", 0.9, 3),
        ];
        let all: Vec<_> = groups.iter().collect();
        assert_eq!(best(&all, clean), Some(0.7));
        assert_eq!(best(&all[..1], clean), None);
        assert_eq!(best(&all[2..], clean), None);
    }

    #[test]
    fn settings_are_named_only_where_there_are_several() {
        let key = place(&CurveGroup {
            model: "vit-base".into(),
            dataset: "cub200".into(),
            target_epsilon: "4/255".into(),
            ..Default::default()
        });
        let one = Looks::of(&[]);
        assert_eq!(one.title(&key), "vit-base, cub200, 4/255");
        let second = CurveGroup {
            evaluation: 1,
            ..Default::default()
        };
        let several = Looks::of(&[second]);
        assert_eq!(several.title(&key), "vit-base, cub200, 4/255, evaluation 0");
    }
}
