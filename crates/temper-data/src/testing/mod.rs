//! Small datasets of generated pictures in exactly the layouts that the readers know, for tests.

mod layouts;
mod mat;
mod shards;

use std::{
    fs,
    io::{self, Cursor},
    path::Path,
};

use image::{ImageFormat, RgbImage};
use temper_core::catalog::{Counts, Layout};

pub use self::{
    layouts::write_layout,
    mat::{MatArray, mat_file},
    shards::{LabelColumn, write_parquet},
};
use crate::split::Part;

/// How many images to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Number of classes.
    pub classes: u32,
    /// Training images of each class.
    pub train: u32,
    /// Validation images of each class, where the layout has such a split.
    pub validation: u32,
    /// Test images of each class.
    pub test: u32,
    /// Height of the images in pixels; they are a third wider.
    pub side: u32,
}

/// One image of a plan.
#[derive(Debug, Clone, Copy)]
struct Item {
    class: u32,
    part: Part,
    /// Counted from 0 within class and split.
    index: u32,
}

impl Plan {
    /// What a catalog entry says about the images that [`write_layout`] writes.
    #[must_use]
    pub fn counts(&self, layout: Layout) -> Counts {
        let total = |per_class: u32| Some(self.classes * per_class);
        let validation = total(self.validation).filter(|count| *count > 0);
        let split = Counts {
            train: total(self.train),
            validation: None,
            test: total(self.test),
            all: None,
        };
        match layout {
            Layout::ClassFolders | Layout::List | Layout::FgvcAircraft => Counts {
                validation,
                ..split
            },
            Layout::Cub200 | Layout::StanfordDogs | Layout::StanfordCars => split,
            Layout::Caltech256 => Counts {
                all: total(self.train + self.validation + self.test),
                ..Counts::default()
            },
        }
    }

    /// The images of a split, by class.
    fn items(self, part: Part) -> impl Iterator<Item = Item> {
        let each = match part {
            Part::Train => self.train,
            Part::Validation => self.validation,
            Part::Test => self.test,
        };
        (0..self.classes)
            .flat_map(move |class| (0..each).map(move |index| Item { class, part, index }))
    }
}

/// The plain colour of an image: red tells the class (ten times its number, up to 25 classes),
/// green the split (0, 80 or 160), blue the image (twelve times its number within class and split).
#[must_use]
pub fn colour(class: u32, split: u32, index: u32) -> [u8; 3] {
    let level = |value: u32| u8::try_from(value % 256).unwrap_or(0);
    [
        level(class % 25 * 10),
        level(split * 80),
        level(index % 21 * 12),
    ]
}

/// A JPEG image of [`colour`], `side` pixels high and a third wider.
///
/// # Errors
/// When it cannot be encoded.
pub fn picture(colour: [u8; 3], side: u32) -> io::Result<Vec<u8>> {
    let image = RgbImage::from_pixel(side + side / 3, side, image::Rgb(colour));
    let mut bytes = Cursor::new(Vec::new());
    image
        .write_to(&mut bytes, ImageFormat::Jpeg)
        .map_err(io::Error::other)?;
    Ok(bytes.into_inner())
}

fn item_picture(item: Item, side: u32) -> io::Result<Vec<u8>> {
    picture(colour(item.class, item.part as u32, item.index), side)
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, bytes)
}
