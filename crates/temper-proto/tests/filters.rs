//! Filters of jobs: what they say comes through, and what is written wrong is named.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use temper_core::{
    Epsilon, Violations,
    job::{FailureClass, JobFilter},
    rules::CellMatch,
    schedule::Schedule,
};
use temper_proto::{from_json, parse_job_filter, v1};

fn parse(json: &str) -> (JobFilter, Violations) {
    let message: v1::JobFilter = from_json(json).unwrap();
    let mut violations = Violations::default();
    let filter = parse_job_filter(Some(&message), &mut violations);
    (filter, violations)
}

#[test]
fn filter_says_what_was_written() {
    let (filter, violations) = parse(
        r#"{"states": ["JOB_STATE_FAILED"], "failureClasses": ["FAILURE_CLASS_BAD_INPUT"],
            "cells": {"models": ["resnet50"], "datasets": ["pets"], "schedules": ["two-hinge(0.25,3/4)"],
                "seeds": [7], "targetEpsilons": ["4/255"], "hyperparameters": [0]},
            "jobs": ["jobs/12"]}"#,
    );
    assert_eq!(violations, Violations::default());
    let expected = JobFilter {
        failure_classes: vec![FailureClass::BadInput],
        cells: CellMatch {
            models: vec!["resnet50".to_owned()],
            datasets: vec!["pets".to_owned()],
            schedules: vec![Schedule::two_hinge_default()],
            target_epsilons: vec![Epsilon::new(4, 255).unwrap()],
            seeds: vec![7],
            hyperparameters: vec![0],
        },
        jobs: vec![12],
    };
    assert_eq!(filter, expected);
    assert_eq!(
        parse_job_filter(None, &mut Violations::default()),
        JobFilter::default()
    );
}

#[test]
fn every_value_that_cannot_be_meant_is_named() {
    let (_, violations) = parse(
        r#"{"states": ["JOB_STATE_FAILED", "JOB_STATE_SUCCEEDED"],
            "failureClasses": ["FAILURE_CLASS_UNSPECIFIED", 99],
            "cells": {"schedules": ["sudden"], "targetEpsilons": ["four"]}, "jobs": ["jobs/1", "sweeps/1"]}"#,
    );
    let fields = violations.as_slice().iter().map(|v| v.field.as_str());
    let fields: Vec<&str> = fields.collect();
    assert_eq!(
        fields,
        [
            "filter.states[1]",
            "filter.cells.schedules[0]",
            "filter.cells.target_epsilons[0]",
            "filter.jobs[1]",
            "filter.failure_classes[0]",
            "filter.failure_classes[1]",
        ]
    );
}
