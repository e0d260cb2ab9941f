//! Antialiased resizing in Pillow's order, and sizes as torchvision rounds them.

use fast_image_resize::{
    FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer,
    images::{Image, ImageRef},
};
use image::RgbImage;

use super::MAX_BYTES;
use crate::ImageFault;

/// Horizontally, then vertically, rounded to 8 bits in between: Pillow's order. One call of the
/// resizer does it the other way round and differs from Pillow in many pixels.
pub(super) fn resize(
    image: RgbImage,
    width: u32,
    height: u32,
    filter: FilterType,
) -> Result<RgbImage, ImageFault> {
    let shape = ImageFault::Shape {
        width: image.width(),
        height: image.height(),
    };
    let bytes = |width: u32, height: u32| (3 * u64::from(width)).saturating_mul(height.into());
    let empty = bytes(image.width(), image.height()) == 0 || bytes(width, height) == 0;
    if empty || bytes(width, image.height().max(height)) > MAX_BYTES {
        return Err(shape);
    }
    let source_height = image.height();
    let wide = pass(image, width, source_height, filter)?;
    pass(wide, width, height, filter)
}

fn pass(
    image: RgbImage,
    width: u32,
    height: u32,
    filter: FilterType,
) -> Result<RgbImage, ImageFault> {
    if (image.width(), image.height()) == (width, height) {
        return Ok(image);
    }
    let source = ImageRef::new(
        image.width(),
        image.height(),
        image.as_raw(),
        PixelType::U8x3,
    )
    .map_err(|error| ImageFault::Resize(Box::new(error)))?;
    let mut target = Image::new(width, height, PixelType::U8x3);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter));
    Resizer::new()
        .resize(&source, &mut target, &options)
        .map_err(|error| ImageFault::Resize(Box::new(error)))?;
    RgbImage::from_raw(width, height, target.into_vec()).ok_or(ImageFault::Shape { width, height })
}

/// The size with the short side at `short`; the long one is rounded down, as torchvision does.
pub(super) fn short_side_to(short: u32, width: u32, height: u32) -> (u32, u32) {
    let long = |long: u32, other: u32| {
        let scaled = u64::from(short) * u64::from(long) / u64::from(other.max(1));
        u32::try_from(scaled).unwrap_or(u32::MAX)
    };
    if width <= height {
        (short, long(height, width))
    } else {
        (long(width, height), short)
    }
}

/// Where a centre crop starts: half of what is cut off, halves rounded to even, as torchvision
/// does.
pub(super) fn crop_start(side: u32, crop: u32) -> u32 {
    let cut = side - crop;
    let half = cut / 2;
    if cut % 2 == 1 && half % 2 == 1 {
        half + 1
    } else {
        half
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square(image: RgbImage, size: u32) -> Result<RgbImage, ImageFault> {
        resize(image, size, size, FilterType::Bilinear)
    }

    #[test]
    fn downscaling_averages_instead_of_skipping() -> anyhow::Result<()> {
        let stripes = RgbImage::from_fn(64, 64, |x, _| {
            image::Rgb([if x % 2 == 0 { 0 } else { 200 }; 3])
        });
        let inner = square(stripes, 8)?.get_pixel(4, 4).0[0];
        assert!((90..=110).contains(&inner), "{inner}");
        Ok(())
    }

    #[test]
    fn rows_are_resized_before_columns() -> anyhow::Result<()> {
        // By hand, each pass a mean rounded half up: rows first gives (1, 2), then 2; columns
        // first would give (1, 1), then 1.
        let picture = [0, 1, 2, 1].map(|value| [value; 3]).concat();
        let image = RgbImage::from_raw(2, 2, picture).unwrap_or_default();
        assert_eq!(square(image, 1)?.as_raw(), &[2, 2, 2]);
        Ok(())
    }

    #[test]
    fn sizes_round_as_torchvision_rounds() {
        assert_eq!(short_side_to(256, 500, 375), (341, 256));
        assert_eq!(short_side_to(256, 375, 500), (256, 341));
        assert_eq!(
            [0, 1, 2, 3, 5, 7].map(|cut| crop_start(224 + cut, 224)),
            [0, 0, 1, 2, 2, 4]
        );
    }

    #[test]
    fn a_square_that_no_memory_holds_is_refused() {
        let fault = square(RgbImage::new(2, 2), u32::MAX).err();
        assert!(matches!(fault, Some(ImageFault::Shape { .. })), "{fault:?}");
    }
}
