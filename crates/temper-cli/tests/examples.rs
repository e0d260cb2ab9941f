//! Every file in `examples/` is what it claims to be.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::{collections::BTreeMap, fs, path::Path};

use temper_core::{
    Violations,
    catalog::{Catalog, Commit, Snapshot},
    expand::expand,
    rules,
    spec::{JobSpec, SweepSpec},
    validate,
};
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
        .map(|(name, spec)| (name.clone(), rules::points(spec)))
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
fn paper_is_120_cells_a_seed_once_its_entries_are_pinned() {
    let mut spec = examples().remove("paper").unwrap();
    spec.seeds.truncate(1);
    let mut catalog = Catalog::built_in().unwrap();
    // What the hub would tell: one file for each pattern, at some commit.
    let commit = "0123456789abcdef0123456789abcdef01234567".parse().unwrap();
    let snapshot = |paths: Vec<String>| Snapshot {
        commit: Some(Commit::clone(&commit)),
        files: paths.into_iter().map(|path| (path, None)).collect(),
    };
    let models: Vec<_> = spec
        .models
        .iter()
        .map(|name| {
            let entry = catalog.models.get_mut(name).unwrap();
            *entry = entry
                .pinned_to(&snapshot(vec![entry.file.clone()]))
                .unwrap();
            catalog.model(name).unwrap()
        })
        .collect();
    let datasets: Vec<_> = spec
        .datasets
        .iter()
        .map(|name| {
            let entry = catalog.datasets.get_mut(name).unwrap();
            let paths = entry.source.files().map(|file| file.path.replace('*', "0"));
            *entry = entry.pinned_to(&snapshot(paths.collect())).unwrap();
            catalog.dataset(name).unwrap()
        })
        .collect();
    let laid_out = expand(&spec, &models, &datasets);
    let (cells, jobs) = (laid_out.layout().cells(), laid_out.layout().jobs());
    let trainings = jobs.iter().filter(|job| job.depends_on.is_none());
    assert_eq!((cells.len(), jobs.len()), (120, 240));
    assert_eq!(trainings.count(), 120);
    // The paper's splits, where its catalog entries say them.
    let sizes: Vec<_> = laid_out
        .specs()
        .filter_map(|(_, spec)| sizes(&spec))
        .collect();
    for expected in [
        ("cub200", 0, 600, 0),
        ("stanford-dogs", 0, 1200, 0),
        ("caltech256", 14_649, 771, 0),
        ("stanford-cars", 0, 1222, 1000),
        ("fgvc-aircraft", 0, 3333, 1000),
    ] {
        let (name, train, validation, test) = expected;
        let expected = (name.to_owned(), train, validation, test);
        assert!(sizes.contains(&expected), "{expected:?} not in {sizes:?}");
    }
}

/// Dataset, training, validation and test images of an evaluation; 0: all there are.
fn sizes(spec: &JobSpec) -> Option<(String, u32, u32, u32)> {
    let JobSpec::Evaluate(spec) = spec else {
        return None;
    };
    let (name, data) = (spec.train.dataset.name.clone(), spec.train.data);
    Some((
        name,
        data.train_samples,
        data.validation_samples,
        spec.samples,
    ))
}

#[test]
fn demo_is_no_smaller_than_what_is_promised() {
    let demo = &examples()["demo"];
    assert!(demo.data.train_samples >= 300 && demo.training.epochs >= 4);
    assert!(demo.training.attack.steps() >= 3);
    let evaluation = &demo.evaluations[0];
    assert!(evaluation.samples >= 200 && evaluation.attacks[0].steps() >= 10);
}
