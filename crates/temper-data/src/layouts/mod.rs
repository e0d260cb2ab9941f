//! Folders of image files, in the layouts that people have them: class folders, a list, and those
//! of the archives that datasets' authors ship. A reader a layout, all of which yield a [`Listing`]:
//! the images of each official split with their labels, and the files that say so.
//!
//! Images are told by their names' ends: jpg, jpeg, png, webp. Where a folder is listed, other files are
//! passed over, and so is all whose name starts with a dot; where a list names the images, exactly
//! those are taken, and each must be there.

mod aircraft;
mod caltech256;
mod cars;
mod class_folders;
mod cub200;
mod dogs;
mod list;
mod listing;
mod mat;
mod root;
mod text;

use std::path::PathBuf;

use temper_core::catalog::{Counts, Layout};

pub(crate) use self::listing::Listing;
use self::root::Root;
use crate::DataError;

/// A folder as a catalog entry describes it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Described<'a> {
    /// Relative to a folder root.
    pub(crate) path: &'a str,
    pub(crate) layout: Layout,
    /// The layout `list`'s, relative to the folder.
    pub(crate) list: Option<&'a str>,
    pub(crate) classes: u32,
    pub(crate) counts: Counts,
}

impl Described<'_> {
    /// Lists the folder below the first of the roots that has it.
    pub(crate) fn open(self, roots: &[PathBuf]) -> Result<Listing, DataError> {
        let root = Root::open(roots, self.path)?;
        let listing = match self.layout {
            Layout::ClassFolders => class_folders::read(&root, self.classes),
            Layout::List => list::read(&root, self.list, self.classes),
            Layout::Cub200 => cub200::read(&root, self.classes),
            Layout::StanfordDogs => dogs::read(&root, self.classes),
            Layout::Caltech256 => caltech256::read(&root, self.classes),
            Layout::StanfordCars => cars::read(&root, self.classes),
            Layout::FgvcAircraft => aircraft::read(&root, self.classes),
        }?;
        if self.layout == Layout::Caltech256 && self.counts.all.is_none() {
            let reason = "this layout has no official splits: its entry needs `counts.all` and \
                          `draw.test`";
            return Err(DataError::layout(root.folder(), reason));
        }
        Ok(listing)
    }
}
