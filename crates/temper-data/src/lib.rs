//! Images and pretrained weights: finds the files that a job names, verifies their digests, draws
//! the splits and decodes the drawn images. Synchronous.
//!
//! [`Sources`] is the way in. A reader a format lies behind it, all of one shape: labels first,
//! then the bytes of the samples that were chosen, so that no image is decoded for nothing. They
//! are decoded on all cores, into a file that processes share or into memory.

mod cache;
mod check;
mod decoding;
mod digests;
mod draw;
mod error;
mod idx;
mod image_set;
#[cfg(feature = "clap")]
mod inputs;
mod layouts;
mod memo;
mod mirror;
mod open;
mod pin;
mod pixels;
mod pool;
mod presence;
mod selected;
mod shards;
mod sources;
mod split;
#[cfg(feature = "testing")]
pub mod testing;

pub use check::{Balance, CheckReport, Progress, SplitReport, Spread, Unreadable};
pub use error::{DataError, ImageFault, Place};
pub use image_set::{ImageSet, TrainingSplits};
#[cfg(feature = "clap")]
pub use inputs::Inputs;
pub use pixels::eval_image;
pub use presence::Presence;
pub use sources::Sources;
