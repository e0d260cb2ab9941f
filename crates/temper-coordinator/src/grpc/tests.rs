//! Hostile specs: whatever a request asks for is laid out, or refused by its fields. `make fuzz` looks
//! for more of them.

use std::{cell::Cell, collections::HashSet, sync::LazyLock};

use proptest::{
    prelude::*,
    strategy::BoxedStrategy,
    test_runner::{TestCaseError, TestCaseResult},
};
use prost_reflect::DynamicMessage;
use temper_core::{Violations, catalog::Catalog, expand::Expansion, spec::SweepSpec};
use temper_proto::v1::{self, schedule::Kind};
use temper_service::{
    status,
    testing::{Plan, Wildness, Words, message, methods},
};
use temper_store::SweepPreview;
use tonic_types::StatusExt as _;

use super::{encode, page, steer, submission::Submission};
use crate::submit::{self, LaidOut, Refusal};

const SHORT: u64 = 1000;
/// Jobs beyond which keys are not made, for want of time.
const KEYED: usize = 2000;

/// Some of its entries are pinned.
static CATALOG: LazyLock<Catalog> = LazyLock::new(|| Catalog::built_in().unwrap());

/// What a sweep may be made of.
fn words() -> Words {
    Words::default()
        .with("sweep", &[])
        .with("spec", &[])
        .with("models", &["mobilenetv2", "efficientnet-lite0"])
        .with("datasets", &["fashion-mnist"])
        // As lists of text they are rules'; as messages, an axis.
        .with("schedules", &["fixed", "two-hinge", "linear"])
        .with("start", &["1/4"])
        .with("end", &["3/4"])
        .with("at", &["1/2"])
        .with("target_epsilons", &["2/255", "4/255", "8/255"])
        .with("seeds", &["0", "1", "2", "9007199254740991"])
        .with("epochs", &["2", "50"])
        .with("batch_size", &["64", "32"])
        .with("learning_rate", &["0.1", "1e-5"])
        .with("warmup", &["0", "1/10"])
        .with("tier", &["pgd-20", "apgd-ce+t"])
        .with("grid_end", &["8/255"])
        .with("grid_step", &["1/255"])
        .with("priority", &["1"])
        .with("display_name", &["a sweep"])
}

/// Requests of a method, from such as are meant to such as nobody means.
fn requests(method: &str) -> BoxedStrategy<DynamicMessage> {
    let methods = methods(&["SweepService"]).unwrap();
    let method = methods.iter().find(|found| found.name == method).unwrap();
    let (input, words) = (&method.input, words());
    prop_oneof![
        1 => message(input, &words, Wildness::Tame),
        6 => message(input, &words, Wildness::Slight),
        1 => message(input, &words, Wildness::Wild),
    ]
    .boxed()
}

fn read<M: prost::Message + Default>(message: &DynamicMessage) -> M {
    message.transcode_to().unwrap()
}

/// As `CreateSweep` does it, but for what it looks up and stores.
fn submitted(request: v1::CreateSweepRequest) -> (Submission, Result<LaidOut, Refusal>) {
    let (submission, violations) = Submission::read(request);
    let laid_out = submit::lay_out(&submission.spec, &CATALOG, violations);
    (submission, laid_out)
}

/// As `ExtendSweep` does it.
fn extended(spec: SweepSpec, request: v1::ExtendSweepRequest) -> Result<LaidOut, Refusal> {
    let (spec, violations) = steer::extended(spec, request);
    submit::lay_out(&spec, &CATALOG, violations)
}

/// A sweep of two cells.
fn sound() -> v1::CreateSweepRequest {
    let kind = Some(Kind::Fixed(v1::schedule::Fixed {}));
    let spec = v1::SweepSpec {
        models: vec!["mobilenetv2".to_owned()],
        datasets: vec!["fashion-mnist".to_owned()],
        schedules: vec![v1::Schedule { kind }],
        target_epsilons: vec!["2/255".to_owned()],
        seeds: vec![0, 1],
        ..v1::SweepSpec::default()
    };
    let sweep = v1::Sweep {
        spec: Some(spec),
        ..v1::Sweep::default()
    };
    v1::CreateSweepRequest {
        sweep: Some(sweep),
        ..v1::CreateSweepRequest::default()
    }
}

/// A request like [`sound`], changed.
fn changed(change: impl FnOnce(&mut v1::SweepSpec)) -> v1::CreateSweepRequest {
    let mut request = sound();
    let sweep = request.sweep.as_mut().unwrap();
    change(sweep.spec.as_mut().unwrap());
    request
}

/// What must hold of whatever comes of a spec. Whether it was laid out.
fn hold(laid_out: Result<LaidOut, Refusal>) -> Result<bool, TestCaseError> {
    let laid_out = match laid_out {
        Ok(laid_out) => laid_out,
        Err(Refusal::Unpinned(names)) => {
            prop_assert!(!names.is_empty());
            return Ok(false);
        }
        Err(Refusal::Invalid(violations)) => return refused(&violations).map(|()| false),
    };
    let layout = laid_out.layout;
    prop_assert!(!layout.cells().is_empty());
    for job in layout.jobs() {
        let training = layout.training(job);
        let rates = training.hyperparameters;
        let numbers = [
            rates.learning_rate,
            rates.head_learning_rate,
            rates.weight_decay,
        ];
        prop_assert!(numbers.iter().all(|number| number.is_finite()));
    }
    if layout.jobs().len() <= KEYED {
        let expansion = Expansion::of(layout);
        let keys: HashSet<_> = expansion.jobs().map(|(key, _)| key).collect();
        prop_assert_eq!(keys.len(), expansion.layout().jobs().len());
    }
    Ok(true)
}

/// A refusal names its fields, repeats no book, and reaches the client.
fn refused(violations: &Violations) -> TestCaseResult {
    prop_assert!(violations.count() > 0);
    for violation in violations.as_slice() {
        prop_assert!(!violation.field.is_empty() && violation.field.len() < 500);
        prop_assert!(!violation.description.is_empty() && violation.description.len() < 2000);
    }
    let status = status::bad_request(violations);
    let bytes = status.message().len() + status.details().len();
    prop_assert!(bytes < 8 << 10, "{bytes} bytes");
    let told = status.get_details_bad_request().unwrap().field_violations;
    prop_assert!(!told.is_empty() && !told[0].field.is_empty());
    Ok(())
}

/// A spec that is laid out is stored, and told to whoever previews it.
fn store_and_tell(submission: &Submission, laid_out: &LaidOut) -> TestCaseResult {
    let json = serde_json::to_string(&submission.spec).unwrap();
    let back: SweepSpec = serde_json::from_str(&json).unwrap();
    prop_assert_eq!(&back, &submission.spec);
    let preview = encode::preview(SweepPreview::default(), &laid_out.layout);
    prop_assert!(preview.trainings > 0 && preview.evaluations > 0);
    let told = submission.previewed(preview, laid_out);
    prop_assert!(told.cells > 0 && told.spec.is_some());
    if laid_out.layout.jobs().len() <= KEYED {
        let expansion = Expansion::of(laid_out.layout.clone());
        let _ = submission.new_sweep("ann", (&expansion, &laid_out.inputs));
    }
    Ok(())
}

#[test]
fn any_spec_is_laid_out_or_refused_by_its_fields() {
    let plan = Plan::read(SHORT).unwrap();
    let mut runner = plan.runner();
    let (creates, extends) = (requests("CreateSweep"), requests("ExtendSweep"));
    let (mut done, mut laid_out) = (0_u64, 0_u64);
    let base = Submission::read(sound()).0.spec;
    while plan.goes_on(done) {
        let took = Cell::new(false);
        let tree = creates.new_tree(&mut runner).unwrap();
        let outcome = runner.run_one(tree, |message| {
            let (submission, outcome) = submitted(read(&message));
            if let Ok(laid_out) = &outcome {
                store_and_tell(&submission, laid_out)?;
            }
            took.set(hold(outcome)?);
            Ok(())
        });
        outcome.unwrap_or_else(|error| panic!("{error}"));
        laid_out += u64::from(took.get());
        let tree = extends.new_tree(&mut runner).unwrap();
        let outcome = runner.run_one(tree, |message| {
            hold(extended(base.clone(), read(&message))).map(drop)
        });
        outcome.unwrap_or_else(|error| panic!("{error}"));
        done += 2;
    }
    plan.tell("specs", done);
    assert!(laid_out > done / 100, "{laid_out} of {done} were laid out");
}

#[test]
fn a_million_duplicates_are_counted_and_refused() {
    let (million, many) = (1_000_000, 100_000);
    let kind = Some(Kind::Standard(v1::schedule::Standard {}));
    let requests = [
        changed(|spec| spec.seeds = vec![7; million]),
        changed(|spec| spec.models = vec!["mobilenetv2".to_owned(); million]),
        changed(|spec| spec.datasets = vec!["cifar10".to_owned(); many]),
        changed(|spec| spec.target_epsilons = vec!["4/255".to_owned(); many]),
        changed(|spec| spec.target_epsilons = vec!["1/0".to_owned(); many]),
        changed(|spec| spec.schedules = vec![v1::Schedule { kind }; many]),
        changed(|spec| spec.schedules = vec![v1::Schedule::default(); many]),
        changed(|spec| spec.hyperparameters = vec![v1::Hyperparameters::default(); million]),
        changed(|spec| spec.evaluations = vec![v1::EvaluationSettings::default(); many]),
        changed(|spec| spec.exclude = vec![v1::CellMatch::default(); many]),
        changed(|spec| spec.overrides = vec![v1::Override::default(); many]),
        changed(|spec| {
            // Each would name the axis, and that is long.
            spec.models = vec!["m".repeat(1 << 20); 10];
            let models = vec![String::new(); many];
            spec.exclude = vec![v1::CellMatch {
                models,
                ..v1::CellMatch::default()
            }];
        }),
    ];
    for (i, request) in requests.into_iter().enumerate() {
        let took = hold(submitted(request).1).unwrap();
        assert!(!took, "request {i} was laid out");
    }
    let base = Submission::read(sound()).0.spec;
    let request = v1::ExtendSweepRequest {
        seeds: (0..1_000_001).collect(),
        hyperparameters: vec![v1::Hyperparameters::default(); many],
        ..v1::ExtendSweepRequest::default()
    };
    assert!(!hold(extended(base, request)).unwrap());
}

#[test]
fn numbers_at_every_edge_are_laid_out_or_refused_by_their_field() {
    let rate = |rate| {
        changed(|spec| {
            spec.hyperparameters = vec![v1::Hyperparameters {
                learning_rate: Some(rate),
                ..v1::Hyperparameters::default()
            }];
        })
    };
    let epsilon = |text: &str| changed(|spec| spec.target_epsilons = vec![text.to_owned()]);
    let seed = |seed| changed(|spec| spec.seeds = vec![seed]);
    let cases = [
        (
            rate(f64::NAN),
            Some("spec.hyperparameters[0].learning_rate"),
        ),
        (
            rate(f64::INFINITY),
            Some("spec.hyperparameters[0].learning_rate"),
        ),
        (rate(-1e308), Some("spec.hyperparameters[0].learning_rate")),
        (rate(-0.0), Some("spec.hyperparameters[0].learning_rate")),
        (rate(1e308), None),
        (rate(5e-324), None),
        (epsilon("1/0"), Some("spec.target_epsilons[0]")),
        (epsilon("999999999999/1"), Some("spec.target_epsilons[0]")),
        (epsilon("-1/255"), Some("spec.target_epsilons[0]")),
        (epsilon("0/7"), Some("spec.target_epsilons[0]")),
        (epsilon("NaN"), Some("spec.target_epsilons[0]")),
        (epsilon("1"), None),
        (seed(u64::MAX), Some("spec.seeds[0]")),
        (seed((1 << 53) - 1), None),
        (changed(|spec| spec.seeds.clear()), Some("spec.seeds")),
    ];
    for (request, expected) in cases {
        let (submission, outcome) = submitted(request);
        let fields = match &outcome {
            Err(Refusal::Invalid(violations)) => {
                let fields = violations.as_slice().iter().map(|one| one.field.clone());
                fields.collect()
            }
            _ => Vec::new(),
        };
        let expected: Vec<String> = expected.map(str::to_owned).into_iter().collect();
        assert_eq!(fields, expected, "{:?}", submission.spec);
        hold(outcome).unwrap();
    }
}

proptest! {
    #[test]
    fn a_place_survives_its_token(micros in any::<i64>(), id in any::<u128>()) {
        let place = (micros, uuid::Uuid::from_u128(id));
        prop_assert_eq!(page::place(&page::token(Some(&place))).unwrap(), Some(place));
    }

    #[test]
    fn any_text_is_a_token_or_refused_as_one(text in prop::collection::vec(any::<char>(), 1..60)) {
        let text: String = text.into_iter().collect();
        for text in [text.clone(), hex::encode(text)] {
            let place = page::place::<(i64, uuid::Uuid)>(&text);
            let status = place.map(|place| place.map(|(micros, _)| page::moment(micros)));
            if let Err(status) = status {
                let told = status.get_details_bad_request().unwrap().field_violations;
                prop_assert_eq!(&told[0].field, "page_token");
            }
        }
    }
}
