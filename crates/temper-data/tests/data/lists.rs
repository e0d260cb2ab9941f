//! What the lists of the layouts may say, and what not.

use std::{fs, path::Path};

use temper_core::catalog::{Counts, DatasetEntry, Layout};
use temper_data::{
    DataError,
    testing::{MatArray, Plan, mat_file},
};

use crate::{
    layouts::{PLAN, described, fault, made, origin, sources},
    support::{assert_matches, pinned_entry, settings, write},
};

/// One list of a layout, written anew with these two lines or entries: path and label.
fn relist(folder: &Path, layout: Layout, items: &[(&str, u32)]) -> anyhow::Result<()> {
    let lines = |of: &dyn Fn(usize, &str, u32) -> String| {
        let lines = items.iter().enumerate();
        lines
            .map(|(i, (path, label))| of(i, path, *label))
            .collect::<String>()
    };
    let texts = items
        .iter()
        .map(|(path, _)| MatArray::Text((*path).to_owned()));
    let numbers = items.iter().map(|(_, label)| f64::from(*label));
    match layout {
        Layout::List => {
            let lines = lines(&|_, path, label| format!("{label},{path},train\n"));
            write(
                &folder.join("list.csv"),
                format!("label,path,split\n{lines}").as_bytes(),
            )?;
        }
        Layout::Cub200 => {
            let images = lines(&|i, path, _| format!("{i} {path}\n"));
            let labels = lines(&|i, _, label| format!("{i} {label}\n"));
            let splits = lines(&|i, _, _| format!("{i} 1\n"));
            write(&folder.join("images.txt"), images.as_bytes())?;
            write(&folder.join("image_class_labels.txt"), labels.as_bytes())?;
            write(&folder.join("train_test_split.txt"), splits.as_bytes())?;
        }
        Layout::StanfordDogs => {
            let list = mat_file(&[
                ("file_list", MatArray::Cells(texts.collect())),
                ("labels", MatArray::Doubles(numbers.collect())),
            ])?;
            write(&folder.join("train_list.mat"), &list)?;
        }
        Layout::StanfordCars => {
            let numbers = numbers.map(|number| MatArray::Doubles(vec![number]));
            let values = texts.zip(numbers).flat_map(|(text, number)| [text, number]);
            let annotations = MatArray::Structs(vec!["fname", "class"], values.collect());
            let list = mat_file(&[("annotations", annotations)])?;
            write(&folder.join("devkit/cars_train_annos.mat"), &list)?;
        }
        _ => anyhow::bail!("not of this layout"),
    }
    Ok(())
}

#[test]
fn labels_outside_the_classes_are_named_by_list_and_place() -> anyhow::Result<()> {
    for (layout, first, label, place) in [
        (Layout::List, "pictures/train-0-0.jpg", 5, "line 3 of"),
        (
            Layout::Cub200,
            "001.Made_Bird/Made_Bird_0001_101.jpg",
            6,
            "line 2 of",
        ),
        (
            Layout::Cub200,
            "001.Made_Bird/Made_Bird_0001_101.jpg",
            0,
            "line 2 of",
        ),
        (
            Layout::StanfordDogs,
            "n02085620-Made_dog/n02085620_0.jpg",
            6,
            "entry 1 of",
        ),
        (Layout::StanfordCars, "00001.jpg", 0, "entry 1 of"),
    ] {
        let root = made(layout, PLAN)?;
        relist(
            &root.path().join("made"),
            layout,
            &[(first, 1), ("other.jpg", label)],
        )?;
        let error = fault(root.path(), layout, place)?;
        assert_matches!(error, DataError::Label { classes: 5, .. });
    }
    Ok(())
}

#[test]
fn least_number_that_there_is_is_a_label_outside_the_classes() -> anyhow::Result<()> {
    let root = made(Layout::Cub200, PLAN)?;
    let list = root.path().join("made/image_class_labels.txt");
    let labels = fs::read_to_string(&list)?;
    let least = labels.replacen("1 1\n", &format!("1 {}\n", i128::MIN), 1);
    write(&list, least.as_bytes())?;
    let error = fault(root.path(), Layout::Cub200, "line 1 of")?;
    assert_matches!(error, DataError::Label { classes: 5, .. });
    Ok(())
}

#[test]
fn paths_that_leave_the_folder_are_refused() -> anyhow::Result<()> {
    for layout in [
        Layout::List,
        Layout::Cub200,
        Layout::StanfordDogs,
        Layout::StanfordCars,
    ] {
        for path in ["../../../secret.jpg", "a/../../../../secret.jpg"] {
            let root = made(layout, PLAN)?;
            write(&root.path().join("secret.jpg"), b"secret")?;
            relist(&root.path().join("made"), layout, &[(path, 1)])?;
            assert_matches!(fault(root.path(), layout, path)?, DataError::UnsafePath(_));
        }
    }
    Ok(())
}

#[test]
fn image_that_is_named_twice_is_refused() -> anyhow::Result<()> {
    let root = made(Layout::List, PLAN)?;
    let twice = [("pictures/train-0-0.jpg", 0), ("pictures/train-0-0.jpg", 1)];
    relist(&root.path().join("made"), Layout::List, &twice)?;
    let error = fault(root.path(), Layout::List, "train-0-0.jpg")?;
    assert!(error.to_string().contains("was named before"), "{error}");
    Ok(())
}

#[test]
fn class_names_of_a_list_are_numbered_in_byte_order() -> anyhow::Result<()> {
    let root = made(Layout::List, PLAN)?;
    let list = "path, note, split, label\n\
                pictures/train-3-0.jpg,\"a, b\", train, zebra\n\
                pictures/train-1-0.jpg,, test, Cat\n\
                pictures/train-2-0.jpg,, val, dog\n";
    write(&root.path().join("made/list.csv"), list.as_bytes())?;
    let named = Plan { classes: 3, ..PLAN };
    let entry = DatasetEntry {
        counts: Counts::default(),
        ..described(Layout::List, named)
    };
    let sources = sources(root.path());
    let dataset = pinned_entry(&sources, entry)?;
    let splits = sources.training(&dataset, &settings(4, 0, 1))?;
    assert_eq!(splits.train.labels, [2]);
    assert_eq!(splits.validation.labels, [1]);
    let test = sources.test(&dataset, &settings(4, 0, 0), 0)?;
    assert_eq!(
        (test.labels.as_slice(), origin(test.image(0)).0),
        ([0].as_slice(), 1)
    );
    let error = fault(root.path(), Layout::List, "3 different names")?;
    assert_matches!(error, DataError::Layout { .. });
    Ok(())
}

#[test]
fn lists_that_contradict_themselves_are_refused() -> anyhow::Result<()> {
    for (layout, list, text, reason) in [
        (
            Layout::List,
            "list.csv",
            "path,label\n",
            "no column `split`",
        ),
        (
            Layout::List,
            "list.csv",
            "path,label,split\na,0\n",
            "no CSV",
        ),
        (
            Layout::List,
            "list.csv",
            "path,label,split\na,0,dev\n",
            "the split `dev`",
        ),
        (
            Layout::Cub200,
            "image_class_labels.txt",
            "1 1\n",
            "no line for the image `2`",
        ),
        (
            Layout::Cub200,
            "image_class_labels.txt",
            "1 one\n",
            "whole number",
        ),
        (
            Layout::Cub200,
            "train_test_split.txt",
            "1 2\n",
            "split 2, not 0 or 1",
        ),
        (
            Layout::Cub200,
            "images.txt",
            "1 001.Made_Bird/Made_Bird_0001_101.jpg\n",
            "30 images, not 1",
        ),
        (Layout::Cub200, "images.txt", "word\n", "not two words"),
        (
            Layout::StanfordDogs,
            "train_list.mat",
            "MATLAB",
            "ends within its header",
        ),
        (
            Layout::FgvcAircraft,
            "data/variants.txt",
            "A\nB\n",
            "2 different variants",
        ),
        (
            Layout::FgvcAircraft,
            "data/images_variant_val.txt",
            "1 None\n",
            "`None`, which is none",
        ),
    ] {
        let root = made(layout, PLAN)?;
        write(&root.path().join("made").join(list), text.as_bytes())?;
        let error = fault(root.path(), layout, reason)?;
        assert_matches!(error, DataError::Layout { .. } | DataError::Damaged { .. });
    }
    Ok(())
}
