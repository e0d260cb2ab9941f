//! Expansion, keys and validation of whole sweeps.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashSet;

use proptest::prelude::*;
use temper_core::{
    Digest, Epsilon, Violations,
    attack::{Apgd, ApgdLoss, Attack, Goal, Keep, Norm, Pgd, StepSize, Tier},
    catalog::{Catalog, PinnedDataset, PinnedModel},
    expand::{Expansion, expand},
    key, rules,
    schedule::Schedule,
    spec::{
        AttackSteps, CurveMode, DataRequest, EvaluationSettings, Hyperparameters, JobSpec,
        Objective, Precision, Selection, SweepSpec, TrainingSettings, ValidationSettings,
    },
    validate,
};

fn eps(text: &str) -> Epsilon {
    text.parse().unwrap()
}

fn sweep() -> SweepSpec {
    SweepSpec {
        models: vec!["mobilenetv2".into()],
        datasets: vec!["fashion-mnist".into()],
        schedules: vec![
            Schedule::Standard,
            Schedule::Fixed,
            Schedule::two_hinge_default(),
            Schedule::Linear,
        ],
        target_epsilons: vec![eps("4/255")],
        seeds: vec![0, 1],
        hyperparameters: vec![Hyperparameters::default()],
        training: TrainingSettings {
            epochs: 4,
            attack: Attack::Pgd(Pgd::with_steps(3)),
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
            samples: 200,
            ..EvaluationSettings::default()
        }],
        exclude: Vec::new(),
        overrides: Vec::new(),
    }
}

fn pinned(spec: &SweepSpec) -> (Vec<PinnedModel>, Vec<PinnedDataset>) {
    let catalog = Catalog::built_in().unwrap();
    let models = spec
        .models
        .iter()
        .map(|name| catalog.model(name).unwrap())
        .collect();
    let datasets = spec
        .datasets
        .iter()
        .map(|name| catalog.dataset(name).unwrap())
        .collect();
    (models, datasets)
}

fn expansion(spec: &SweepSpec) -> Expansion {
    let (models, datasets) = pinned(spec);
    expand(spec, &models, &datasets)
}

/// Keys of a cell's training and of its first evaluation.
fn cell_keys(expansion: &Expansion, cell: usize) -> (Digest, Digest) {
    let layout = expansion.layout();
    let train = layout.cells()[cell].train;
    (
        expansion.key(train),
        expansion.key(layout.evaluations(cell)[0]),
    )
}

fn keys(expansion: &Expansion) -> HashSet<String> {
    expansion.jobs().map(|(key, _)| key.to_string()).collect()
}

#[test]
fn every_cell_has_a_training_and_its_evaluations() {
    let laid_out = expansion(&sweep());
    let layout = laid_out.layout();
    assert_eq!((layout.cells().len(), layout.jobs().len()), (8, 16));
    let evaluation = layout.jobs()[layout.evaluations(3)[0] as usize];
    assert_eq!(evaluation.depends_on, Some(layout.cells()[3].train));
}

#[test]
fn standard_trains_once_for_all_targets() {
    let mut spec = sweep();
    spec.target_epsilons.push(eps("8/255"));
    let laid_out = expansion(&spec);
    let layout = laid_out.layout();
    assert_eq!(layout.cells().len(), 16);
    let trainings = |schedule: Schedule| {
        let cells = layout.cells().iter();
        let cells = cells.filter(|cell| layout.schedule(cell) == schedule);
        cells.map(|cell| cell.train).collect::<HashSet<_>>().len()
    };
    assert_eq!(trainings(Schedule::Standard), 2);
    assert_eq!(trainings(Schedule::Fixed), 4);
    // Their curves reach different ends, so the evaluations differ.
    assert_eq!(layout.jobs().len(), 14 + 16);
}

#[test]
fn a_wider_grid_adds_evaluations_and_no_training() {
    let before = keys(&expansion(&sweep()));
    let mut wider = sweep();
    wider.evaluations[0].grid_end = Some(eps("8/255"));
    let wider = expansion(&wider);
    let added = wider.specs();
    let added = added.filter(|(key, _)| !before.contains(&key.to_string()));
    let added: Vec<_> = added.collect();
    assert_eq!(added.len(), 8);
    assert!(
        added
            .iter()
            .all(|(_, spec)| matches!(spec, JobSpec::Evaluate(_)))
    );
}

#[test]
fn every_setting_that_matters_changes_the_training_key() {
    let base = keys(&expansion(&sweep()));
    let changes: [fn(&mut SweepSpec); 31] = [
        |spec| spec.seeds = vec![7, 8],
        |spec| spec.models = vec!["efficientnet-lite0".into()],
        |spec| spec.training.epochs = 5,
        |spec| pgd(spec).steps = 4,
        |spec| pgd(spec).step_size = StepSize::Relative(0.5),
        |spec| pgd(spec).step_size = StepSize::Absolute(0.5),
        |spec| pgd(spec).random_start = false,
        |spec| pgd(spec).norm = Norm::L2,
        |spec| pgd(spec).restarts = 2,
        |spec| pgd(spec).goal = Goal::RunnerUp,
        |spec| pgd(spec).keep = Keep::Best,
        |spec| spec.training.attack = Attack::Apgd(Apgd::new(ApgdLoss::Ce, 3)),
        |spec| spec.training.attack_steps = AttackSteps::Scaled,
        |spec| spec.training.objective = Objective::Trades { beta: 6.0 },
        |spec| spec.training.precision = Precision::Bf16,
        |spec| spec.training.gradient_clipping = Some(1.0),
        |spec| spec.training.label_smoothing = 0.1,
        |spec| spec.training.micro_batch_size = 16,
        |spec| spec.training.augmentation.horizontal_flip = false,
        |spec| spec.training.augmentation.color_jitter.brightness = 0.5,
        |spec| spec.training.augmentation.color_jitter.contrast = 0.5,
        |spec| spec.training.augmentation.color_jitter.saturation = 0.5,
        |spec| spec.training.augmentation.rotation_degrees = 5.0,
        |spec| spec.training.drop_path = 0.1,
        |spec| spec.training.dropout = 0.1,
        |spec| spec.hyperparameters[0].learning_rate = 1e-3,
        |spec| spec.hyperparameters[0].batch_size = 32,
        |spec| spec.data.image_size = 96,
        |spec| spec.data.train_samples = 300,
        |spec| spec.data.validation_samples = Some(50),
        |spec| spec.data.split_seed = 1,
    ];
    for (i, change) in changes.iter().enumerate() {
        let mut spec = sweep();
        change(&mut spec);
        let shared = keys(&expansion(&spec)).intersection(&base).count();
        assert_eq!(shared, 0, "change {i} keeps {shared} keys");
    }
}

fn pgd(spec: &mut SweepSpec) -> &mut Pgd {
    match &mut spec.training.attack {
        Attack::Pgd(pgd) => pgd,
        Attack::Apgd(_) => panic!("the sweep trains by PGD"),
    }
}

#[test]
fn every_setting_of_a_measurement_changes_its_key_alone() {
    let base = expansion(&sweep());
    let changes: [fn(&mut EvaluationSettings); 6] = [
        |evaluation| evaluation.attacks = Tier::Pgd20.attacks(),
        |evaluation| evaluation.mode = CurveMode::bisect_default(),
        |evaluation| evaluation.model = Selection::Best,
        |evaluation| evaluation.grid_step = eps("2/255"),
        |evaluation| evaluation.samples = 100,
        |evaluation| evaluation.seed = 1,
    ];
    for (i, change) in changes.iter().enumerate() {
        let mut spec = sweep();
        change(&mut spec.evaluations[0]);
        let laid_out = expansion(&spec);
        for cell in 0..base.layout().cells().len() {
            let (train, evaluation) = cell_keys(&laid_out, cell);
            let before = cell_keys(&base, cell);
            assert_eq!(train, before.0, "change {i}");
            assert_ne!(evaluation, before.1, "change {i}");
        }
    }
}

#[test]
fn names_do_not_change_a_key() {
    let spec = sweep();
    let (mut models, mut datasets) = pinned(&spec);
    let before = keys(&expand(&spec, &models, &datasets));
    models[0].name = "mine".into();
    models[0].repository = "me/mine".into();
    datasets[0].name = "clothes".into();
    assert_eq!(keys(&expand(&spec, &models, &datasets)), before);
}

/// Committed keys: a change of them orphans every stored result, so it takes a new result version.
#[test]
fn keys_are_golden() {
    let (train, evaluation) = cell_keys(&expansion(&sweep()), 0);
    assert_eq!(
        train.to_string(),
        "7703f7003160d86ede34c18b92f33191eaf2f997ad70b9b9a77476252fceb224"
    );
    assert_eq!(
        evaluation.to_string(),
        "0644ca4deeeaa35855129ef6a0818fd400f264861c790ee69947736a42246af9"
    );
}

#[test]
fn every_mistake_is_named_at_once() {
    let mut spec = sweep();
    spec.models.clear();
    spec.target_epsilons.push(Epsilon::ZERO);
    spec.seeds.push(0);
    spec.training.epochs = 0;
    spec.hyperparameters[0].learning_rate = f64::NAN;
    let mut violations = Violations::default();
    validate::sweep(&spec, &mut violations);
    let fields: Vec<_> = violations
        .as_slice()
        .iter()
        .map(|v| v.field.as_str())
        .collect();
    assert_eq!(
        fields,
        [
            "spec.models",
            "spec.seeds[2]",
            "spec.target_epsilons[1]",
            "spec.hyperparameters[0].learning_rate",
            "spec.training.epochs",
        ]
    );
}

#[test]
fn mistakes_of_schedules_attacks_and_objectives_are_named() {
    let mut spec = sweep();
    spec.schedules = [
        "two-hinge(3/4,1/4)",
        "step(5ep)",
        "auto(0,0)",
        "two-hinge(1ep,1/4)",
    ]
    .map(|text| text.parse().unwrap())
    .to_vec();
    spec.data.validation_samples = Some(0);
    spec.training.objective = Objective::Trades { beta: 0.0 };
    spec.training.attack = Attack::Apgd(Apgd::new(ApgdLoss::TargetedDlr { targets: 0 }, 0));
    spec.training.gradient_clipping = Some(0.0);
    spec.training.label_smoothing = 1.0;
    spec.evaluations[0].attacks = vec![Attack::Pgd(Pgd {
        restarts: 2,
        random_start: false,
        step_size: StepSize::Absolute(2.0),
        ..Pgd::with_steps(3)
    })];
    let mut violations = Violations::default();
    validate::sweep(&spec, &mut violations);
    let fields: Vec<_> = violations
        .as_slice()
        .iter()
        .map(|v| v.field.as_str())
        .collect();
    assert_eq!(
        fields,
        [
            "spec.schedules[0].two_hinge.end",
            "spec.schedules[1].step.at",
            "spec.schedules[2].auto.patience",
            "spec.schedules[2]",
            "spec.training.apgd.steps",
            "spec.training.apgd.targets",
            "spec.training.gradient_clipping",
            "spec.training.objective.beta",
            "spec.training.objective",
            "spec.training.label_smoothing",
            "spec.evaluations[0].attack.step_size",
            "spec.evaluations[0].attack.restarts",
        ]
    );
}

#[test]
fn evaluations_and_attacks_without_end_are_refused() {
    let fields = |spec: &SweepSpec| -> Vec<String> {
        let mut violations = Violations::default();
        validate::sweep(spec, &mut violations);
        let found = violations.as_slice().iter();
        found.map(|violation| violation.field.clone()).collect()
    };
    let mut spec = sweep();
    let of_seed = |seed| EvaluationSettings {
        seed,
        ..EvaluationSettings::default()
    };
    spec.evaluations = (0..64).map(of_seed).collect();
    assert_eq!(fields(&spec), [""; 0]);
    spec.evaluations.push(of_seed(64));
    assert_eq!(fields(&spec), ["spec.evaluations"]);
    spec.evaluations = vec![of_seed(0); 1_000_000];
    assert_eq!(fields(&spec), ["spec.evaluations"]);
    // 4 schedules by 200,000 seeds by 6 are more than four million.
    spec.evaluations = (0..6).map(of_seed).collect();
    spec.seeds = (0..200_000).collect();
    assert_eq!(fields(&spec), ["spec.evaluations"]);
    spec.evaluations.pop();
    assert_eq!(fields(&spec), [""; 0]);

    let mut spec = sweep();
    let attack = Attack::Pgd(Pgd::with_steps(1));
    spec.evaluations[0].attacks = vec![attack; 17];
    assert_eq!(fields(&spec), ["spec.evaluations[0].attacks"]);
    // An axis that is empty does not hide the length of the others.
    let mut spec = sweep();
    spec.models.clear();
    spec.seeds = (0..1_000_000).collect();
    assert_eq!(fields(&spec), ["spec.models", "spec"]);
}

#[test]
fn a_sound_sweep_has_no_violation() {
    let mut violations = Violations::default();
    validate::sweep(&sweep(), &mut violations);
    assert_eq!(violations, Violations::default());
}

proptest! {
    #[test]
    fn expansion_is_the_product_of_its_axes(
        seeds in prop::collection::hash_set(0_u64..1000, 1..6),
        targets in prop::collection::hash_set(1_u32..32, 1..4),
        schedules in prop::sample::subsequence(
            vec![Schedule::Standard, Schedule::Fixed, Schedule::Linear], 1..=3
        ),
    ) {
        let mut spec = sweep();
        spec.seeds = seeds.into_iter().collect();
        spec.target_epsilons =
            targets.into_iter().map(|n| Epsilon::new(n, 255).unwrap()).collect();
        spec.schedules = schedules;
        let laid_out = expansion(&spec);
        prop_assert_eq!(laid_out.layout().cells().len(), rules::points(&spec));
        let unique = keys(&laid_out);
        prop_assert_eq!(unique.len(), laid_out.jobs().len());
        for (key, spec) in laid_out.specs() {
            prop_assert_eq!(key, key::job_key(&spec));
        }
    }

    #[test]
    fn a_spec_survives_its_json_form(seed in 0_u64..1 << 53, rate in 1e-6..1.0) {
        let mut spec = sweep();
        spec.seeds = vec![seed];
        spec.hyperparameters[0].learning_rate = rate;
        for (key, spec) in expansion(&spec).specs() {
            let json = serde_json::to_string(&spec).unwrap();
            let back: JobSpec = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(key::job_key(&back), key);
        }
    }
}
