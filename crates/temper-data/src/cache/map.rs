//! The one place where a file becomes memory.

use std::{fs::File, io, ops::Deref};

/// A file's bytes, read-only, shared by all processes that map it.
#[derive(Debug)]
pub(crate) struct Map(memmap2::Mmap);

impl Map {
    /// Maps the whole file, which nobody may change or truncate while the map lives.
    #[expect(
        unsafe_code,
        reason = "a map is sound while its file stays as it is: files of the cache get their name \
                  when they are whole, and are replaced or removed after that, never changed"
    )]
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        // SAFETY: see the reason above; removing a mapped file keeps its pages.
        unsafe { memmap2::Mmap::map(file) }.map(Self)
    }
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
