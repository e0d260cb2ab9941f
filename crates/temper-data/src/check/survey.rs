//! Reads a split on the calling thread and decodes it on all cores.

use std::{
    error::Error,
    sync::{
        Mutex, PoisonError,
        mpsc::{self, Receiver},
    },
    thread,
};

use image::RgbImage;

use super::{Balance, SplitReport, Spread, Unreadable};
use crate::{
    DataError, ImageFault, Place, pixels,
    split::{RawImage, Split},
};

/// What was seen of a split's images.
#[derive(Debug)]
pub(super) struct Survey {
    /// In the split's order.
    images: Vec<Result<Seen, Unreadable>>,
}

/// What was seen of an image.
#[derive(Debug)]
struct Seen {
    width: u32,
    height: u32,
    /// Mean of each channel, in `[0, 1]`.
    mean: [f64; 3],
    /// Mean of each channel's squares.
    square: [f64; 3],
}

/// Images that could not be read, by index in the split.
type Faults = Vec<(usize, Box<dyn Error>)>;
/// By index in the split.
type Results = Vec<(usize, Result<Seen, ImageFault>)>;

/// Looks at every image. `advance` is told how many were read.
pub(super) fn run(split: &dyn Split, advance: &mut dyn FnMut(usize)) -> Result<Survey, DataError> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let (sender, receiver) = mpsc::sync_channel(4 * threads);
    let (receiver, results) = (Mutex::new(receiver), Mutex::new(Vec::new()));
    let faults = thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| work(&receiver, &results));
        }
        // Dropped on every way out of here, which ends the threads.
        let sender = sender;
        read(split, &mut |index, image| {
            // It fails only when no thread is left, and they outlive the sender.
            let _ = sender.send((index, image));
            advance(index + 1);
        })
    })?;
    let mut images: Vec<Option<Result<Seen, Unreadable>>> = Vec::new();
    images.resize_with(split.labels().len(), || None);
    let unreadable = |index, error: &dyn Error| Unreadable {
        place: split.place(index),
        reason: reasons(error),
    };
    for (index, result) in results.into_inner().unwrap_or_else(PoisonError::into_inner) {
        images[index] = Some(result.map_err(|fault| unreadable(index, &fault)));
    }
    for (index, fault) in faults {
        images[index] = Some(Err(unreadable(index, fault.as_ref())));
    }
    let missing = |index| Err(unreadable(index, &ImageFault::Absent));
    let images = images.into_iter().enumerate();
    Ok(Survey {
        images: images
            .map(|(index, seen)| seen.unwrap_or_else(|| missing(index)))
            .collect(),
    })
}

/// Hands every image to `sink`, with its index. Those that cannot be read are passed over, and
/// returned with the reason.
fn read(split: &dyn Split, sink: &mut dyn FnMut(usize, RawImage)) -> Result<Faults, DataError> {
    let count = split.labels().len();
    let (mut next, mut faults) = (0, Faults::new());
    while next < count {
        let chosen: Vec<usize> = (next..count).collect();
        let mut reached = next;
        let result = split.read(&chosen, &mut |position, image| {
            sink(chosen[position], image);
            reached = chosen[position] + 1;
            Ok(())
        });
        let is_of = |place: &Place| reached < count && split.place(reached) == *place;
        match result {
            Ok(()) => break,
            Err(DataError::Image { place, source }) if is_of(&place) => {
                faults.push((reached, source.into()));
            }
            Err(DataError::Io { path, source }) if is_of(&Place::File(path.clone())) => {
                faults.push((reached, source.into()));
            }
            Err(error) => return Err(error),
        }
        next = reached + 1;
    }
    Ok(faults)
}

/// Decodes until nothing more comes.
fn work(receiver: &Mutex<Receiver<(usize, RawImage)>>, results: &Mutex<Results>) {
    loop {
        let work = receiver
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recv();
        let Ok((index, image)) = work else { return };
        let seen = pixels::rgb(image).map(|image| Seen::of(&image));
        let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
        results.push((index, seen));
    }
}

/// The message and those of its sources.
fn reasons(error: &dyn Error) -> String {
    let mut reasons = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        reasons = format!("{reasons}: {error}");
        source = error.source();
    }
    reasons
}

impl Seen {
    #[expect(
        clippy::cast_precision_loss,
        reason = "sums of bytes of an image stay below 2^53"
    )]
    fn of(image: &RgbImage) -> Self {
        let (mut sums, mut squares) = ([0_u64; 3], [0_u64; 3]);
        for pixel in image.pixels() {
            for ((value, sum), square) in pixel.0.iter().zip(&mut sums).zip(&mut squares) {
                let value = u64::from(*value);
                *sum += value;
                *square += value * value;
            }
        }
        let pixels = f64::from(image.width()) * f64::from(image.height());
        Self {
            width: image.width(),
            height: image.height(),
            mean: sums.map(|sum| sum as f64 / (255.0 * pixels)),
            square: squares.map(|sum| sum as f64 / (255.0 * 255.0 * pixels)),
        }
    }
}

impl Survey {
    pub(super) fn into_report(
        self,
        split: &'static str,
        expected: Option<u32>,
        balance: Balance,
    ) -> SplitReport {
        let images = self.images.len();
        let (mut seen, mut unreadable) = (Vec::new(), Vec::new());
        for image in self.images {
            match image {
                Ok(image) => seen.push(image),
                Err(fault) => unreadable.push(fault),
            }
        }
        let mean = average(seen.iter().map(|seen| seen.mean));
        let square = average(seen.iter().map(|seen| seen.square));
        let std = [0, 1, 2].map(|i| (square[i] - mean[i] * mean[i]).max(0.0).sqrt());
        SplitReport {
            split,
            expected,
            images,
            balance,
            unreadable,
            width: Spread::of(seen.iter().map(|seen| seen.width).collect()),
            height: Spread::of(seen.iter().map(|seen| seen.height).collect()),
            mean,
            std,
        }
    }
}

/// In order, so that the sum does not depend on which thread was first.
#[expect(clippy::cast_precision_loss, reason = "no dataset has 2^53 images")]
fn average(channels: impl ExactSizeIterator<Item = [f64; 3]>) -> [f64; 3] {
    let count = channels.len().max(1) as f64;
    let mut sum = [0.0; 3];
    for values in channels {
        for (sum, value) in sum.iter_mut().zip(values) {
            *sum += value;
        }
    }
    sum.map(|sum| sum / count)
}
