//! The real CIFAR-10 in the hub's layout, where it is at hand: few users have it.

use std::path::PathBuf;

use temper_core::catalog::Catalog;
use temper_data::Sources;

use crate::support::{settings, workspace};

fn hub() -> Option<PathBuf> {
    let hub = std::env::var_os("TEMPER_TEST_HUB")
        .map_or_else(|| workspace().join("../shared/data/hub"), PathBuf::from);
    hub.join("datasets/uoft-cs/cifar10/plain_text")
        .is_dir()
        .then_some(hub)
}

#[test]
fn whole_cifar10_reads_once_pinned() -> anyhow::Result<()> {
    let Some(hub) = hub() else {
        println!("not run: no CIFAR-10 (TEMPER_TEST_HUB)");
        return Ok(());
    };
    let sources = Sources::new(vec![hub], vec![]);
    let mut catalog = Catalog::built_in()?;
    catalog.overlay(sources.pin(&catalog).0);
    let dataset = catalog.dataset("cifar10")?;
    let splits = sources.training(&dataset, &settings(32, 1_000, 100))?;
    for class in 0..10 {
        let count = splits
            .train
            .labels
            .iter()
            .filter(|label| **label == class)
            .count();
        assert_eq!(count, 100, "class {class}");
    }
    // Photographs have colour: the planes differ.
    assert_ne!(
        splits.train.image(0)[..1_024],
        splits.train.image(0)[1_024..2_048]
    );
    let rest = sources.training(&dataset, &settings(8, 0, 100))?;
    assert_eq!(rest.train.len(), 49_900);
    assert_eq!(sources.test(&dataset, &settings(8, 0, 0), 0)?.len(), 10_000);
    Ok(())
}
