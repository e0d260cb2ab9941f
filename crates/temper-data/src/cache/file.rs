//! The format of a cache file: magic, key, counts and labels with a digest over them, then, at the
//! next page, the pixels. All integers are little-endian.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | magic `TMPRPIX1` |
//! | 32 | digest that is the file's key |
//! | 8 | n, number of images |
//! | 4 | s, side in pixels |
//! | 4 n | labels, `u32[n]` |
//! | 32 | SHA-256 over all that is before |
//! | | zeros up to a multiple of 4096 |
//! | 3 n s² | pixels, `u8[n, 3, s, s]` |
//!
//! Pixels have no digest of their own, which would cost a pass over all of them at each opening:
//! they are on the disk before the file has its name. Bytes that rot later are not noticed.

use std::{
    fs::{File, FileTimes},
    io,
    ops::Deref,
    path::Path,
    sync::Arc,
    time::SystemTime,
};

use temper_core::Digest;

use super::map::Map;
use crate::image_set::image_bytes;

const MAGIC: &[u8; 8] = b"TMPRPIX1";
/// Bytes before the labels.
const FIXED: usize = 8 + 32 + 8 + 4;
const DIGEST: usize = 32;
/// Pixels begin at a multiple of this.
const PAGE: usize = 4096;

/// An open file of the cache.
#[derive(Debug)]
pub(crate) struct Cached {
    /// The label of each row.
    pub(crate) labels: Vec<i64>,
    /// The pixels of all rows.
    pub(crate) pixels: Arc<CachedPixels>,
}

/// The pixels within a mapped file.
#[derive(Debug)]
pub(crate) struct CachedPixels {
    map: Map,
    start: usize,
}

impl Deref for CachedPixels {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map[self.start..]
    }
}

/// All that is before the pixels.
pub(super) fn header(key: Digest, size: u32, labels: &[i64]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(header_bytes(labels.len()));
    bytes.extend(MAGIC);
    bytes.extend(key.as_bytes());
    bytes.extend((labels.len() as u64).to_le_bytes());
    bytes.extend(size.to_le_bytes());
    for &label in labels {
        // Readers checked that labels are classes, of which there are at most u32::MAX.
        bytes.extend(u32::try_from(label).unwrap_or(u32::MAX).to_le_bytes());
    }
    bytes.extend(Digest::of(&bytes).as_bytes());
    bytes.resize(header_bytes(labels.len()), 0);
    bytes
}

/// Opens a file and checks all but its pixels. Marks it as used.
pub(super) fn open(path: &Path, key: Digest, size: u32) -> io::Result<Cached> {
    let file = File::open(path)?;
    let map = Map::of(&file)?;
    let (labels, start) = parse(&map, key, size).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, "not a whole file of the cache")
    })?;
    #[expect(
        clippy::disallowed_methods,
        reason = "tells people how long the file was not used; decides nothing"
    )]
    let now = FileTimes::new().set_modified(SystemTime::now());
    // Another user's file cannot be marked, but used.
    let _ = file.set_times(now);
    let pixels = Arc::new(CachedPixels { map, start });
    Ok(Cached { labels, pixels })
}

/// The labels, and where the pixels begin. None if anything is not as it must be.
fn parse(bytes: &[u8], key: Digest, size: u32) -> Option<(Vec<i64>, usize)> {
    let rest = bytes.strip_prefix(MAGIC)?.strip_prefix(key.as_bytes())?;
    let (images, rest) = rest.split_first_chunk()?;
    let (found_size, _) = rest.split_first_chunk()?;
    let images = usize::try_from(u64::from_le_bytes(*images)).ok()?;
    if u32::from_le_bytes(*found_size) != size {
        return None;
    }
    let length = images
        .checked_mul(image_bytes(size))?
        .checked_add(images.checked_mul(4)?)?
        .checked_add(FIXED + DIGEST + PAGE)?;
    // An upper bound that cannot overflow, so that the exact length cannot either.
    if bytes.len() > length || bytes.len() != header_bytes(images) + images * image_bytes(size) {
        return None;
    }
    let labels_end = FIXED + 4 * images;
    let (head, digest) = bytes[..labels_end + DIGEST].split_at(labels_end);
    if Digest::of(head).as_bytes() != digest {
        return None;
    }
    let labels = head[FIXED..].as_chunks().0.iter();
    let labels = labels.map(|label| i64::from(u32::from_le_bytes(*label)));
    Some((labels.collect(), header_bytes(images)))
}

/// Bytes before the pixels of that many images.
fn header_bytes(images: usize) -> usize {
    (FIXED + 4 * images + DIGEST).next_multiple_of(PAGE)
}
