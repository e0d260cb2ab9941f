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

/// Violations that are kept: more than a person mends in one go, and as many as an answer has room for.
const KEPT: usize = 64;
/// Bytes of a field's path that are kept; paths hold map keys, which are the caller's.
const FIELD_BYTES: usize = 200;
/// Bytes of a description that are kept; descriptions repeat what the caller wrote.
const DESCRIPTION_BYTES: usize = 1000;

/// Everything that is wrong with a request, found in one pass; never empty when returned as an
/// error. However much is wrong with however long a request, this stays small: of many violations
/// the first are kept and the others counted, and of long texts the middle is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, thiserror::Error)]
pub struct Violations {
    kept: Vec<FieldViolation>,
    more: usize,
}

impl Violations {
    /// Adds one violation.
    pub fn add(&mut self, field: impl Into<String>, description: impl Into<String>) {
        if self.is_full() {
            self.more += 1;
            return;
        }
        self.kept.push(FieldViolation {
            field: shortened(field.into(), FIELD_BYTES),
            description: shortened(description.into(), DESCRIPTION_BYTES),
        });
    }

    /// Adds a violation unless `holds`. It is described only where it is kept.
    pub fn require(&mut self, holds: bool, field: &str, description: impl FnOnce() -> String) {
        if holds {
            return;
        }
        if self.is_full() {
            self.more += 1;
        } else {
            self.add(field, description());
        }
    }

    /// Keeps the value of `result`, or notes its error under `field`.
    pub fn take<T, E: fmt::Display>(&mut self, field: &str, result: Result<T, E>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.require(false, field, || error.to_string());
                None
            }
        }
    }

    /// Whether something is already wrong with `field` or a part of it.
    #[must_use]
    pub fn touch(&self, field: &str) -> bool {
        self.kept
            .iter()
            .any(|violation| violation.field.starts_with(field))
    }

    /// The violations that are kept, in the order in which they were found.
    #[must_use]
    pub fn as_slice(&self) -> &[FieldViolation] {
        &self.kept
    }

    /// How many were found.
    #[must_use]
    pub fn count(&self) -> usize {
        self.kept.len() + self.more
    }

    /// Whether further ones would only be counted.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.kept.len() >= KEPT
    }

    /// The same, with every field's path below `parent`.
    #[must_use]
    pub fn below(self, parent: &str) -> Self {
        self.placed(|field| format!("{parent}.{field}"))
    }

    /// The same, each under the field that `place` puts it.
    #[must_use]
    pub fn placed(mut self, place: impl Fn(&str) -> String) -> Self {
        for violation in &mut self.kept {
            violation.field = place(&violation.field);
        }
        self
    }

    /// `value` if nothing is wrong, else all that is.
    ///
    /// # Errors
    /// The violations themselves, when there is at least one.
    pub fn into_result<T>(self, value: T) -> Result<T, Self> {
        if self.kept.is_empty() {
            Ok(value)
        } else {
            Err(self)
        }
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, violation) in self.kept.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(
                f,
                "{separator}{}: {}",
                violation.field, violation.description
            )?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// A text of which about `most` bytes are left, its middle left out: its start tells what it is, and
/// what Temper says of something comes last.
#[must_use]
pub fn shortened(text: String, most: usize) -> String {
    if text.len() <= most {
        return text;
    }
    let head = text.floor_char_boundary(most / 2);
    let tail = text.ceil_char_boundary(text.len() - most / 2);
    format!("{}…{}", &text[..head], &text[tail..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_violations_are_counted_and_the_first_kept() {
        let mut violations = Violations::default();
        for i in 0..1_000_000 {
            violations.require(false, "seeds", || format!("{i} is named twice"));
        }
        assert_eq!(violations.as_slice().len(), KEPT);
        assert_eq!(violations.count(), 1_000_000);
        assert_eq!(violations.as_slice()[1].description, "1 is named twice");
        let text = violations.to_string();
        assert!(text.ends_with("; and 999936 more"), "{text}");
    }

    #[test]
    fn what_is_not_kept_is_not_described() {
        let mut violations = Violations::default();
        for _ in 0..KEPT {
            violations.add("seeds", "is wrong");
        }
        violations.require(false, "seeds", || panic!("described"));
        assert_eq!(violations.count(), KEPT + 1);
    }

    #[test]
    fn long_texts_keep_their_ends_and_are_cut_between_characters() {
        let mut violations = Violations::default();
        let name = "é".repeat(1 << 20);
        violations.add(format!("labels[{name}]"), format!("`{name}` is no name"));
        let told = &violations.as_slice()[0];
        assert!(told.field.starts_with("labels[éé") && told.field.ends_with("éé]"));
        assert!(told.description.ends_with("éé` is no name"));
        assert!(told.field.len() <= FIELD_BYTES + 4);
        assert!(told.description.len() <= DESCRIPTION_BYTES + 4);
    }
}
