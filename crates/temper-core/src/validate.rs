//! What a sweep must be before it becomes jobs; every mistake is named in one pass.

mod of_rules;

use std::{collections::HashSet, fmt::Display, hash::Hash, ops::RangeInclusive};

use crate::{
    Fraction, Violations,
    attack::{Apgd, ApgdLoss, Attack, Norm, Pgd, StepSize},
    rules,
    schedule::Schedule,
    spec::{DataRequest, Hyperparameters, Objective, SweepSpec, TrainingSettings},
};

/// Most points of a sweep's axes, excluded ones too.
pub const MAX_CELLS: usize = 1_000_000;

/// Most evaluations of a sweep.
pub const MAX_EVALUATIONS: usize = 64;

/// Most attacks of an evaluation.
pub const MAX_ATTACKS: usize = 16;

/// Most evaluations of all cells together.
pub const MAX_MEASUREMENTS: usize = 4 * MAX_CELLS;

/// Most points of an evaluation's grid: all strengths that 8-bit pixels can tell apart.
const MAX_GRID: f64 = 256.0;

/// Adds what is wrong with `spec`. Axes that already have a violation (because one of their values
/// could not be read) are not blamed for being empty as well.
pub fn sweep(spec: &SweepSpec, violations: &mut Violations) {
    axis(violations, "spec.models", &spec.models, ToString::to_string);
    axis(
        violations,
        "spec.datasets",
        &spec.datasets,
        ToString::to_string,
    );
    axis(
        violations,
        "spec.schedules",
        &spec.schedules,
        ToString::to_string,
    );
    axis(
        violations,
        "spec.target_epsilons",
        &spec.target_epsilons,
        ToString::to_string,
    );
    axis(violations, "spec.seeds", &spec.seeds, ToString::to_string);
    let schedules = spec.schedules.iter().enumerate();
    check_schedules(violations, schedules, (&spec.training, &spec.data));
    for (i, target) in spec.target_epsilons.iter().enumerate() {
        violations.require(
            !target.is_zero(),
            &format!("spec.target_epsilons[{i}]"),
            || "must be above 0: ordinary fine-tuning is the schedule `standard`".to_owned(),
        );
    }
    for (i, seed) in spec.seeds.iter().enumerate() {
        check_seed(violations, &format!("spec.seeds[{i}]"), *seed);
    }
    let mut seen = HashSet::new();
    for (i, hyperparameters) in spec.hyperparameters.iter().enumerate() {
        let field = format!("spec.hyperparameters[{i}]");
        violations.require(seen.insert(bits(hyperparameters)), &field, || {
            "is named twice".to_owned()
        });
        check_hyperparameters(violations, &field, hyperparameters);
    }
    check_training(violations, &spec.training, &spec.hyperparameters);
    check_data(violations, &spec.data);
    check_attack(violations, "spec.validation", &spec.validation.attack);
    check_evaluations(violations, spec);
    check_size(violations, spec);
}

/// What there is too much of is refused before any work that grows with it.
fn check_size(violations: &mut Violations, spec: &SweepSpec) {
    let span = rules::span(spec);
    violations.require(span <= MAX_CELLS, "spec", || {
        format!("its axes span {span} cells; at most {MAX_CELLS} are allowed in one sweep")
    });
    if span > MAX_CELLS {
        return;
    }
    let evaluations = spec.evaluations.len();
    let measurements = span.saturating_mul(evaluations);
    let fits = measurements <= MAX_MEASUREMENTS || evaluations > MAX_EVALUATIONS;
    violations.require(fits, "spec.evaluations", || {
        format!(
            "{span} cells by {evaluations} are {measurements} evaluations; at most {MAX_MEASUREMENTS} \
             are allowed in one sweep"
        )
    });
    of_rules::check(spec, violations);
}

fn axis<T: Eq + Hash>(
    violations: &mut Violations,
    field: &str,
    values: &[T],
    show: impl Fn(&T) -> String,
) {
    if values.is_empty() && !violations.touch(field) {
        violations.add(field, "must name at least one");
    }
    let mut seen = HashSet::new();
    for (i, value) in values.iter().enumerate() {
        violations.require(seen.insert(value), &format!("{field}[{i}]"), || {
            format!("`{}` is named twice", show(value))
        });
    }
}

fn check_data(violations: &mut Violations, data: &DataRequest) {
    let size = data.image_size;
    let field = "spec.data.image_size";
    violations.require((16..=1024).contains(&size), field, || {
        format!("{size} is outside 16 to 1024 pixels")
    });
    check_seed(violations, "spec.data.split_seed", data.split_seed);
}

/// What tells hyperparameters apart: floats do not hash.
fn bits(value: &Hyperparameters) -> ([u64; 3], u32, Fraction) {
    let Hyperparameters {
        learning_rate,
        head_learning_rate,
        weight_decay,
        batch_size,
        warmup,
    } = *value;
    let numbers = [learning_rate, head_learning_rate, weight_decay];
    (numbers.map(f64::to_bits), batch_size, warmup)
}

fn check_hyperparameters(violations: &mut Violations, field: &str, value: &Hyperparameters) {
    let positive = |number: f64| number.is_finite() && number > 0.0;
    let mut check = |name: &str, holds: bool, found: &dyn Display, wanted: &str| {
        violations.require(holds, &format!("{field}.{name}"), || {
            format!("{found} is not {wanted}")
        });
    };
    let rate = "a finite number above 0";
    check(
        "learning_rate",
        positive(value.learning_rate),
        &value.learning_rate,
        rate,
    );
    check(
        "head_learning_rate",
        positive(value.head_learning_rate),
        &value.head_learning_rate,
        rate,
    );
    let decay = value.weight_decay;
    check(
        "weight_decay",
        decay.is_finite() && decay >= 0.0,
        &decay,
        "a finite number from 0",
    );
    let batch = value.batch_size;
    check(
        "batch_size",
        (1..=65_536).contains(&batch),
        &batch,
        "from 1 to 65536",
    );
}

fn check_training(
    violations: &mut Violations,
    training: &TrainingSettings,
    hyperparameters: &[Hyperparameters],
) {
    violations.require(
        (1..=10_000).contains(&training.epochs),
        "spec.training.epochs",
        || format!("{} is outside 1 to 10000", training.epochs),
    );
    check_attack(violations, "spec.training", &training.attack);
    check_objective(violations, training);
    check_regularisation(violations, training);
    for batch in hyperparameters.iter().map(|value| value.batch_size) {
        let micro = training.micro_batch_size;
        let divides = micro == 0 || batch.is_multiple_of(micro);
        violations.require(divides, "spec.training.micro_batch_size", || {
            format!("{micro} does not divide the batch size {batch}")
        });
    }
}

fn check_regularisation(violations: &mut Violations, training: &TrainingSettings) {
    let mut check = |name: &str, value: f64, allowed: RangeInclusive<f64>| {
        violations.require(
            allowed.contains(&value),
            &format!("spec.training.{name}"),
            || {
                format!(
                    "{value} is outside {} to {}",
                    allowed.start(),
                    allowed.end()
                )
            },
        );
    };
    let jitter = training.augmentation.color_jitter;
    check("color_jitter.brightness", jitter.brightness, 0.0..=1.0);
    check("color_jitter.contrast", jitter.contrast, 0.0..=1.0);
    check("color_jitter.saturation", jitter.saturation, 0.0..=1.0);
    let degrees = training.augmentation.rotation_degrees;
    check("rotation_degrees", degrees, 0.0..=180.0);
    check("drop_path", training.drop_path, 0.0..=0.9);
    check("dropout", training.dropout, 0.0..=0.9);
    check("label_smoothing", training.label_smoothing, 0.0..=0.9);
}

/// Hinges within the run and in order; a plateau to wait for.
fn check_schedules<'a>(
    violations: &mut Violations,
    schedules: impl Iterator<Item = (usize, &'a Schedule)>,
    (training, data): (&TrainingSettings, &DataRequest),
) {
    let epochs = training.epochs;
    for (i, schedule) in schedules {
        let field = format!("spec.schedules[{i}]");
        let mut before = None;
        for (name, hinge) in schedule.hinges() {
            let field = format!("{field}.{name}");
            let Some(share) = hinge.share(epochs) else {
                violations.add(field, format!("{hinge} is after the run's {epochs} epochs"));
                continue;
            };
            violations.require(before.is_none_or(|(_, at)| at <= share), &field, || {
                format!(
                    "{hinge} is before the start, {}",
                    before.map_or(hinge, |(hinge, _)| hinge)
                )
            });
            before = Some((hinge, share));
        }
        if let Schedule::Auto { patience, .. } = schedule {
            violations.require(*patience > 0, &format!("{field}.auto.patience"), || {
                "must be at least 1".to_owned()
            });
            let watched = data.validation_samples != Some(0);
            violations.require(watched, &field, || {
                "`auto` watches the validation accuracy: validation_samples must be above 0"
                    .to_owned()
            });
        }
    }
}

fn check_objective(violations: &mut Violations, training: &TrainingSettings) {
    if let Some(length) = training.gradient_clipping {
        let field = "spec.training.gradient_clipping";
        violations.require(length.is_finite() && length > 0.0, field, || {
            format!("{length} is not a finite number above 0")
        });
    }
    let Objective::Trades { beta } = training.objective else {
        return;
    };
    let field = "spec.training.objective";
    violations.require(
        beta.is_finite() && beta > 0.0,
        &format!("{field}.beta"),
        || format!("{beta} is not a finite number above 0"),
    );
    let plain = match training.attack {
        Attack::Pgd(pgd) => {
            Pgd {
                step_size: pgd.step_size,
                norm: pgd.norm,
                ..Pgd::with_steps(pgd.steps)
            } == pgd
        }
        Attack::Apgd(_) => false,
    };
    violations.require(plain, field, || {
        "TRADES crafts by plain PGD on the divergence: only norm, steps and step size of the attack \
         can be chosen"
            .to_owned()
    });
}

fn check_attack(violations: &mut Violations, field: &str, attack: &Attack) {
    match attack {
        Attack::Pgd(pgd) => check_pgd(violations, &format!("{field}.attack"), pgd),
        Attack::Apgd(apgd) => check_apgd(violations, &format!("{field}.apgd"), apgd),
    }
}

fn check_pgd(violations: &mut Violations, field: &str, attack: &Pgd) {
    check_runs(violations, field, attack.steps, attack.restarts);
    let (name, size, most) = match attack.step_size {
        StepSize::Relative(size) => ("relative_step_size", size, 10.0),
        StepSize::Absolute(size) if attack.norm == Norm::Linf => ("step_size", size, 1.0),
        StepSize::Absolute(size) => ("step_size", size, 100.0),
    };
    violations.require(
        size.is_finite() && size > 0.0 && size <= most,
        &format!("{field}.{name}"),
        || format!("{size} is outside (0, {most}]"),
    );
    violations.require(
        attack.restarts == 1 || attack.random_start,
        &format!("{field}.restarts"),
        || "restarts without a random start all run alike".to_owned(),
    );
}

fn check_apgd(violations: &mut Violations, field: &str, attack: &Apgd) {
    check_runs(violations, field, attack.steps, attack.restarts);
    if let ApgdLoss::TargetedDlr { targets } = attack.loss {
        violations.require(
            (1..=1000).contains(&targets),
            &format!("{field}.targets"),
            || format!("{targets} is outside 1 to 1000"),
        );
    }
}

fn check_runs(violations: &mut Violations, field: &str, steps: u32, restarts: u32) {
    violations.require(
        (1..=10_000).contains(&steps),
        &format!("{field}.steps"),
        || format!("{steps} is outside 1 to 10000"),
    );
    violations.require(
        (1..=100).contains(&restarts),
        &format!("{field}.restarts"),
        || format!("{restarts} is outside 1 to 100"),
    );
}

fn check_evaluations(violations: &mut Violations, spec: &SweepSpec) {
    if spec.evaluations.is_empty() && !violations.touch("spec.evaluations") {
        violations.add("spec.evaluations", "must name at least one");
    }
    let count = spec.evaluations.len();
    violations.require(count <= MAX_EVALUATIONS, "spec.evaluations", || {
        format!("has {count} entries; at most {MAX_EVALUATIONS} are allowed")
    });
    let farthest = spec.target_epsilons.iter().max();
    let evaluations = spec.evaluations.iter().take(MAX_EVALUATIONS);
    for (i, evaluation) in evaluations.enumerate() {
        let field = format!("spec.evaluations[{i}]");
        let attacks = evaluation.attacks.len();
        violations.require(attacks <= MAX_ATTACKS, &format!("{field}.attacks"), || {
            format!("has {attacks} entries; at most {MAX_ATTACKS} are allowed")
        });
        for attack in evaluation.attacks.iter().take(MAX_ATTACKS) {
            check_attack(violations, &field, attack);
        }
        check_seed(violations, &format!("{field}.seed"), evaluation.seed);
        let step = evaluation.grid_step.value();
        let mut ends = evaluation.grid_end.iter().chain(farthest);
        let fits = step > 0.0 && ends.all(|end| end.value() / step <= MAX_GRID);
        violations.require(fits, &format!("{field}.grid_step"), || {
            format!("must be above 0 and give at most {MAX_GRID} points up to the grid's end")
        });
        let positive = evaluation.grid_end.is_none_or(|end| !end.is_zero());
        violations.require(positive, &format!("{field}.grid_end"), || {
            "must be above 0".to_owned()
        });
    }
}

/// Keys are canonical JSON, whose numbers are doubles (RFC 8785, section 3.2.2.3).
fn check_seed(violations: &mut Violations, field: &str, seed: u64) {
    violations.require(seed < 1 << 53, field, || {
        format!("{seed} is not below 2^53")
    });
}
