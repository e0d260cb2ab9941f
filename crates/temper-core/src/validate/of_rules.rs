//! What the rules of a sweep must be.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::Hash;

use super::{check_data, check_hyperparameters, check_schedules, check_training};
use crate::{
    Violations,
    rules::{self, CellMatch, Cells, MAX_RULES},
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
    for (i, cells) in spec.exclude.iter().enumerate() {
        let field = format!("spec.exclude[{i}]");
        violations.require(*cells != CellMatch::default(), &field, || {
            "names nothing, and would exclude every cell".to_owned()
        });
        check_match(violations, &field, cells, spec);
    }
    for (i, rule) in spec.overrides.iter().enumerate() {
        let field = format!("spec.overrides[{i}]");
        violations.require(!rule.settings.is_empty(), &field, || {
            "gives no setting".to_owned()
        });
        check_match(violations, &format!("{field}.cells"), &rule.cells, spec);
    }
    if !spec.exclude.is_empty() && rules::points(spec) > 0 {
        let is_left = Cells::of(spec).places().next().is_some();
        violations.require(
            is_left || violations.touch("spec.exclude"),
            "spec.exclude",
            || "leaves no cell".to_owned(),
        );
    }
    if lists.iter().all(|(_, length)| *length <= MAX_RULES) {
        check_overridden(spec, violations);
    }
}

/// A value that is on no axis is a slip of the pen: the rule would do nothing, in silence.
fn check_match(violations: &mut Violations, field: &str, cells: &CellMatch, spec: &SweepSpec) {
    let indices: Vec<u32> = (0_u32..).take(spec.hyperparameters.len()).collect();
    on_axis(violations, field, ("models", &cells.models), &spec.models);
    on_axis(
        violations,
        field,
        ("datasets", &cells.datasets),
        &spec.datasets,
    );
    on_axis(
        violations,
        field,
        ("schedules", &cells.schedules),
        &spec.schedules,
    );
    on_axis(
        violations,
        field,
        ("target_epsilons", &cells.target_epsilons),
        &spec.target_epsilons,
    );
    on_axis(violations, field, ("seeds", &cells.seeds), &spec.seeds);
    on_axis(
        violations,
        field,
        ("hyperparameters", &cells.hyperparameters),
        &indices,
    );
}

fn on_axis<T: Eq + Hash + ToString>(
    violations: &mut Violations,
    field: &str,
    (name, values): (&str, &[T]),
    axis: &[T],
) {
    let axis: HashSet<&T> = axis.iter().collect();
    for (i, value) in values.iter().enumerate() {
        violations.require(
            axis.contains(value),
            &format!("{field}.{name}[{i}]"),
            || format!("`{}` is not among the sweep's {name}", value.to_string()),
        );
    }
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
        let last = overrides.ilog2();
        for violation in of_settings(spec, (hyperparameters, overrides), &schedules).as_slice() {
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

/// What is wrong with cells that train with these hyper-parameters and overrides.
fn of_settings(
    spec: &SweepSpec,
    (hyperparameters, overrides): (u32, u64),
    schedules: &BTreeSet<u32>,
) -> Violations {
    let settings = Cells::of(spec).settings(hyperparameters, overrides);
    let mut violations = Violations::default();
    let field = format!("spec.hyperparameters[{hyperparameters}]");
    check_hyperparameters(&mut violations, &field, &settings.hyperparameters);
    check_training(
        &mut violations,
        &settings.training,
        &[settings.hyperparameters],
    );
    let variant = SweepSpec {
        training: settings.training,
        data: settings.data,
        seeds: Vec::new(),
        exclude: Vec::new(),
        overrides: Vec::new(),
        ..spec.clone()
    };
    check_data(&mut violations, &variant);
    let schedules = schedules.iter().map(|&i| i as usize);
    let schedules = schedules.map(|i| (i, &spec.schedules[i]));
    check_schedules(&mut violations, schedules, &variant);
    violations
}
