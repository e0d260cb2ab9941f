//! Which of a sweep's jobs are meant.

use super::FailureClass;
use crate::rules::CellMatch;

/// Which of a sweep's jobs are meant: those that all parts let through, and an empty part lets
/// every job through. A job that several cells share is meant when one of them is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JobFilter {
    /// Cells that the job is of.
    pub cells: CellMatch,
    /// How the job's last attempt failed.
    pub failure_classes: Vec<FailureClass>,
    /// Numbers of jobs.
    pub jobs: Vec<i64>,
}
