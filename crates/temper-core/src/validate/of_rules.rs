//! What the rules of a sweep must be.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashSet},
};

use super::{check_data, check_hyperparameters, check_schedules, check_training};
use crate::{
    Violations,
    rules::{self, CellMatch, Cells, MAX_RULES, Patch},
    spec::SweepSpec,
};

/// Adds what is wrong with the rules of a sweep whose axes are not too long.
pub(super) fn check(spec: &SweepSpec, violations: &mut Violations) {
    let lists = [
        ("spec.exclude", spec.exclude.len()),
        ("spec.overrides", spec.overrides.len()),
    ];
    for (field, length) in lists {
        violations.require(length <= MAX_RULES, field, || {
            format!("has {length} rules; at most {MAX_RULES} are allowed")
        });
    }
    if lists.iter().any(|(_, length)| *length > MAX_RULES) {
        return;
    }
    for (i, cells) in spec.exclude.iter().enumerate() {
        let field = format!("spec.exclude[{i}]");
        violations.require(*cells != CellMatch::default(), &field, || {
            "names nothing, and would exclude every cell".to_owned()
        });
        cells.check(&field, spec, violations);
    }
    for (i, rule) in spec.overrides.iter().enumerate() {
        let field = format!("spec.overrides[{i}]");
        violations.require(!rule.settings.is_empty(), &field, || {
            "gives no setting".to_owned()
        });
        check_numbers(&field, &rule.settings, violations);
        rule.cells
            .check(&format!("{field}.cells"), spec, violations);
    }
    if !spec.exclude.is_empty() && rules::points(spec) > 0 {
        let is_left = Cells::of(spec).places().next().is_some();
        violations.require(
            is_left || violations.touch("spec.exclude"),
            "spec.exclude",
            || "leaves no cell".to_owned(),
        );
    }
    check_overridden(&with_finite_overrides(spec), violations);
}

/// Checks a patch by itself as well, because a number that no cell takes, or that a later rule
/// replaces, is stored all the same: and JSON has none that is not finite.
fn check_numbers(field: &str, settings: &Patch, violations: &mut Violations) {
    for (name, number) in settings.numbers() {
        let holds = number.is_none_or(f64::is_finite);
        violations.require(holds, &format!("{field}.{name}"), || {
            format!("{} is not a finite number", number.unwrap_or_default())
        });
    }
}

/// The spec without the numbers that [`check_numbers`] refuses, so that no cell is blamed for them.
fn with_finite_overrides(spec: &SweepSpec) -> Cow<'_, SweepSpec> {
    let mut numbers = spec
        .overrides
        .iter()
        .flat_map(|rule| rule.settings.numbers());
    if numbers.all(|(_, number)| number.is_none_or(f64::is_finite)) {
        return Cow::Borrowed(spec);
    }
    let mut finite = spec.clone();
    for rule in &mut finite.overrides {
        rule.settings = rule.settings.finite();
    }
    Cow::Owned(finite)
}

/// Checks what cells really train with, once for all that train alike. The last rule that speaks of
/// them is blamed.
fn check_overridden(spec: &SweepSpec, violations: &mut Violations) {
    if spec.overrides.is_empty() {
        return;
    }
    let cells = Cells::of(spec);
    let mut alike: BTreeMap<(u32, u64), BTreeSet<u32>> = BTreeMap::new();
    for place in cells.places() {
        let overrides = cells.overrides_of(&place);
        if overrides != 0 {
            let which = (place.hyperparameters, overrides);
            alike.entry(which).or_default().insert(place.schedule);
        }
    }
    let mut told = HashSet::new();
    for ((hyperparameters, overrides), schedules) in alike {
        if violations.is_full() {
            return;
        }
        let last = overrides.ilog2();
        let settings = cells.settings(hyperparameters, overrides);
        let schedules = schedules.iter().map(|&i| i as usize);
        let schedules = schedules.map(|i| (i, &spec.schedules[i]));
        let mut found = Violations::default();
        let field = format!("spec.hyperparameters[{hyperparameters}]");
        check_hyperparameters(&mut found, &field, &settings.hyperparameters);
        check_training(&mut found, &settings.training, &[settings.hyperparameters]);
        check_data(&mut found, &settings.data);
        check_schedules(&mut found, schedules, (&settings.training, &settings.data));
        for violation in found.as_slice() {
            let what = violation.field.trim_start_matches("spec.");
            let description = format!("{what}: {}", violation.description);
            let field = format!("spec.overrides[{last}]");
            let known = violations.as_slice().contains(violation);
            if !known && told.insert((field.clone(), description.clone())) {
                violations.add(field, description);
            }
        }
    }
}
