//! Which of a sweep's jobs a person means.

use temper_core::{
    Violations,
    job::{FailureClass, JobFilter, JobState},
    rules::CellMatch,
};

use super::{Parse as _, names::JobName};
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
    let cells = message.cells.as_ref();
    let cells = CellMatch::parse_or_default(cells, "filter.cells", violations);
    let jobs = message.jobs.iter().enumerate();
    let jobs = jobs.filter_map(|(i, text)| {
        let name = violations.take(&format!("filter.jobs[{i}]"), text.parse::<JobName>())?;
        Some(name.0)
    });
    JobFilter {
        jobs: jobs.collect(),
        cells: cells.unwrap_or_default(),
        failure_classes: classes(&message.failure_classes, violations),
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
