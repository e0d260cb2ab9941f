//! How training images are varied: a flip, then torchvision's `ColorJitter`, then its
//! `RandomRotation`, for a whole batch at once, on the device.
//!
//! What happens to a sample is drawn from the sample's own streams of (seed, epoch), so that
//! neither the batch it comes in nor a resumed run changes it.

mod jitter;
mod rotation;

use tch::Tensor;
use temper_core::{
    random::{Keyed, Purpose},
    spec::{Augmentation, ColorJitter},
};

pub use self::jitter::{Adjustment, Jitter};

/// What happens to one sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Variation {
    /// Mirrored at its vertical axis.
    pub mirrored: bool,
    /// Its colours, after that.
    pub jitter: Jitter,
    /// Degrees by which it is rotated counter-clockwise at last, in `[-180, 180]`.
    pub degrees: f64,
}

impl Variation {
    /// The sample as it is.
    pub const NONE: Self = Self {
        mirrored: false,
        jitter: Jitter::NONE,
        degrees: 0.0,
    };

    /// All that libtorch needs to know of it, for images of `side` pixels.
    fn numbers(&self, side: i64) -> Vec<f32> {
        let mut numbers = vec![f32::from(u8::from(self.mirrored))];
        numbers.extend(rotation::numbers(self.degrees, side));
        numbers.extend(self.jitter.numbers());
        numbers
    }
}

/// Draws the variations of `samples`, indices in the training split, in `epoch` of a run with
/// `seed`: a flip with probability 1/2, each factor uniform in `[max(0, 1 - v), 1 + v]`, their
/// order one of all six, the angle uniform in plus or minus so many degrees. What `augmentation`
/// leaves off is not drawn, and changes no other draw.
#[must_use]
pub fn draw(
    augmentation: &Augmentation,
    (seed, epoch): (u64, u32),
    samples: &[usize],
) -> Vec<Variation> {
    let keyed = |purpose, wanted: bool| wanted.then(|| Keyed::new(seed, purpose, epoch, 0));
    let settings = &augmentation.color_jitter;
    let flip = keyed(Purpose::Flip, augmentation.horizontal_flip);
    let jitter = keyed(Purpose::ColorJitter, *settings != ColorJitter::default());
    let angle = keyed(Purpose::Rotation, augmentation.rotation_degrees > 0.0);
    let of_sample = |sample: &usize| {
        let stream = |keyed: &Option<Keyed>| Some(keyed.as_ref()?.stream(*sample as u64));
        Variation {
            mirrored: stream(&flip).is_some_and(|mut stream| stream.bits() & 1 == 1),
            jitter: stream(&jitter).map_or(Jitter::NONE, |mut stream| {
                Jitter::draw(settings, &mut stream)
            }),
            degrees: stream(&angle).map_or(0.0, |mut stream| {
                augmentation.rotation_degrees * f64::from(2.0 * stream.uniform() - 1.0)
            }),
        }
    };
    samples.iter().map(of_sample).collect()
}

/// Images `f32[n, 3, s, s]` in `[0, 1]`, varied as the `n` `variations` say, in `[0, 1]` again;
/// the very same tensor where nothing is varied. What rotation uncovers is black.
pub fn vary(x: &Tensor, variations: &[Variation]) -> Tensor {
    let some = |is: &dyn Fn(&Variation) -> bool| variations.iter().any(is);
    let flips = some(&|variation| variation.mirrored);
    let jitters = some(&|variation| !variation.jitter.is_none());
    let rotates = some(&|variation| variation.degrees != 0.0);
    let mut varied = x.shallow_clone();
    if !(flips || jitters || rotates) {
        return varied;
    }
    let columns = Columns::new(x, variations);
    if flips {
        let mirrored = columns.get(0).gt(0.5);
        varied = varied.flip([3]).where_self(&mirrored, &varied);
    }
    if jitters {
        varied = jitter::apply(varied, |column| columns.get(3 + column));
    }
    if rotates {
        varied = rotation::apply(&varied, &columns.get(1), &columns.get(2));
    }
    varied
}

/// The numbers of all samples on the device, moved there at once.
struct Columns(Tensor);

impl Columns {
    fn new(x: &Tensor, variations: &[Variation]) -> Self {
        let side = x.size()[3];
        let numbers: Vec<f32> = variations.iter().flat_map(|v| v.numbers(side)).collect();
        Self(
            Tensor::from_slice(&numbers)
                .reshape([x.size()[0], -1])
                .to_device(x.device()),
        )
    }

    /// A number of each sample: `f32[n, 1, 1, 1]`.
    fn get(&self, column: i64) -> Tensor {
        self.0.narrow(1, column, 1).reshape([-1, 1, 1, 1])
    }
}
