//! The layouts of image folders.

use std::{io, path::Path};

use temper_core::catalog::Layout;

use super::{Item, MatArray, Plan, item_picture, mat_file, write};
use crate::split::Part;

/// Writes the planned images below `folder`, in the layout; what an entry's counts say of them is
/// [`Plan::counts`]. A list is `list.csv`.
///
/// # Errors
/// When a file cannot be written.
pub fn write_layout(folder: &Path, layout: Layout, plan: Plan) -> io::Result<()> {
    match layout {
        Layout::ClassFolders => class_folders(folder, plan),
        Layout::List => list(folder, plan),
        Layout::Cub200 => cub200(folder, plan),
        Layout::StanfordDogs => dogs(folder, plan),
        Layout::Caltech256 => caltech256(folder, plan),
        Layout::StanfordCars => cars(folder, plan),
        Layout::FgvcAircraft => aircraft(folder, plan),
    }
}

/// All images, by split.
fn all(plan: Plan) -> impl Iterator<Item = Item> {
    Part::ALL.into_iter().flat_map(move |part| plan.items(part))
}

fn class_folders(folder: &Path, plan: Plan) -> io::Result<()> {
    for item in all(plan) {
        let Item { class, part, index } = item;
        let path = format!("{}/class-{class:03}/{index:04}.jpg", part.name());
        write(&folder.join(path), &item_picture(item, plan.side)?)?;
    }
    Ok(())
}

fn list(folder: &Path, plan: Plan) -> io::Result<()> {
    let mut lines = vec!["split,path,label\n".to_owned()];
    for item in all(plan) {
        let Item { class, part, index } = item;
        let part = part.name();
        let path = format!("pictures/{part}-{class}-{index}.jpg");
        write(&folder.join(&path), &item_picture(item, plan.side)?)?;
        lines.push(format!("{part},{path},{class}\n"));
    }
    write(&folder.join("list.csv"), lines.concat().as_bytes())
}

fn cub200(folder: &Path, plan: Plan) -> io::Result<()> {
    let (mut images, mut labels, mut splits) = (Vec::new(), Vec::new(), Vec::new());
    // The archive numbers its images class by class, the splits mixed.
    let mut items: Vec<Item> = plan
        .items(Part::Train)
        .chain(plan.items(Part::Test))
        .collect();
    items.sort_by_key(|item| (item.class, item.index, item.part as u32));
    for (id, item) in (1..).zip(items) {
        let class = item.class + 1;
        let path = format!("{class:03}.Made_Bird/Made_Bird_{id:04}_{}.jpg", 100 + id);
        write(
            &folder.join("images").join(&path),
            &item_picture(item, plan.side)?,
        )?;
        images.push(format!("{id} {path}\n"));
        labels.push(format!("{id} {class}\n"));
        splits.push(format!("{id} {}\n", u32::from(item.part == Part::Train)));
    }
    write(&folder.join("images.txt"), images.concat().as_bytes())?;
    write(
        &folder.join("image_class_labels.txt"),
        labels.concat().as_bytes(),
    )?;
    write(
        &folder.join("train_test_split.txt"),
        splits.concat().as_bytes(),
    )
}

fn dogs(folder: &Path, plan: Plan) -> io::Result<()> {
    for part in [Part::Train, Part::Test] {
        let (mut files, mut annotations, mut labels) = (Vec::new(), Vec::new(), Vec::new());
        for item in plan.items(part) {
            let synset = format!("n{:08}", 2_085_620 + item.class);
            let number = 1000 * item.part as u32 + item.index;
            let path = format!("{synset}-Made_dog/{synset}_{number}");
            let image = format!("{path}.jpg");
            write(
                &folder.join("Images").join(&image),
                &item_picture(item, plan.side)?,
            )?;
            files.push(MatArray::Text(image));
            annotations.push(MatArray::Text(path));
            labels.push(f64::from(item.class + 1));
        }
        let list = mat_file(&[
            ("file_list", MatArray::Cells(files)),
            ("annotation_list", MatArray::Cells(annotations)),
            ("labels", MatArray::Doubles(labels)),
        ])?;
        write(&folder.join(format!("{}_list.mat", part.name())), &list)?;
    }
    Ok(())
}

fn caltech256(folder: &Path, plan: Plan) -> io::Result<()> {
    for class in 0..plan.classes {
        let items = all(plan).filter(|item| item.class == class);
        let name = format!("{:03}.made-{class}", class + 1);
        for (number, item) in (1..).zip(items) {
            let path = format!("{name}/{:03}_{number:04}.jpg", class + 1);
            write(&folder.join(path), &item_picture(item, plan.side)?)?;
        }
    }
    // What the archive has, too, and what is no image.
    let picture = super::picture([0; 3], plan.side)?;
    write(
        &folder.join("001.made-0/greg/vision309/001_0001.jpg"),
        &picture,
    )?;
    write(&folder.join("001.made-0/RENAME2"), b"")
}

fn cars(folder: &Path, plan: Plan) -> io::Result<()> {
    for (part, images, annotations) in [
        (Part::Train, "cars_train", "devkit/cars_train_annos.mat"),
        (Part::Test, "cars_test", "cars_test_annos_withlabels.mat"),
    ] {
        let mut values = Vec::new();
        for (number, item) in (1..).zip(plan.items(part)) {
            let name = format!("{number:05}.jpg");
            write(
                &folder.join(images).join(&name),
                &item_picture(item, plan.side)?,
            )?;
            let side = f64::from(plan.side);
            let numbers = [1.0, 1.0, side, side, f64::from(item.class + 1)];
            values.extend(numbers.map(|number| MatArray::Doubles(vec![number])));
            values.push(MatArray::Text(name));
        }
        let fields = ["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname"];
        let list = mat_file(&[("annotations", MatArray::Structs(fields.to_vec(), values))])?;
        write(&folder.join(annotations), &list)?;
    }
    Ok(())
}

fn aircraft(folder: &Path, plan: Plan) -> io::Result<()> {
    // Not in byte order, for the list's order counts.
    let variant = |class: u32| format!("Made {} F/A", plan.classes - class);
    let data = folder.join("data");
    let variants: String = (0..plan.classes)
        .map(|class| variant(class) + "\n")
        .collect();
    write(&data.join("variants.txt"), variants.as_bytes())?;
    for (part, name) in [
        (Part::Train, "train"),
        (Part::Validation, "val"),
        (Part::Test, "test"),
    ] {
        let mut lines = Vec::new();
        for (number, item) in (1_u32..).zip(plan.items(part)) {
            let id = format!("{:07}", 1_000_000 * (item.part as u32 + 1) + number);
            let path = data.join(format!("images/{id}.jpg"));
            write(&path, &item_picture(item, plan.side)?)?;
            lines.push(format!("{id} {}\n", variant(item.class)));
        }
        write(
            &data.join(format!("images_variant_{name}.txt")),
            lines.concat().as_bytes(),
        )?;
    }
    Ok(())
}
