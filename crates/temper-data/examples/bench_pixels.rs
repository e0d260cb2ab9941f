//! Times the pixel cache for `make bench-pixels`: `bench_pixels <root> <cache> <size>`, where
//! `<root>` holds an image folder `photos`. Prints one line of JSON with seconds.

use std::{env, hint, path::Path, time::Instant};

use temper_core::{
    catalog::{Catalog, PinnedDataset},
    spec::DataSettings,
};
use temper_data::{ImageSet, Sources};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [root, cache, size] = arguments.as_slice() else {
        anyhow::bail!("usage: bench_pixels <root> <cache> <size>");
    };
    let sources = || Sources::new(vec![], vec![root.into()]);
    let dataset = pinned(&sources())?;
    let data = DataSettings {
        image_size: size.parse()?,
        train_samples: 0,
        validation_samples: 0,
        split_seed: 0,
    };

    // All that the first job of a sweep waits for: digests, decoding, writing to the disk.
    let cached = || sources().with_cache(Path::new(cache));
    let start = Instant::now();
    let made = cached().training(&dataset, &data)?.train;
    let build = start.elapsed().as_secs_f64();

    let start = Instant::now();
    let opened = cached().training(&dataset, &data)?.train;
    let open = start.elapsed().as_secs_f64();
    let start = Instant::now();
    epoch(&opened);
    let read = start.elapsed().as_secs_f64();

    // What each epoch would cost without the cache, on as many threads.
    let start = Instant::now();
    let decoded = sources().training(&dataset, &data)?.train;
    let decode = start.elapsed().as_secs_f64();
    anyhow::ensure!(made == opened && opened == decoded, "the sets differ");
    println!(
        "{{\"images\": {}, \"build\": {build}, \"open\": {open}, \"read\": {read}, \
         \"decode\": {decode}}}",
        made.len()
    );
    Ok(())
}

fn pinned(sources: &Sources) -> anyhow::Result<PinnedDataset> {
    let catalog = Catalog::parse(
        "[datasets.photos]\nclasses = 1\nlicence = \"none\"\n\
         source = { format = \"folder\", path = \"photos\" }",
    )?;
    let (pinned, failures) = sources.pin(&catalog);
    if let Some((_, error)) = failures.into_iter().next() {
        return Err(error.into());
    }
    Ok(pinned.dataset("photos")?)
}

/// Copies every image into a batch, as training does, in an order that is not the file's.
fn epoch(set: &ImageSet) {
    const BATCH: usize = 64;
    let mut batch = Vec::new();
    for n in 0..set.len() {
        if n % BATCH == 0 {
            hint::black_box(&batch);
            batch.clear();
        }
        // 7919 is a prime: with any number of images but its multiples, each comes once.
        batch.extend_from_slice(set.image(n * 7_919 % set.len()));
    }
    hint::black_box(&batch);
}
