//! Every field of a job's spec is in its key, or is listed here with the reason why not.
//!
//! Fields are found in the JSON form, so that a new one is met without anybody thinking of it.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::{Value, json};
use temper_core::{
    catalog::{Catalog, Commit, Scripted},
    expand::expand,
    key,
    rules::{CellMatch, Override, Patch},
    schedule::Schedule,
    spec::{
        CurveMode, DataRequest, EvaluationSettings, Hyperparameters, JobSpec, Objective, SweepSpec,
        TrainingSettings, ValidationSettings,
    },
};

/// Fields that determine no result, by their path in a job's spec, a training's within `train`.
const IRRELEVANT: [(&str, &str); 14] = [
    (
        "train.model.name",
        "what the catalog calls it: the weights' digest says what it is",
    ),
    ("train.model.repository", "where the weights lie"),
    (
        "train.model.file",
        "where the weights lie, as their digest is known",
    ),
    (
        "train.model.commit",
        "where the weights lie, as their digest is known",
    ),
    (
        "train.dataset.name",
        "what the catalog calls it: the files' digests say what it is",
    ),
    ("train.dataset.source.repository", "where the files lie"),
    (
        "train.dataset.source.revision",
        "where the files lie, as their digests are known",
    ),
    (
        "train.dataset.source.train_images.path",
        "where a file lies",
    ),
    (
        "train.dataset.source.train_labels.path",
        "where a file lies",
    ),
    ("train.dataset.source.test_images.path", "where a file lies"),
    ("train.dataset.source.test_labels.path", "where a file lies"),
    (
        "train.dataset.counts",
        "a check of what the files must hold, of official splits",
    ),
    (
        "train.dataset.draw",
        "resolved into data and samples when the sweep was created",
    ),
    (
        "kind",
        "tells the two kinds of jobs apart, as the key does by a field of its own",
    ),
];

/// What tells the kinds of an enum apart cannot change alone: other values of the whole.
fn other_kinds() -> [(&'static str, Value); 5] {
    let apgd = json!({"kind": "apgd", "loss": "ce", "steps": 10, "restarts": 1});
    let folder = json!({"format": "folder", "path": "pets", "layout": "class-folders", "list": null,
        "manifest": "00".repeat(32)});
    [
        ("attacks.0", apgd.clone()),
        ("train.training.attack", apgd.clone()),
        ("train.validation.attack", apgd),
        ("train.ramp", json!({"kind": "standard"})),
        ("train.dataset.source", folder),
    ]
}

fn sweep() -> SweepSpec {
    SweepSpec {
        models: vec!["mobilenetv2".into()],
        datasets: vec!["fashion-mnist".into()],
        schedules: vec![Schedule::two_hinge_default()],
        target_epsilons: vec!["4/255".parse().unwrap()],
        seeds: vec![3],
        hyperparameters: vec![Hyperparameters::default()],
        training: TrainingSettings {
            objective: Objective::Trades { beta: 6.0 },
            gradient_clipping: Some(1.0),
            ..TrainingSettings::default()
        },
        data: DataRequest {
            image_size: 64,
            train_samples: 400,
            validation_samples: Some(100),
            split_seed: 0,
        },
        validation: ValidationSettings::default(),
        evaluations: vec![EvaluationSettings {
            mode: CurveMode::bisect_default(),
            ..EvaluationSettings::default()
        }],
        exclude: Vec::new(),
        overrides: vec![Override {
            cells: CellMatch::default(),
            settings: Patch::default(),
        }],
    }
}

/// The evaluation of the sweep, which holds its training, with every field that may be absent.
fn evaluation() -> Value {
    let spec = sweep();
    let catalog = Catalog::built_in().unwrap();
    let mut model = catalog.model("mobilenetv2").unwrap();
    let commit: Commit = "0123456789abcdef0123456789abcdef01234567".parse().unwrap();
    model.commit = Some(commit);
    model.scripted = Some(Scripted {
        image_size: 64,
        features: 10,
    });
    let dataset = catalog.dataset("fashion-mnist").unwrap();
    let expansion = expand(&spec, &[model], &[dataset]);
    let (_, job) = expansion.specs().last().unwrap();
    serde_json::to_value(job).unwrap()
}

/// Paths of all values that hold no others, with the places of lists left out.
fn leaves(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                leaves(value, &path, found);
            }
        }
        Value::Array(items) if !items.is_empty() => leaves(&items[0], &format!("{path}.0"), found),
        _ => found.push(path.to_owned()),
    }
}

/// Other values that may stand in a value's place.
fn others(value: &Value) -> Vec<Value> {
    match value {
        Value::Null => vec![json!(1), json!(true), json!("x")],
        Value::Bool(is) => vec![json!(!is)],
        Value::Number(number) => {
            let float = number.as_f64().unwrap();
            match number.as_u64() {
                Some(whole) => vec![json!(whole + 1)],
                None => vec![json!(float / 2.0), json!(float + 1.0)],
            }
        }
        Value::String(text) => other_texts(text),
        Value::Array(_) | Value::Object(_) => Vec::new(),
    }
}

/// A digest or commit with another digit, an enum's other names, a rational; or any other text.
fn other_texts(text: &str) -> Vec<Value> {
    let digit = if text.starts_with('0') { "1" } else { "0" };
    let changed = format!("{digit}{}", text.get(1..).unwrap_or_default());
    let names = [
        "l2",
        "linf",
        "best",
        "last",
        "runner-up",
        "bf16",
        "scaled",
        "exact",
        "1/3",
        "2/255",
        "pgd",
        "ce",
        "dlr",
        "adversarial",
        "fixed",
    ];
    let names = names
        .iter()
        .filter(|name| **name != text)
        .map(|name| json!(name));
    std::iter::once(json!(changed))
        .chain(names)
        .chain([json!(format!("{text}x"))])
        .collect()
}

fn pointer(path: &str) -> String {
    format!("/{}", path.replace('.', "/"))
}

fn reason(path: &str) -> Option<&'static str> {
    let covers = |field: &str| path == field || path.starts_with(&format!("{field}."));
    let entry = IRRELEVANT.iter().find(|(field, _)| covers(field));
    entry.map(|(_, reason)| *reason)
}

fn is_kind(path: &str) -> bool {
    let whole = path.rsplit_once('.').map(|(whole, _)| whole);
    other_kinds().iter().any(|(other, _)| Some(*other) == whole)
}

#[test]
fn every_kind_of_a_part_has_its_own_key() {
    let spec = evaluation();
    let before = key::job_key(&serde_json::from_value(spec.clone()).unwrap());
    for (path, other) in other_kinds() {
        let mut spec = spec.clone();
        *spec.pointer_mut(&pointer(path)).unwrap() = other;
        let job: JobSpec = serde_json::from_value(spec).unwrap_or_else(|e| panic!("{path}: {e}"));
        assert_ne!(key::job_key(&job), before, "{path}");
    }
}

#[test]
fn every_field_is_in_the_key_or_listed_with_a_reason() {
    let spec = evaluation();
    let read: JobSpec = serde_json::from_value(spec.clone()).unwrap();
    let before = key::job_key(&read);
    let mut paths = Vec::new();
    leaves(&spec, "", &mut paths);
    assert!(paths.len() > 60, "{paths:?}");
    let mut wrong = Vec::new();
    for path in &paths {
        let old = spec.pointer(&pointer(path)).unwrap().clone();
        let changed = others(&old).into_iter().filter_map(|other| {
            let mut spec = spec.clone();
            *spec.pointer_mut(&pointer(path)).unwrap() = other;
            let job: JobSpec = serde_json::from_value(spec.clone()).ok()?;
            // What is read as the same is no change.
            (job != read).then(|| key::job_key(&job))
        });
        let keys: Vec<_> = changed.collect();
        match reason(path) {
            None if keys.is_empty() && is_kind(path) => {}
            None if keys.is_empty() => {
                wrong.push(format!("{path}: no other value of {old} can be read"));
            }
            None if keys.contains(&before) => wrong.push(format!("{path}: is not in the key")),
            Some(reason) if keys.iter().any(|key| *key != before) => {
                wrong.push(format!("{path}: is in the key, and listed as {reason}"));
            }
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
