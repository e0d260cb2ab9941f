//! Rules of sweeps: what is left out, and what takes other settings.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;
use temper_core::{
    Violations,
    catalog::Catalog,
    expand::{Expansion, Layout, expand},
    rules::{CellMatch, Override, Patch},
    schedule::Schedule,
    spec::{
        DataRequest, EvaluationSettings, Hyperparameters, JobSpec, SweepSpec, TrainingSettings,
        ValidationSettings,
    },
    validate,
};

/// 2 models, 2 datasets, 2 schedules, 2 targets, 3 seeds: 48 cells.
fn sweep() -> SweepSpec {
    SweepSpec {
        models: vec!["mobilenetv2".into(), "efficientnet-lite0".into()],
        datasets: vec!["fashion-mnist".into(), "photos".into()],
        schedules: vec![Schedule::Fixed, Schedule::Linear],
        target_epsilons: ["4/255", "8/255"]
            .map(|text| text.parse().unwrap())
            .to_vec(),
        seeds: vec![0, 1, 2],
        hyperparameters: vec![Hyperparameters::default()],
        training: TrainingSettings::default(),
        data: DataRequest {
            image_size: 64,
            train_samples: 400,
            validation_samples: Some(100),
            split_seed: 0,
        },
        validation: ValidationSettings::default(),
        evaluations: vec![EvaluationSettings::default()],
        exclude: Vec::new(),
        overrides: Vec::new(),
    }
}

fn expansion(spec: &SweepSpec) -> Expansion {
    let catalog = Catalog::built_in().unwrap();
    let model = |name: &String| {
        let mut model = catalog.model("mobilenetv2").unwrap();
        model.name.clone_from(name);
        model.architecture.clone_from(name);
        model
    };
    let dataset = |name: &String| {
        let mut dataset = catalog.dataset("fashion-mnist").unwrap();
        dataset.name.clone_from(name);
        dataset.classes += u32::from(name == "photos");
        dataset
    };
    let models: Vec<_> = spec.models.iter().map(model).collect();
    let datasets: Vec<_> = spec.datasets.iter().map(dataset).collect();
    expand(spec, &models, &datasets)
}

fn of_model(name: &str) -> CellMatch {
    CellMatch {
        models: vec![name.into()],
        ..CellMatch::default()
    }
}

fn violations(spec: &SweepSpec) -> Vec<(String, String)> {
    let mut violations = Violations::default();
    validate::sweep(spec, &mut violations);
    let all = violations.as_slice().iter();
    all.map(|v| (v.field.clone(), v.description.clone()))
        .collect()
}

#[test]
fn excluded_cells_are_those_that_match_on_every_axis_that_is_named() {
    let mut spec = sweep();
    spec.exclude = vec![CellMatch {
        schedules: vec![Schedule::Linear],
        seeds: vec![1, 2],
        ..of_model("mobilenetv2")
    }];
    assert_eq!(violations(&spec), []);
    let laid_out = expansion(&spec);
    let layout = laid_out.layout();
    // Of 24 cells of the model half are linear, and two thirds of these are of the seeds.
    assert_eq!(layout.cells().len(), 48 - 8);
    let gone = layout.cells().iter().filter(|cell| {
        layout.model(cell) == "mobilenetv2"
            && layout.schedule(cell) == Schedule::Linear
            && layout.seed(cell) != 0
    });
    assert_eq!(gone.count(), 0);
    let whole = expansion(&sweep());
    let keys: HashSet<_> = whole.jobs().map(|(key, _)| key).collect();
    assert!(laid_out.jobs().all(|(key, _)| keys.contains(&key)));
}

#[test]
fn overrides_change_the_cells_that_they_name_and_the_last_one_wins() {
    let mut spec = sweep();
    let patch = |epochs, batch_size| Patch {
        epochs,
        batch_size,
        ..Patch::default()
    };
    let photos = CellMatch {
        datasets: vec!["photos".into()],
        ..CellMatch::default()
    };
    spec.overrides = vec![
        Override {
            cells: of_model("efficientnet-lite0"),
            settings: patch(Some(20), Some(16)),
        },
        Override {
            cells: photos,
            settings: patch(Some(10), None),
        },
    ];
    assert_eq!(violations(&spec), []);
    let mut seen = HashMap::new();
    for (_, job) in expansion(&spec).specs() {
        if let JobSpec::Train(train) = job {
            let which = (train.model.name, train.dataset.name);
            let settings = (train.training.epochs, train.hyperparameters.batch_size);
            assert_eq!(*seen.entry(which).or_insert(settings), settings);
        }
    }
    let expected = [
        (("mobilenetv2", "fashion-mnist"), (50, 64)),
        (("mobilenetv2", "photos"), (10, 64)),
        (("efficientnet-lite0", "fashion-mnist"), (20, 16)),
        (("efficientnet-lite0", "photos"), (10, 16)),
    ];
    for ((model, dataset), settings) in expected {
        assert_eq!(seen[&(model.to_owned(), dataset.to_owned())], settings);
    }
}

#[test]
fn overridden_cells_share_no_job_with_what_they_were_and_the_others_keep_theirs() {
    let before = expansion(&sweep());
    let before: HashSet<_> = before.jobs().map(|(key, _)| key).collect();
    let mut spec = sweep();
    spec.overrides = vec![Override {
        cells: of_model("mobilenetv2"),
        settings: Patch {
            learning_rate: Some(3e-4),
            ..Patch::default()
        },
    }];
    for (key, job) in expansion(&spec).specs() {
        let (JobSpec::Train(train)
        | JobSpec::Evaluate(temper_core::spec::EvaluateSpec { train, .. })) = &job;
        assert_eq!(before.contains(&key), train.model.name != "mobilenetv2");
    }
}

#[test]
fn rules_that_do_nothing_or_name_what_is_not_there_are_refused() {
    let mut spec = sweep();
    spec.exclude = vec![CellMatch::default(), of_model("resnet50")];
    spec.overrides = vec![
        Override::default(),
        Override {
            cells: CellMatch {
                seeds: vec![7],
                hyperparameters: vec![1],
                ..CellMatch::default()
            },
            settings: Patch {
                epochs: Some(3),
                ..Patch::default()
            },
        },
    ];
    let fields: Vec<String> = violations(&spec)
        .into_iter()
        .map(|(field, _)| field)
        .collect();
    assert_eq!(
        fields,
        [
            "spec.exclude[0]",
            "spec.exclude[1].models[0]",
            "spec.overrides[0]",
            "spec.overrides[1].cells.seeds[0]",
            "spec.overrides[1].cells.hyperparameters[0]",
        ]
    );
    let mut spec = sweep();
    spec.exclude = ["mobilenetv2", "efficientnet-lite0"].map(of_model).to_vec();
    assert_eq!(
        violations(&spec),
        [("spec.exclude".to_owned(), "leaves no cell".to_owned())]
    );
}

#[test]
fn what_overridden_cells_train_with_is_checked_and_its_last_rule_blamed() {
    let mut spec = sweep();
    spec.schedules = vec![Schedule::Fixed, "warm-up(12ep)".parse().unwrap()];
    spec.training.micro_batch_size = 32;
    let settings = Patch {
        epochs: Some(10),
        batch_size: Some(48),
        ..Patch::default()
    };
    spec.overrides = vec![
        Override {
            cells: of_model("mobilenetv2"),
            settings: Patch {
                learning_rate: Some(-1.0),
                ..Patch::default()
            },
        },
        Override {
            cells: CellMatch {
                datasets: vec!["photos".into()],
                ..CellMatch::default()
            },
            settings,
        },
    ];
    let found = violations(&spec);
    let about = |rule: &str, what: &str| {
        let field = format!("spec.overrides[{rule}]");
        assert!(
            found
                .iter()
                .any(|(f, text)| *f == field && text.contains(what)),
            "{rule} {what}: {found:?}"
        );
    };
    about("0", "learning_rate: -1 is not a finite number above 0");
    about("1", "32 does not divide the batch size 48");
    about("1", "12ep is after the run's 10 epochs");
    // Where the long schedule is left out of the short runs, nothing is wrong with it.
    spec.overrides[1].cells.schedules = vec![Schedule::Fixed];
    assert!(
        !violations(&spec)
            .iter()
            .any(|(_, text)| text.contains("12ep"))
    );
}

#[test]
fn numbers_of_a_rule_must_be_finite_though_no_cell_takes_them() {
    let rule = |rate| Override {
        cells: of_model("mobilenetv2"),
        settings: Patch {
            learning_rate: Some(rate),
            ..Patch::default()
        },
    };
    let expected = [(
        "spec.overrides[0].learning_rate".to_owned(),
        "NaN is not a finite number".to_owned(),
    )];
    let mut spec = sweep();
    spec.overrides = vec![rule(f64::NAN)];
    assert_eq!(violations(&spec), expected);
    // A later rule has its way.
    spec.overrides.push(rule(0.1));
    assert_eq!(violations(&spec), expected);
    spec.overrides.pop();
    spec.exclude = vec![of_model("mobilenetv2")];
    assert_eq!(violations(&spec), expected);
}

#[test]
fn a_million_rules_are_refused_before_any_work() {
    let mut spec = sweep();
    spec.seeds = (0..60_000).collect();
    let cells = CellMatch {
        seeds: vec![1, 99_999],
        ..of_model("resnet50")
    };
    spec.exclude = vec![cells; 1_000_000];
    let found = violations(&spec);
    let expected = "has 1000000 rules; at most 64 are allowed";
    assert_eq!(found, [("spec.exclude".to_owned(), expected.to_owned())]);
}

#[test]
fn axes_beyond_a_million_points_are_refused_before_any_work() {
    let mut spec = sweep();
    spec.seeds = (0..62_501).collect();
    let started = violations(&spec);
    assert!(started[0].1.contains("span 1000016 cells"), "{started:?}");
    spec.seeds.pop();
    assert_eq!(violations(&spec), []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn excluding_is_filtering_and_every_job_has_its_own_key(
        seeds in prop::collection::vec(0_u64..3, 0..3),
        linear in any::<bool>(),
        epochs in prop::option::of(1_u32..60),
    ) {
        let mut spec = sweep();
        let schedules = if linear { vec![Schedule::Linear] } else { Vec::new() };
        let rule = CellMatch { seeds, schedules, ..of_model("mobilenetv2") };
        spec.exclude = vec![rule.clone()];
        if let Some(epochs) = epochs {
            let settings = Patch { epochs: Some(epochs), ..Patch::default() };
            let cells = CellMatch { seeds: vec![1], ..CellMatch::default() };
            spec.overrides = vec![Override { cells, settings }];
        }
        let laid_out = expansion(&spec);
        let layout: &Layout = laid_out.layout();
        let named = |cell: &temper_core::expand::Cell, layout: &Layout| {
            layout.model(cell) == "mobilenetv2"
                && (rule.seeds.is_empty() || rule.seeds.contains(&layout.seed(cell)))
                && (rule.schedules.is_empty() || rule.schedules.contains(&layout.schedule(cell)))
        };
        prop_assert!(!layout.cells().iter().any(|cell| named(cell, layout)));
        let mut whole = spec.clone();
        whole.exclude.clear();
        let whole = expansion(&whole);
        let left = whole.layout().cells().iter().filter(|cell| !named(cell, whole.layout()));
        prop_assert_eq!(left.count(), layout.cells().len());
        let keys: HashSet<_> = laid_out.jobs().map(|(key, _)| key).collect();
        prop_assert_eq!(keys.len(), laid_out.jobs().len());
    }

    #[test]
    fn order_of_every_axis_changes_no_job_and_none_is_there_twice(
        shuffled in Just(wide()).prop_flat_map(shuffled),
    ) {
        let keys = |spec: &SweepSpec| -> Vec<String> {
            let laid_out = expansion(spec);
            let mut keys: Vec<_> = laid_out.jobs().map(|(key, _)| key.to_string()).collect();
            keys.sort();
            keys
        };
        let (keys, expected) = (keys(&shuffled), keys(&wide()));
        let once: HashSet<&String> = keys.iter().collect();
        prop_assert_eq!(once.len(), keys.len());
        prop_assert_eq!(keys, expected);
    }
}

/// Every axis with several values, some cells excluded and some overridden.
fn wide() -> SweepSpec {
    let mut spec = sweep();
    spec.schedules.push(Schedule::Standard);
    spec.schedules.push(Schedule::two_hinge_default());
    let faster = Hyperparameters {
        learning_rate: 1e-3,
        ..Hyperparameters::default()
    };
    spec.hyperparameters.push(faster);
    spec.evaluations.push(EvaluationSettings {
        seed: 1,
        ..EvaluationSettings::default()
    });
    let cells = |hyperparameters: u32, seed| CellMatch {
        hyperparameters: vec![hyperparameters],
        seeds: vec![seed],
        ..of_model("mobilenetv2")
    };
    let rule = |cells, epochs| Override {
        cells,
        settings: Patch {
            epochs: Some(epochs),
            ..Patch::default()
        },
    };
    spec.exclude = vec![cells(1, 2)];
    spec.overrides = vec![
        rule(cells(1, 0), 7),
        rule(of_model("efficientnet-lite0"), 9),
    ];
    spec
}

/// The same sweep with its axes in any order. Rules name hyper-parameters by their places.
fn shuffled(spec: SweepSpec) -> impl Strategy<Value = SweepSpec> {
    let places: Vec<u32> = (0..).take(spec.hyperparameters.len()).collect();
    let axes = (
        Just(spec.models.clone()).prop_shuffle(),
        Just(spec.datasets.clone()).prop_shuffle(),
        Just(spec.schedules.clone()).prop_shuffle(),
        Just(spec.target_epsilons.clone()).prop_shuffle(),
        Just(spec.seeds.clone()).prop_shuffle(),
        Just(places).prop_shuffle(),
        Just(spec.evaluations.clone()).prop_shuffle(),
    );
    axes.prop_map(move |axes| {
        let mut spec = spec.clone();
        let before = spec.hyperparameters.clone();
        let places: Vec<u32>;
        (
            spec.models,
            spec.datasets,
            spec.schedules,
            spec.target_epsilons,
            spec.seeds,
            places,
            spec.evaluations,
        ) = axes;
        spec.hyperparameters = places.iter().map(|&place| before[place as usize]).collect();
        let overridden = spec.overrides.iter_mut().map(|rule| &mut rule.cells);
        for rule in spec.exclude.iter_mut().chain(overridden) {
            for named in &mut rule.hyperparameters {
                let place = (0..).zip(&places).find(|(_, before)| *before == named);
                *named = place.unwrap().0;
            }
        }
        spec
    })
}
