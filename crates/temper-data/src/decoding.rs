//! Decodes a selection of a split: the calling thread reads, all cores decode.

use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    sync::{
        Mutex, PoisonError,
        mpsc::{self, Receiver, SyncSender},
    },
    thread,
};

use crate::{
    DataError, ImageFault,
    cache::Room,
    image_set::image_bytes,
    pixels,
    split::{RawImage, Split},
};

/// Where one image's pixels go.
pub(crate) enum Slot<'a> {
    /// Into memory.
    Memory(&'a mut [u8]),
    /// To an offset of a file, in bytes.
    File(&'a File, u64, &'a Room),
}

/// An image on its way.
struct Work<'a> {
    position: usize,
    image: RawImage,
    slot: Slot<'a>,
}

/// What went wrong with an image.
enum Failure {
    Image(ImageFault),
    Written(DataError),
}

/// Decodes the samples `chosen` of the split to squares of `size` pixels, the n-th into the n-th
/// slot. Of several unreadable images the first is reported.
pub(crate) fn decode<'a>(
    split: &dyn Split,
    chosen: &[usize],
    size: u32,
    mut slots: impl Iterator<Item = Slot<'a>>,
) -> Result<(), DataError> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    // Enough that neither side waits for the other's hiccups; each is some 100 kB.
    let (sender, receiver) = mpsc::sync_channel(4 * threads);
    let receiver = Mutex::new(receiver);
    let failures = Mutex::new(Vec::new());
    let mut reached = 0;
    let read = thread::scope(|scope| {
        // Dropped on every way out of here, which ends the decoders.
        let sender: SyncSender<Work> = sender;
        for n in 0..threads {
            thread::Builder::new()
                .name(format!("decode-{n}"))
                .spawn_scoped(scope, || work(&receiver, size, &failures))
                .map_err(DataError::Threads)?;
        }
        split.read(chosen, &mut |position, image| {
            if let Some((position, failure)) = lock(&failures).pop() {
                let failure = failure.into_error(split, chosen[position]);
                reached = position;
                return Err(failure);
            }
            reached = position + 1;
            if let Some(slot) = slots.next() {
                // It fails only when no decoder is left, and they outlive the sender.
                let _ = sender.send(Work {
                    position,
                    image,
                    slot,
                });
            }
            Ok(())
        })
    });
    let failures = failures
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    let first = failures.into_iter().min_by_key(|(position, _)| *position);
    match (first, read) {
        // The reader was stopped at an image before this one, or never.
        (Some((position, failure)), Ok(())) => Err(failure.into_error(split, chosen[position])),
        (Some((position, failure)), Err(_)) if position < reached => {
            Err(failure.into_error(split, chosen[position]))
        }
        (_, Err(error)) => Err(error),
        (None, Ok(())) if reached < chosen.len() => Err(DataError::Image {
            place: split.place(chosen[reached]),
            source: ImageFault::Absent,
        }),
        (None, Ok(())) => Ok(()),
    }
}

/// Decodes until nothing more comes.
fn work(receiver: &Mutex<Receiver<Work>>, size: u32, failures: &Mutex<Vec<(usize, Failure)>>) {
    let mut scratch = Vec::new();
    loop {
        let work = lock(receiver).recv();
        let Ok(work) = work else { return };
        let position = work.position;
        if let Err(failure) = work.run(size, &mut scratch) {
            lock(failures).push((position, failure));
        }
    }
}

impl Work<'_> {
    fn run(self, size: u32, scratch: &mut Vec<u8>) -> Result<(), Failure> {
        match self.slot {
            Slot::Memory(pixels) => {
                pixels::square_into(self.image, size, pixels).map_err(Failure::Image)
            }
            Slot::File(file, offset, room) => {
                scratch.resize(image_bytes(size), 0);
                pixels::square_into(self.image, size, scratch).map_err(Failure::Image)?;
                let written = file.write_all_at(scratch, offset);
                written.map_err(|error| Failure::Written(room.fault(error)))
            }
        }
    }
}

impl Failure {
    fn into_error(self, split: &dyn Split, index: usize) -> DataError {
        match self {
            Self::Image(source) => DataError::Image {
                place: split.place(index),
                source,
            },
            Self::Written(error) => error,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
