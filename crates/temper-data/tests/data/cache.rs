//! The pixel cache, with real files, threads and processes.

use std::{
    env,
    fs::{self, File},
    os::unix::{fs::MetadataExt as _, process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::Context as _;
use image::{ImageFormat, RgbImage};
use temper_core::{
    ErrorKind,
    catalog::{Layout, PinnedDataset, Source},
    spec::DataSettings,
};
use temper_data::{DataError, Sources};
use tempfile::TempDir;

use crate::support::{assert_matches, encoded, pinned, settings, write};

/// Tells a child process in which folder to make which size; see [`child`].
const CHILD: &str = "TEMPER_TEST_CACHE_CHILD";

/// A dataset of pictures, and a cache folder beside it.
struct Lab {
    root: TempDir,
    dataset: PinnedDataset,
}

impl Lab {
    /// 2 classes of that many pictures each to train on, and a picture of each to test.
    fn new(pictures: u8, side: u32) -> anyhow::Result<Self> {
        let root = tempfile::tempdir()?;
        let noise = RgbImage::from_fn(side, side, |x, y| {
            image::Rgb(
                [x * x + y, x ^ y, x * y].map(|value| u8::try_from(value % 251).unwrap_or(0)),
            )
        });
        for class in 0..2 {
            for n in 0..pictures {
                let mut picture = noise.clone();
                // A corner tells them apart.
                let corner =
                    RgbImage::from_pixel(side / 4, side / 4, image::Rgb([9 * n, class, 0]));
                image::imageops::replace(&mut picture, &corner, 0, 0);
                let bytes = encoded(&picture.into(), ImageFormat::Png)?;
                let parts = if n == 0 {
                    &["train", "test"][..]
                } else {
                    &["train"]
                };
                for part in parts {
                    let path = format!("pictures/{part}/{class}/{n:03}.png");
                    write(&root.path().join(path), &bytes)?;
                }
            }
        }
        let source = Source::Folder {
            path: "pictures".to_owned(),
            layout: Layout::ClassFolders,
            list: None,
            manifest: None,
        };
        let dataset = pinned(
            &Sources::new(vec![], vec![root.path().to_owned()]),
            2,
            source,
        )?;
        Ok(Self { root, dataset })
    }

    fn cache(&self) -> PathBuf {
        self.root.path().join("cache")
    }

    fn sources(&self) -> Sources {
        Sources::new(vec![], vec![self.root.path().to_owned()]).with_cache(&self.cache())
    }

    /// Files of the cache with that extension.
    fn files(&self, extension: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.cache().join("pixels"));
        let paths = entries
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path());
        paths
            .filter(|path| path.extension().is_some_and(|found| found == extension))
            .collect()
    }

    /// Files with pixels; labels alone take a page.
    fn arrays(&self) -> Vec<PathBuf> {
        let mut files = self.files("pixels");
        files.retain(|path| length(path) > 4096);
        files
    }

    /// This test's process anew, making all of the training split at that size.
    fn child(&self, size: u32) -> anyhow::Result<Child> {
        self.child_of(Command::new(env::current_exe()?), size)
    }

    fn child_of(&self, mut command: Command, size: u32) -> anyhow::Result<Child> {
        let dataset = serde_json::to_string(&self.dataset)?;
        let root = self.root.path().display();
        let child = command
            .args(["--exact", "cache::child", "--nocapture"])
            .env(CHILD, format!("{size} {root} {dataset}"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        Ok(child)
    }
}

/// What other tests run as a process of its own; by itself it does nothing.
#[test]
fn child() -> anyhow::Result<()> {
    let Ok(order) = env::var(CHILD) else {
        return Ok(());
    };
    let mut words = order.splitn(3, ' ');
    let mut word = || words.next().context("too few words");
    let size = word()?.parse()?;
    let root = Path::new(word()?);
    let dataset = serde_json::from_str(word()?)?;
    let sources = Sources::new(vec![], vec![root.to_owned()]).with_cache(&root.join("cache"));
    match sources.training(&dataset, &settings(size, 0, 0)) {
        Ok(splits) => println!("\nmade {} of {}", sources.decoded(), splits.train.len()),
        Err(error) => println!("\nrefused {:?}: {error}", error.kind()),
    }
    Ok(())
}

/// What the child said, when it has ended.
fn word_of(child: Child) -> anyhow::Result<String> {
    let output = child.wait_with_output()?;
    let said = String::from_utf8(output.stdout)?;
    let mut lines = said.lines();
    let line = lines.find(|line| line.starts_with("made ") || line.starts_with("refused "));
    Ok(line
        .with_context(|| format!("{}: {said}", output.status))?
        .to_owned())
}

/// 0 where there is no file.
fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

fn inode(path: &Path) -> anyhow::Result<u64> {
    Ok(fs::metadata(path)?.ino())
}

#[test]
fn cached_sets_are_those_in_memory_and_need_no_source() -> anyhow::Result<()> {
    let lab = Lab::new(6, 20)?;
    let plain = Sources::new(vec![], vec![lab.root.path().to_owned()]);
    for data in [settings(8, 0, 0), settings(8, 0, 4), settings(8, 3, 2)] {
        let (expected, found) = (
            plain.training(&lab.dataset, &data)?,
            lab.sources().training(&lab.dataset, &data)?,
        );
        assert_eq!(found.train, expected.train);
        assert_eq!(found.validation, expected.validation);
    }
    let test = lab.sources().test(&lab.dataset, &settings(8, 0, 0), 0)?;
    assert_eq!(test, plain.test(&lab.dataset, &settings(8, 0, 0), 0)?);
    fs::remove_dir_all(lab.root.path().join("pictures"))?;
    let fresh = lab.sources();
    assert_eq!(
        fresh
            .training(&lab.dataset, &settings(8, 3, 2))?
            .train
            .len(),
        3
    );
    assert_eq!(fresh.test(&lab.dataset, &settings(8, 0, 0), 0)?, test);
    assert_eq!(fresh.decoded(), 0);
    Ok(())
}

#[test]
fn seeds_that_use_the_whole_split_share_one_array() -> anyhow::Result<()> {
    let lab = Lab::new(6, 20)?;
    let sources = lab.sources();
    let mut sets = Vec::new();
    for split_seed in 0..3 {
        let data = DataSettings {
            split_seed,
            ..settings(8, 0, 4)
        };
        sets.push(sources.training(&lab.dataset, &data)?);
    }
    assert_eq!((sources.decoded(), lab.arrays().len()), (12, 1));
    assert_ne!(
        sets[0].validation, sets[1].validation,
        "another seed draws others"
    );
    // Once it is there, a draw of few images takes them from it as well.
    let few = sources.training(&lab.dataset, &settings(8, 3, 2))?;
    assert_eq!(
        (sources.decoded(), lab.arrays().len(), few.train.len()),
        (12, 1, 3)
    );
    Ok(())
}

#[test]
fn draw_of_few_images_decodes_them_alone() -> anyhow::Result<()> {
    let lab = Lab::new(6, 20)?;
    let sources = lab.sources();
    let splits = sources.training(&lab.dataset, &settings(8, 3, 2))?;
    assert_eq!((splits.train.len(), splits.validation.len()), (3, 2));
    assert_eq!((sources.decoded(), lab.arrays().len()), (5, 1));
    // Another draw has an array of its own, and the whole has too.
    let other = DataSettings {
        split_seed: 99,
        ..settings(8, 3, 2)
    };
    sources.training(&lab.dataset, &other)?;
    sources.training(&lab.dataset, &settings(8, 0, 0))?;
    assert_eq!((sources.decoded(), lab.arrays().len()), (5 + 5 + 12, 3));
    Ok(())
}

#[test]
fn other_sizes_parts_and_datasets_have_their_own_arrays() -> anyhow::Result<()> {
    let mut lab = Lab::new(4, 20)?;
    let sources = lab.sources();
    for size in [8, 9] {
        let set = sources.training(&lab.dataset, &settings(size, 0, 0))?.train;
        assert_eq!(set.image(0).len(), (3 * size * size) as usize);
    }
    sources.test(&lab.dataset, &settings(8, 0, 0), 0)?;
    assert_eq!((sources.decoded(), lab.arrays().len()), (8 + 8 + 2, 3));
    // Another picture: another digest.
    let path = lab.root.path().join("pictures/train/0/001.png");
    let picture = RgbImage::from_pixel(20, 20, image::Rgb([250; 3]));
    write(&path, &encoded(&picture.into(), ImageFormat::Png)?)?;
    let source = Source::Folder {
        path: "pictures".to_owned(),
        layout: Layout::ClassFolders,
        list: None,
        manifest: None,
    };
    let fresh = Sources::new(vec![], vec![lab.root.path().to_owned()]);
    lab.dataset = pinned(&fresh, 2, source)?;
    let set = sources.training(&lab.dataset, &settings(8, 0, 0))?.train;
    assert_eq!((set.image(1)[0], sources.decoded()), (250, 8 + 8 + 2 + 8));
    Ok(())
}

#[test]
fn processes_that_want_one_array_make_it_once() -> anyhow::Result<()> {
    let lab = Lab::new(20, 300)?;
    let children: Result<Vec<Child>, _> = (0..4).map(|_| lab.child(64)).collect();
    let mut said = Vec::new();
    for child in children? {
        said.push(word_of(child)?);
    }
    said.sort();
    assert_eq!(
        said,
        [
            "made 0 of 40",
            "made 0 of 40",
            "made 0 of 40",
            "made 40 of 40"
        ]
    );
    assert_eq!((lab.arrays().len(), lab.files("part").len()), (1, 0));
    Ok(())
}

#[test]
fn threads_that_want_one_array_make_it_once() -> anyhow::Result<()> {
    let lab = Lab::new(10, 100)?;
    // As separate as processes: each has its own `Sources`.
    let decoded: Vec<u64> = thread::scope(|scope| {
        let make = || {
            let sources = lab.sources();
            let splits = sources.training(&lab.dataset, &settings(32, 0, 0)).unwrap();
            assert_eq!(splits.train.len(), 20);
            sources.decoded()
        };
        let threads: Vec<_> = (0..6).map(|_| scope.spawn(make)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(decoded.iter().sum::<u64>(), 20);
    Ok(())
}

#[test]
fn process_killed_while_it_makes_an_array_leaves_nothing_under_its_name() -> anyhow::Result<()> {
    let lab = Lab::new(20, 900)?;
    let mut child = lab.child(256)?;
    // Its part of pixels has begun, and is not whole.
    let pixels_are_being_written = || lab.files("part").iter().any(|path| length(path) > 4096);
    while !pixels_are_being_written() {
        anyhow::ensure!(child.try_wait()?.is_none(), "ended before it was killed");
        thread::sleep(Duration::from_millis(1));
    }
    child.kill()?;
    assert_eq!(
        child.wait()?.signal(),
        Some(9),
        "ended before it was killed"
    );
    assert_eq!((lab.arrays().len(), lab.files("part").len()), (0, 1));
    // The next one is not held up by its lock, makes the array, and clears up.
    assert_eq!(word_of(lab.child(256)?)?, "made 40 of 40");
    assert_eq!((lab.arrays().len(), lab.files("part").len()), (1, 0));
    Ok(())
}

#[test]
fn damaged_and_foreign_files_are_recognised_and_made_anew() -> anyhow::Result<()> {
    let lab = Lab::new(4, 20)?;
    let expected = lab
        .sources()
        .training(&lab.dataset, &settings(8, 0, 0))?
        .train;
    let path = lab.arrays().pop().context("no array")?;
    let whole = fs::read(&path)?;
    let mut longer = whole.clone();
    longer.push(0);
    let changed = |position: usize| {
        let mut bytes = whole.clone();
        bytes[position] ^= 1;
        bytes
    };
    for (damage, bytes) in [
        ("empty", Vec::new()),
        ("short", whole[..whole.len() - 1].to_vec()),
        ("header alone", whole[..4096].to_vec()),
        ("long", longer),
        ("foreign", vec![7; whole.len()]),
        ("another magic", changed(0)),
        ("another key", changed(8)),
        ("another count", changed(40)),
        ("a count that overflows", changed(47)),
        ("another size", changed(48)),
        ("another label", changed(52)),
        ("another digest", changed(52 + 4 * 8)),
    ] {
        fs::remove_file(&path)?;
        fs::write(&path, bytes)?;
        let torn = inode(&path)?;
        let sources = lab.sources();
        let set = sources.training(&lab.dataset, &settings(8, 0, 0))?.train;
        assert_eq!(sources.decoded(), 8, "{damage}");
        assert_eq!(set, expected, "{damage}");
        assert_ne!(inode(&path)?, torn, "{damage}: replaced, not changed");
    }
    assert_eq!(fs::read(&path)?, whole);
    Ok(())
}

#[test]
fn set_stays_usable_when_its_file_is_deleted() -> anyhow::Result<()> {
    let lab = Lab::new(4, 20)?;
    let set = lab
        .sources()
        .training(&lab.dataset, &settings(8, 0, 0))?
        .train;
    let again = lab
        .sources()
        .training(&lab.dataset, &settings(8, 0, 0))?
        .train;
    assert_eq!(
        set.image(0).as_ptr().align_offset(4096),
        0,
        "a view of the file"
    );
    fs::remove_dir_all(lab.cache())?;
    assert_eq!(set, again);
    Ok(())
}

#[test]
fn use_of_a_file_marks_it_as_used() -> anyhow::Result<()> {
    let lab = Lab::new(4, 20)?;
    lab.sources().training(&lab.dataset, &settings(8, 0, 0))?;
    let path = lab.arrays().pop().context("no array")?;
    let old = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000);
    File::options().write(true).open(&path)?.set_modified(old)?;
    lab.sources().training(&lab.dataset, &settings(8, 0, 0))?;
    assert!(fs::metadata(&path)?.modified()? > old);
    Ok(())
}

#[test]
fn unreadable_image_is_named_and_leaves_nothing() -> anyhow::Result<()> {
    let mut lab = Lab::new(8, 20)?;
    // Of several the first is named, however many threads decode.
    for name in ["0/003.png", "0/005.png", "1/000.png"] {
        let path = lab.root.path().join("pictures/train").join(name);
        write(&path, b"no image")?;
    }
    let source = Source::Folder {
        path: "pictures".to_owned(),
        layout: Layout::ClassFolders,
        list: None,
        manifest: None,
    };
    let fresh = Sources::new(vec![], vec![lab.root.path().to_owned()]);
    lab.dataset = pinned(&fresh, 2, source)?;
    for _ in 0..20 {
        let result = lab.sources().training(&lab.dataset, &settings(8, 0, 0));
        let error = crate::support::bad_input(result, "train/0/003.png");
        assert_matches!(error, DataError::Image { .. });
    }
    assert_eq!((lab.arrays().len(), lab.files("part").len()), (0, 0));
    Ok(())
}

#[test]
fn images_that_the_disk_has_no_room_for_are_refused_before_decoding() -> anyhow::Result<()> {
    let lab = Lab::new(2, 20)?;
    let sources = lab.sources();
    let error = sources
        .training(&lab.dataset, &settings(5_000_000, 0, 0))
        .err();
    let error = error.context("there is room for 300 TB")?;
    let message = error.to_string();
    assert!(message.contains("300000000004096 bytes"), "{message}");
    assert!(
        message.contains(&*lab.cache().to_string_lossy()),
        "{message}"
    );
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_matches!(error, DataError::CacheFull { .. });
    assert_eq!(
        (
            sources.decoded(),
            lab.arrays().len(),
            lab.files("part").len()
        ),
        (0, 0, 0)
    );
    Ok(())
}

#[test]
fn disk_that_fills_up_meanwhile_is_an_error_that_leaves_nothing() -> anyhow::Result<()> {
    let lab = Lab::new(8, 20)?;
    // No file may grow beyond 64 kB, which the system reports as it does a full disk.
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 128; exec \"$0\" \"$@\""]);
    shell.arg(env::current_exe()?);
    let said = word_of(lab.child_of(shell, 100)?)?;
    assert!(said.starts_with("refused Unavailable"), "{said}");
    assert!(said.contains("484096 bytes"), "{said}");
    assert_eq!((lab.arrays().len(), lab.files("part").len()), (0, 0));
    Ok(())
}
