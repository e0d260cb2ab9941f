//! What goes over the wire comes back as it was, and what people write wrong is named.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;
use temper_core::{
    Epsilon, Fraction, Violations,
    attack::Tier,
    catalog::{Catalog, Layout, Source},
    expand::expand,
    key,
    schedule::{Hinge, Schedule},
    spec::{JobSpec, SweepSpec},
};
use temper_proto::{JobName, SweepName, from_json, parse_sweep_spec, to_json, v1};

fn parse(json: &str) -> (SweepSpec, Violations) {
    let message: v1::SweepSpec = from_json(json).unwrap();
    let mut violations = Violations::default();
    let spec = parse_sweep_spec(&message, &mut violations);
    (spec, violations)
}

const SMALL: &str = r#"{
    "models": ["mobilenetv2"], "datasets": ["fashion-mnist", "cifar10"],
    "schedules": [{"standard": {}}, {"twoHinge": {}}, {"two_hinge": {"start": "0.1", "end": "1/2"}}],
    "targetEpsilons": ["4/255"], "seeds": [0, "9007199254740991"]
}"#;

#[test]
fn a_short_spec_gets_every_default() {
    let (spec, violations) = parse(SMALL);
    assert_eq!(violations, Violations::default());
    assert_eq!(spec.schedules[1], Schedule::two_hinge_default());
    assert_eq!(spec.seeds, [0, (1 << 53) - 1]);
    assert_eq!(
        (spec.training.epochs, spec.training.attack.steps()),
        (50, 7)
    );
    assert_eq!(
        (spec.data.image_size, spec.data.validation_samples),
        (224, None)
    );
    assert_eq!((spec.hyperparameters.len(), spec.evaluations.len()), (1, 1));
    assert_eq!(spec.evaluations[0].attacks[0].steps(), 10);
}

#[test]
fn every_unreadable_field_is_named() {
    let (_, violations) = parse(
        r#"{"schedules": [{}, {"twoHinge": {"start": "3/4", "end": "soon"}}, {"step": {}}],
            "targetEpsilons": ["4/255", "four"],
            "evaluations": [{"gridEnd": "2"}, {"tier": "autoattack"}, {"tier": "pgd-20", "apgd": {}},
                {"attacks": [{}]}, {"audit": "1/10"}],
            "training": {"attack": {"step_size": 0.1, "relative_step_size": 1}},
            "validation": {"attack": {}, "apgd": {}},
            "hyperparameters": [{"warmup": "x"}]}"#,
    );
    let fields: Vec<_> = violations
        .as_slice()
        .iter()
        .map(|v| v.field.as_str())
        .collect();
    assert_eq!(
        fields,
        [
            "spec.training.attack.step_size",
            "spec.validation",
            "spec.schedules[0]",
            "spec.schedules[1].two_hinge.end",
            "spec.schedules[2].step.at",
            "spec.target_epsilons[1]",
            "spec.hyperparameters[0].warmup",
            "spec.evaluations[0].grid_end",
            "spec.evaluations[1].tier",
            "spec.evaluations[2]",
            "spec.evaluations[3].attacks[0]",
            "spec.evaluations[4].audit",
        ]
    );
}

/// Every kind of schedule, attack, objective and mode at least once.
const FULL: &str = r#"{
    "models": ["mobilenetv2"], "datasets": ["cifar10"],
    "schedules": [{"standard": {}}, {"fixed": {}}, {"twoHinge": {"start": "12ep", "end": "37ep"}},
        {"linear": {}}, {"warmUp": {"end": "1/2"}}, {"step": {"at": "1/4"}}, {"uniform": {}},
        {"auto": {}}, {"auto": {"patience": 3, "tolerance": "1/100"}}, {"cosine": {}}],
    "targetEpsilons": ["4/255"], "seeds": [0],
    "training": {"apgd": {"loss": "APGD_LOSS_DLR"}, "attackSteps": "ATTACK_STEPS_SCALED",
        "precision": "PRECISION_BF16", "objective": {"trades": {}}, "gradientClipping": 1.5,
        "labelSmoothing": 0.1},
    "validation": {"apgd": {"steps": 5}},
    "evaluations": [{"tier": "pgd-20"}, {"tier": "apgd-ce+t", "mode": "CURVE_MODE_BISECT"},
        {"attack": {"norm": "NORM_L2", "stepSize": 0.1, "restarts": 3, "goal": "PGD_GOAL_RUNNER_UP",
            "keep": "PGD_KEEP_BEST"}, "mode": "CURVE_MODE_EXACT", "model": "SELECTION_BEST"},
        {"apgd": {"loss": "APGD_LOSS_TARGETED_DLR", "targets": 3}},
        {"attacks": [{"pgd": {"goal": "PGD_GOAL_LEAST_LIKELY"}}, {"apgd": {}}], "audit": "0",
            "mode": "CURVE_MODE_BISECT"}]
}"#;

#[test]
fn every_choice_survives_json_and_the_wire() {
    let (spec, violations) = parse(FULL);
    assert_eq!(violations, Violations::default());
    assert_eq!(spec.evaluations[1].attacks, Tier::ApgdCeT.attacks());
    assert_eq!(spec.training.attack.steps(), 7);
    let json = to_json(&v1::SweepSpec::from(&spec)).unwrap();
    assert_eq!(parse(&json), (spec.clone(), Violations::default()));
    let catalog = pinned_catalog();
    let (model, dataset) = (catalog.model("mobilenetv2"), catalog.dataset("cifar10"));
    let expansion = expand(&spec, &[model.unwrap()], &[dataset.unwrap()]);
    let jobs = expansion.specs();
    assert_eq!(
        jobs.len(),
        spec.schedules.len() * (1 + spec.evaluations.len())
    );
    for (_, spec) in jobs {
        let back = JobSpec::try_from(&v1::JobSpec::from(&spec)).unwrap();
        assert_eq!(back, spec);
    }
}

/// The built-in one, with everything pinned.
fn pinned_catalog() -> Catalog {
    let mut catalog = Catalog::built_in().unwrap();
    let cifar = &mut catalog.datasets.get_mut("cifar10").unwrap().source;
    cifar
        .files_mut()
        .for_each(|f| f.sha256 = Some(temper_core::Digest::of(b"bytes")));
    catalog
}

#[test]
fn unknown_fields_are_refused_with_their_place() {
    let error = from_json::<v1::SweepSpec>("{\n  \"colours\": []\n}").unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(
        source.contains("colours") && source.contains("line 2"),
        "{source}"
    );
}

#[test]
fn jobs_survive_the_wire_with_their_keys() {
    let (mut spec, _) = parse(SMALL);
    spec.models = vec!["mobilenetv2".into(), "clip-convnext-base".into()];
    spec.datasets = vec!["fashion-mnist".into(), "cifar10".into()];
    let mut catalog = pinned_catalog();
    let folder = Source::Folder {
        path: "pets/small".into(),
        layout: Layout::List,
        list: Some("splits.csv".into()),
        manifest: Some(temper_core::Digest::of(b"manifest")),
    };
    catalog.datasets.get_mut("fashion-mnist").unwrap().source = folder;
    let clip = catalog.models.get_mut("clip-convnext-base").unwrap();
    clip.revision = Some("0123456789abcdef0123456789abcdef01234567".into());
    let models = ["mobilenetv2", "clip-convnext-base"].map(|name| catalog.model(name).unwrap());
    let datasets = ["fashion-mnist", "cifar10"].map(|name| catalog.dataset(name).unwrap());
    let expansion = expand(&spec, &models, &datasets);
    assert_eq!(expansion.jobs().len(), 2 * 2 * 3 * 2 * 2);
    for (key, spec) in expansion.specs() {
        let message = v1::JobSpec::from(&spec);
        let back = JobSpec::try_from(&message).unwrap();
        assert_eq!(back, spec);
        assert_eq!(key::job_key(&back), key);
    }
}

#[test]
fn a_job_without_its_parts_is_refused_by_name() {
    let message = v1::JobSpec {
        kind: Some(v1::job_spec::Kind::Train(v1::TrainSpec::default())),
    };
    let violations = JobSpec::try_from(&message).unwrap_err();
    let fields: Vec<_> = violations
        .as_slice()
        .iter()
        .map(|v| v.field.as_str())
        .collect();
    let parts = ["model", "dataset", "hyperparameters", "training"];
    assert_eq!(fields, parts.map(|part| format!("spec.train.{part}")));
}

#[test]
fn names_are_strict() {
    assert_eq!("jobs/12".parse::<JobName>().unwrap().to_string(), "jobs/12");
    for text in ["jobs/", "jobs/0", "jobs/-1", "12", "sweeps/12"] {
        assert!(text.parse::<JobName>().is_err(), "{text}");
    }
    assert!("sweeps/12".parse::<SweepName>().is_err());
}

proptest! {
    #[test]
    fn specs_survive_wire_and_json(
        seeds in prop::collection::vec(0_u64..1 << 53, 1..5),
        targets in prop::collection::vec(1_u32..=255, 1..5),
        rate in 1e-8..1.0,
        hinge in 0_u32..=100,
    ) {
        let (mut spec, _) = parse(SMALL);
        spec.seeds = seeds;
        spec.target_epsilons = targets.iter().map(|n| Epsilon::new(*n, 255).unwrap()).collect();
        spec.hyperparameters[0].learning_rate = rate;
        let start = Hinge::Share(Fraction::new(hinge, 100).unwrap());
        spec.schedules = vec![Schedule::TwoHinge { start, end: Hinge::END }];
        let json = to_json(&v1::SweepSpec::from(&spec)).unwrap();
        let (back, violations) = parse(&json);
        prop_assert_eq!(violations, Violations::default());
        prop_assert_eq!(back, spec);
    }
}
