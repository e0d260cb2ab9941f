//! What kind of failure an error is, for every crate, and the list of what is wrong with an input.

use std::fmt;

/// What a caller can do about an error. Each library error says its kind; the service shell maps
/// kinds to gRPC codes in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request is malformed and will stay so.
    InvalidInput,
    /// The named thing does not exist.
    NotFound,
    /// The thing exists already, with another content.
    AlreadyExists,
    /// The request is well formed, but the system's state refuses it.
    FailedPrecondition,
    /// Somebody else changed the thing in between; looking again and repeating may help.
    Conflict,
    /// The worker lost its lease: another may hold the job now.
    LeaseLost,
    /// A dependency (database, object store, peer) does not answer; trying again may help.
    Unavailable,
    /// The device or host has too little memory.
    OutOfMemory,
    /// Training reached a loss that is not finite.
    Diverged,
    /// A defect of Temper.
    Internal,
}

/// One field of a request and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldViolation {
    /// Path of the field in the request, for instance `spec.models[1]`.
    pub field: String,
    /// What is wrong, and what would be right.
    pub description: String,
}

/// Everything that is wrong with a request, found in one pass; never empty when returned as an
/// error.
#[derive(Debug, Clone, Default, PartialEq, Eq, thiserror::Error)]
pub struct Violations(Vec<FieldViolation>);

impl Violations {
    /// Adds one violation.
    pub fn add(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.0.push(FieldViolation {
            field: field.into(),
            description: description.into(),
        });
    }

    /// Adds a violation unless `holds`.
    pub fn require(&mut self, holds: bool, field: &str, description: impl FnOnce() -> String) {
        if !holds {
            self.add(field, description());
        }
    }

    /// Keeps the value of `result`, or notes its error under `field`.
    pub fn take<T, E: fmt::Display>(&mut self, field: &str, result: Result<T, E>) -> Option<T> {
        result
            .map_err(|error| self.add(field, error.to_string()))
            .ok()
    }

    /// Whether something is already wrong with `field` or a part of it.
    #[must_use]
    pub fn touch(&self, field: &str) -> bool {
        self.0
            .iter()
            .any(|violation| violation.field.starts_with(field))
    }

    /// The violations in the order in which they were found.
    #[must_use]
    pub fn as_slice(&self) -> &[FieldViolation] {
        &self.0
    }

    /// The same, with every field's path below `parent`.
    #[must_use]
    pub fn below(mut self, parent: &str) -> Self {
        for violation in &mut self.0 {
            violation.field = format!("{parent}.{}", violation.field);
        }
        self
    }

    /// Takes over all of `other`.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// `value` if nothing is wrong, else all that is.
    ///
    /// # Errors
    /// The violations themselves, when there is at least one.
    pub fn into_result<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() {
            Ok(value)
        } else {
            Err(self)
        }
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, violation) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(
                f,
                "{separator}{}: {}",
                violation.field, violation.description
            )?;
        }
        Ok(())
    }
}
