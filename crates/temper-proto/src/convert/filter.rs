//! Which of a sweep's jobs a person means.

use std::{fmt::Display, str::FromStr};

use temper_core::{
    Violations,
    job::{FailureClass, JobFilter, JobState},
};

use super::names::JobName;
use crate::v1;

/// Reads a filter, which may be absent, for jobs that are to be tried again. Everything that cannot
/// be read is added to `violations`; the filter is of use only without any.
pub fn parse_job_filter(message: Option<&v1::JobFilter>, violations: &mut Violations) -> JobFilter {
    let Some(message) = message else {
        return JobFilter::default();
    };
    for (i, number) in message.states.iter().enumerate() {
        let state = v1::JobState::try_from(*number).ok();
        let state = state.and_then(|state| JobState::try_from(state).ok());
        violations.require(
            state == Some(JobState::Failed),
            &format!("filter.states[{i}]"),
            || "only a job that has failed can be tried again: JOB_STATE_FAILED".to_owned(),
        );
    }
    let jobs: Vec<JobName> = texts("filter.jobs", &message.jobs, violations);
    JobFilter {
        failure_classes: classes(&message.failure_classes, violations),
        models: message.models.clone(),
        datasets: message.datasets.clone(),
        schedules: texts("filter.schedules", &message.schedules, violations),
        target_epsilons: texts(
            "filter.target_epsilons",
            &message.target_epsilons,
            violations,
        ),
        seeds: message.seeds.clone(),
        jobs: jobs.into_iter().map(|JobName(number)| number).collect(),
    }
}

fn classes(numbers: &[i32], violations: &mut Violations) -> Vec<FailureClass> {
    let mut read = |(i, number): (usize, &i32)| {
        let class = v1::FailureClass::try_from(*number).ok();
        let class = class.and_then(|class| FailureClass::try_from(class).ok());
        if class.is_none() {
            let field = format!("filter.failure_classes[{i}]");
            violations.add(field, format!("{number} is no class of failures"));
        }
        class
    };
    numbers.iter().enumerate().filter_map(&mut read).collect()
}

fn texts<T>(field: &str, texts: &[String], violations: &mut Violations) -> Vec<T>
where
    T: FromStr<Err: Display>,
{
    let texts = texts.iter().enumerate();
    texts
        .filter_map(|(i, text)| violations.take(&format!("{field}[{i}]"), text.parse()))
        .collect()
}
