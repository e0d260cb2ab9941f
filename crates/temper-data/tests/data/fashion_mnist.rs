//! The real Fashion-MNIST.

use std::sync::Arc;

use temper_data::{ImageSet, Sources};

use crate::support::{built_in, mirrors, settings};

fn counts(set: &ImageSet) -> Vec<usize> {
    (0..i64::from(set.classes))
        .map(|class| set.labels.iter().filter(|label| **label == class).count())
        .collect()
}

#[test]
fn whole_training_split_has_its_known_counts_and_labels() -> anyhow::Result<()> {
    let sources = Sources::new(mirrors(), vec![]);
    let splits = sources.training(&built_in("fashion-mnist")?, &settings(28, 0, 0))?;
    assert_eq!(splits.train.len(), 60_000);
    assert_eq!(splits.train.labels[..5], [9, 0, 0, 3, 0]);
    assert_eq!(counts(&splits.train), [6_000; 10]);
    assert!(splits.validation.is_empty());
    assert_eq!(splits.train.image(59_999).len(), 3 * 28 * 28);
    // At its own size the picture is untouched: grey, in three equal planes.
    let planes: Vec<_> = splits.train.image(0).chunks_exact(28 * 28).collect();
    assert!(planes[0] == planes[1] && planes[1] == planes[2]);
    assert_eq!(
        planes[0].iter().map(|value| u64::from(*value)).sum::<u64>(),
        76_247
    );
    Ok(())
}

#[test]
fn whole_test_split_has_its_known_counts_and_labels() -> anyhow::Result<()> {
    let sources = Sources::new(mirrors(), vec![]);
    let set = sources.test(&built_in("fashion-mnist")?, &settings(28, 0, 0), 0)?;
    assert_eq!(set.labels[..5], [9, 2, 1, 1, 6]);
    assert_eq!(counts(&set), [1_000; 10]);
    Ok(())
}

#[test]
fn drawn_splits_are_stratified_disjoint_and_complete() -> anyhow::Result<()> {
    let sources = Sources::new(mirrors(), vec![]);
    let dataset = built_in("fashion-mnist")?;
    let splits = sources.training(&dataset, &settings(28, 300, 100))?;
    assert_eq!(counts(&splits.train), [30; 10]);
    assert_eq!(counts(&splits.validation), [10; 10]);
    let rest = sources.training(&dataset, &settings(28, 0, 100))?;
    assert_eq!(
        rest.validation, splits.validation,
        "drawn first, whatever is trained on"
    );
    assert_eq!(counts(&rest.train), [5_990; 10]);
    // Fashion-MNIST holds a few pictures twice, so that the sets are compared by how many of
    // the validation pictures are found, which would be all if they overlapped.
    let train: std::collections::HashSet<&[u8]> = rest.train.images().collect();
    let validation = splits.validation.images();
    let shared = validation.filter(|image| train.contains(image)).count();
    assert!(shared < 5, "{shared} validation images are trained on");
    Ok(())
}

#[test]
fn images_are_resized_to_the_wanted_square() -> anyhow::Result<()> {
    let sources = Sources::new(mirrors(), vec![]);
    let dataset = built_in("fashion-mnist")?;
    let [small, large] = [28, 64].map(|size| sources.test(&dataset, &settings(size, 0, 0), 50));
    let (small, large) = (small?, large?);
    assert_eq!(
        (large.size, large.len(), large.image(49).len()),
        (64, 50, 3 * 64 * 64)
    );
    assert_eq!(
        small.labels, large.labels,
        "the draw does not depend on the size"
    );
    let mean = |set: &ImageSet| {
        let values = set.images().flatten();
        values.map(|value| u64::from(*value)).sum::<u64>() / set.images().flatten().count() as u64
    };
    assert!(
        mean(&small).abs_diff(mean(&large)) <= 1,
        "resizing keeps the brightness"
    );
    Ok(())
}

#[test]
fn another_seed_draws_other_images() -> anyhow::Result<()> {
    let sources = Sources::new(mirrors(), vec![]);
    let dataset = built_in("fashion-mnist")?;
    let mut settings = settings(28, 0, 0);
    let first = sources.test(&dataset, &settings, 40)?;
    settings.split_seed += 1;
    assert_ne!(first, sources.test(&dataset, &settings, 40)?);
    Ok(())
}

#[test]
fn the_same_request_is_decoded_once() -> anyhow::Result<()> {
    let sources = Sources::new(mirrors(), vec![]);
    let dataset = built_in("fashion-mnist")?;
    let training = |size| sources.training(&dataset, &settings(size, 40, 20));
    let (first, again, other) = (training(28)?, training(28)?, training(32)?);
    assert!(Arc::ptr_eq(&first.train, &again.train));
    assert!(Arc::ptr_eq(&first.validation, &again.validation));
    assert!(!Arc::ptr_eq(&first.train, &other.train));
    // How many images train says nothing about a test set.
    let test = sources.test(&dataset, &settings(28, 40, 20), 30)?;
    assert!(Arc::ptr_eq(
        &test,
        &sources.test(&dataset, &settings(28, 0, 0), 30)?
    ));
    assert!(!Arc::ptr_eq(
        &test,
        &sources.test(&dataset, &settings(28, 0, 0), 31)?
    ));
    // Another process draws the same.
    let fresh = Sources::new(mirrors(), vec![]);
    assert_eq!(fresh.test(&dataset, &settings(28, 40, 20), 30)?, test);
    Ok(())
}
