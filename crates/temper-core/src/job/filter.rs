//! Which of a sweep's jobs are meant.

use std::{collections::BTreeSet, fmt::Display};

use super::FailureClass;
use crate::{Epsilon, Violations, schedule::Schedule};

/// Which of a sweep's jobs are meant: those that each list lets through, and an empty list lets
/// every job through. A job that several cells share is meant when one of them is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// How the job's last attempt failed.
    pub failure_classes: Vec<FailureClass>,
    /// Catalog names of models.
    pub models: Vec<String>,
    /// Catalog names of datasets.
    pub datasets: Vec<String>,
    /// Schedules.
    pub schedules: Vec<Schedule>,
    /// Target strengths.
    pub target_epsilons: Vec<Epsilon>,
    /// Seeds.
    pub seeds: Vec<u64>,
    /// Numbers of jobs.
    pub jobs: Vec<i64>,
}

/// What a filter over a sweep can name: the values that its cells have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Axes {
    /// Catalog names of models.
    pub models: BTreeSet<String>,
    /// Catalog names of datasets.
    pub datasets: BTreeSet<String>,
    /// Schedules, as text.
    pub schedules: BTreeSet<String>,
    /// Target strengths.
    pub target_epsilons: BTreeSet<Epsilon>,
    /// Seeds.
    pub seeds: BTreeSet<u64>,
}

/// Values that an answer names at most.
const NAMED: usize = 10;

impl JobFilter {
    /// What the filter names that no cell of the sweep has: a slip of the pen, which would
    /// otherwise be answered by no job at all. Whether jobs belong to the sweep is not known here.
    #[must_use]
    pub fn objections(&self, axes: &Axes) -> Violations {
        let mut violations = Violations::default();
        let schedules: Vec<_> = self.schedules.iter().map(ToString::to_string).collect();
        unknown("models", &self.models, &axes.models, &mut violations);
        unknown("datasets", &self.datasets, &axes.datasets, &mut violations);
        unknown("schedules", &schedules, &axes.schedules, &mut violations);
        unknown(
            "target_epsilons",
            &self.target_epsilons,
            &axes.target_epsilons,
            &mut violations,
        );
        unknown("seeds", &self.seeds, &axes.seeds, &mut violations);
        violations
    }
}

fn unknown<T: Ord + Display>(
    field: &str,
    wanted: &[T],
    known: &BTreeSet<T>,
    violations: &mut Violations,
) {
    for (i, value) in wanted.iter().enumerate() {
        if !known.contains(value) {
            let named: Vec<_> = known.iter().take(NAMED).map(ToString::to_string).collect();
            let more = if known.len() > NAMED { ", …" } else { "" };
            let named = named.join(", ");
            violations.add(
                format!("{field}[{i}]"),
                format!("no cell of the sweep has `{value}`: it has {named}{more}"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axes() -> Axes {
        Axes {
            models: ["resnet50".to_owned()].into(),
            datasets: ["pets".to_owned()].into(),
            schedules: ["fixed".to_owned(), "two-hinge".to_owned()].into(),
            target_epsilons: [Epsilon::new(4, 255).unwrap()].into(),
            seeds: (0..20).collect(),
        }
    }

    #[test]
    fn filter_of_the_sweeps_own_values_is_fine_and_so_is_an_empty_one() {
        let filter = JobFilter {
            models: vec!["resnet50".to_owned()],
            // The same schedule in other words.
            schedules: vec!["two-hinge(0.25,0.75)".parse().unwrap()],
            target_epsilons: vec!["8/510".parse().unwrap()],
            seeds: vec![3, 19],
            ..JobFilter::default()
        };
        assert_eq!(filter.objections(&axes()), Violations::default());
        let everything = JobFilter::default();
        assert_eq!(everything.objections(&axes()), Violations::default());
    }

    #[test]
    fn every_value_that_no_cell_has_is_named_with_those_that_there_are() {
        let filter = JobFilter {
            models: vec!["resnet50".to_owned(), "resnet5".to_owned()],
            datasets: vec!["cars".to_owned()],
            schedules: vec![Schedule::Linear],
            target_epsilons: vec![Epsilon::LEVEL],
            seeds: vec![20],
            ..JobFilter::default()
        };
        let violations = filter.objections(&axes());
        let fields = violations.as_slice().iter().map(|v| v.field.as_str());
        let fields: Vec<&str> = fields.collect();
        assert_eq!(
            fields,
            [
                "models[1]",
                "datasets[0]",
                "schedules[0]",
                "target_epsilons[0]",
                "seeds[0]"
            ]
        );
        let said = violations.to_string();
        assert!(
            said.contains("no cell of the sweep has `resnet5`: it has resnet50"),
            "{said}"
        );
        assert!(said.contains("8, 9, …"), "{said}");
    }
}
