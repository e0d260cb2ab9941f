//! From a sweep spec to stored jobs: checked whole, resolved against the catalog, laid out.

use std::collections::{BTreeMap, HashSet};

use temper_core::{
    Violations,
    catalog::{Catalog, Input, LookupError},
    expand::Layout,
    placement::Placement,
    spec::SweepSpec,
    validate,
};

/// Most labels of a sweep, and the longest key or value, in bytes.
const MAX_LABELS: usize = 64;
const MAX_TEXT: usize = 200;

/// Why a sweep is refused.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Mistakes in the request.
    #[error("the sweep is not valid: {0}")]
    Invalid(Violations),
    /// Catalog entries that must be pinned first.
    #[error("{0}")]
    Unpinned(String),
}

/// A sweep laid out.
pub struct LaidOut {
    /// Its cells and jobs.
    pub layout: Layout,
    /// What its names stand for.
    pub inputs: Vec<Input>,
}

/// What goes with a spec.
pub struct Envelope<'a> {
    pub display_name: &'a str,
    pub priority: i32,
    pub labels: &'a BTreeMap<String, String>,
    pub placement: &'a Placement,
    pub parallel_jobs: i32,
}

/// Adds what is wrong with the things around the spec.
pub fn check_envelope(envelope: &Envelope<'_>, violations: &mut Violations) {
    check_text("display_name", envelope.display_name, violations);
    violations.require(
        (-1000..=1000).contains(&envelope.priority),
        "priority",
        || format!("{} is outside -1000 to 1000", envelope.priority),
    );
    check_labels("labels", envelope.labels, violations);
    check_labels(
        "placement.worker_labels",
        &envelope.placement.labels,
        violations,
    );
    violations.require(envelope.parallel_jobs >= 0, "parallel_jobs", || {
        format!("{} is below 0", envelope.parallel_jobs)
    });
}

/// Adds what is wrong with labels, of sweeps or of workers.
pub fn check_labels(field: &str, labels: &BTreeMap<String, String>, violations: &mut Violations) {
    violations.require(labels.len() <= MAX_LABELS, field, || {
        format!(
            "has {} entries; at most {MAX_LABELS} are allowed",
            labels.len()
        )
    });
    for (key, value) in labels {
        let place = format!("{field}[{key}]");
        let objection = objection(key).or_else(|| objection(value));
        violations.require(!key.is_empty(), field, || "has an empty key".to_owned());
        violations.require(objection.is_none(), &place, || {
            format!("key or value {}", objection.unwrap_or_default())
        });
    }
}

/// Adds what is wrong with a line of text for people.
pub fn check_text(field: &str, text: &str, violations: &mut Violations) {
    let objection = objection(text);
    violations.require(objection.is_none(), field, || objection.unwrap_or_default());
}

/// What is wrong with a line of text for people, if anything.
fn objection(text: &str) -> Option<String> {
    if text.len() > MAX_TEXT {
        Some(format!("is longer than {MAX_TEXT} bytes"))
    } else if text.contains('\0') {
        Some("holds a NUL, which cannot be stored".to_owned())
    } else {
        None
    }
}

/// Checks the spec and lays it out.
///
/// # Errors
/// `Invalid` with `violations` and every mistake in the spec, unknown names among them; else
/// `Unpinned` when the catalog lacks digests that a key needs.
pub fn lay_out(
    spec: &SweepSpec,
    catalog: &Catalog,
    mut violations: Violations,
) -> Result<LaidOut, Refusal> {
    validate::sweep(spec, &mut violations);
    let mut unpinned = Vec::new();
    let models = resolve(
        &spec.models,
        "spec.models",
        &mut violations,
        &mut unpinned,
        |name| catalog.model(name),
    );
    let datasets = resolve(
        &spec.datasets,
        "spec.datasets",
        &mut violations,
        &mut unpinned,
        |name| catalog.dataset(name),
    );
    violations.into_result(()).map_err(Refusal::Invalid)?;
    if !unpinned.is_empty() {
        return Err(Refusal::Unpinned(unpinned.join("; ")));
    }
    let inputs = models.iter().map(Input::from);
    Ok(LaidOut {
        inputs: inputs.chain(datasets.iter().map(Input::from)).collect(),
        layout: Layout::of(spec, &models, &datasets),
    })
}

fn resolve<T>(
    names: &[String],
    field: &str,
    violations: &mut Violations,
    unpinned: &mut Vec<String>,
    lookup: impl Fn(&str) -> Result<T, LookupError>,
) -> Vec<T> {
    let (mut found, mut seen) = (Vec::new(), HashSet::new());
    // A name that is there twice is refused already, and need not be kept a million times.
    let once = names.iter().enumerate();
    for (i, name) in once.filter(|(_, name)| seen.insert(name.as_str())) {
        match lookup(name) {
            Ok(entry) => found.push(entry),
            Err(error @ LookupError::Unknown { .. }) => {
                violations.require(false, &format!("{field}[{i}]"), || error.to_string());
            }
            Err(error @ LookupError::Unpinned { .. }) => unpinned.push(error.to_string()),
        }
    }
    found
}
