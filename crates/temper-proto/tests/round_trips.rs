//! What goes over the wire comes back as it was, and what people write wrong is named.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;
use temper_core::{
    Epsilon, Fraction, Violations,
    catalog::{Catalog, Layout, Source},
    expand::expand,
    key,
    schedule::Schedule,
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
    assert_eq!((spec.training.epochs, spec.training.attack.steps), (50, 7));
    assert_eq!(
        (spec.data.image_size, spec.data.validation_samples),
        (224, None)
    );
    assert_eq!((spec.hyperparameters.len(), spec.evaluations.len()), (1, 1));
    assert_eq!(spec.evaluations[0].attack.steps, 10);
}

#[test]
fn every_unreadable_field_is_named() {
    let (_, violations) = parse(
        r#"{"schedules": [{}, {"twoHinge": {"start": "3/4", "end": "1/4"}}],
            "targetEpsilons": ["4/255", "four"], "evaluations": [{"gridEnd": "2"}],
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
            "spec.schedules[0]",
            "spec.schedules[1].two_hinge.end",
            "spec.target_epsilons[1]",
            "spec.hyperparameters[0].warmup",
            "spec.evaluations[0].grid_end",
        ]
    );
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
    let (spec, _) = parse(SMALL);
    let mut catalog = Catalog::built_in().unwrap();
    let cifar = &mut catalog.datasets.get_mut("cifar10").unwrap().source;
    cifar
        .files_mut()
        .for_each(|f| f.sha256 = Some(temper_core::Digest::of(b"bytes")));
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
    let jobs = expand(&spec, &models, &datasets).jobs;
    assert_eq!(jobs.len(), 2 * 2 * 3 * 2 * 2);
    for job in jobs {
        let message = v1::JobSpec::from(&job.spec);
        let back = JobSpec::try_from(&message).unwrap();
        assert_eq!(back, job.spec);
        assert_eq!(key::job_key(&back), job.key);
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
        let start = Fraction::new(hinge, 100).unwrap();
        spec.schedules = vec![Schedule::TwoHinge { start, end: Fraction::ONE }];
        let json = to_json(&v1::SweepSpec::from(&spec)).unwrap();
        let (back, violations) = parse(&json);
        prop_assert_eq!(violations, Violations::default());
        prop_assert_eq!(back, spec);
    }
}
