//! Every file in `examples/` is what it claims to be.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::{collections::BTreeMap, fs, path::Path};

use temper_core::{Violations, spec::SweepSpec, validate};
use temper_proto::{from_json, parse_sweep_spec, v1::CreateSweepRequest};

/// The examples by name, parsed.
fn examples() -> BTreeMap<String, SweepSpec> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let specs = files.filter(|path| path.extension().is_some_and(|e| e == "json"));
    specs
        .map(|path| {
            (
                path.file_stem().unwrap().to_str().unwrap().to_owned(),
                parse(&path),
            )
        })
        .collect()
}

fn parse(path: &Path) -> SweepSpec {
    let request: CreateSweepRequest = from_json(&fs::read_to_string(path).unwrap())
        .unwrap_or_else(|error| panic!("{}: {error:?}", path.display()));
    assert_eq!(
        request.request_id, "",
        "an id in a file makes every submission the same sweep"
    );
    let mut violations = Violations::default();
    let spec = parse_sweep_spec(
        request.sweep.unwrap().spec.as_ref().unwrap(),
        &mut violations,
    );
    validate::sweep(&spec, &mut violations);
    violations
        .into_result(spec)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_example_is_a_valid_request_of_the_size_its_readme_tells() {
    let counts: BTreeMap<_, _> = examples()
        .iter()
        .map(|(name, spec)| (name.clone(), validate::cell_count(spec)))
        .collect();
    let expected = [("cifar10", 18), ("demo", 8), ("folder", 9), ("paper", 360)];
    assert_eq!(
        counts,
        expected
            .map(|(name, count)| (name.to_owned(), count))
            .into()
    );
    let readme = include_str!("../../../examples/README.md");
    for (name, count) in expected {
        assert!(
            readme.contains(&format!("| `{name}.json` | {count} |")),
            "{name}"
        );
    }
}

#[test]
fn demo_is_no_smaller_than_what_is_promised() {
    let demo = &examples()["demo"];
    assert!(demo.data.train_samples >= 300 && demo.training.epochs >= 4);
    assert!(demo.training.attack.steps >= 3);
    let evaluation = &demo.evaluations[0];
    assert!(evaluation.samples >= 200 && evaluation.attack.steps >= 10);
}
