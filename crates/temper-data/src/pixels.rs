//! From encoded bytes to planar pixels, as Pillow and torchvision make them: published figures are
//! made with these, and a model sees what its peers see. The formats are told by content.
//!
//! | image | outcome |
//! |---|---|
//! | JPEG, baseline or progressive, any subsampling | the very pixels of Pillow |
//! | JPEG in CMYK or YCCK | read as Adobe writes it, inverted; then Pillow's `convert("RGB")` |
//! | PNG | the very pixels of Pillow, except for 16-bit grey |
//! | WebP, lossless or lossy | the very pixels, or within a level (another decoder); of an animation, the first frame |
//! | grey | three equal planes |
//! | palette | its colours |
//! | alpha, a transparent palette entry | dropped: what is under transparent pixels shows |
//! | 16 bits | the high byte. Pillow does so for colour, but makes grey white from 256 on |
//! | orientation tag (Exif), colour profile | ignored, as torchvision's datasets do |
//! | no bytes at all | [`ImageFault::Empty`] |
//! | a JPEG without its end marker | [`ImageFault::Truncated`]: decoders would fill it up with grey |
//! | a PNG or WebP that ends too early; damage that its decoder notices; another format | [`ImageFault::Undecodable`] |
//! | a header that promises a side over 16 384 pixels or over 512 MiB of pixels | [`ImageFault::Giant`], before any pixel is decoded |
//! | a JPEG of more than 500 scans | [`ImageFault::Undecodable`] |
//!
//! Squares of datasets are made by antialiased bilinear resizing, whatever the aspect. Measured
//! against Pillow from the files' bytes on: `tests/data/parity.rs`.

mod decode;
mod jpeg;
mod resize;

use fast_image_resize::FilterType;
use image::{RgbImage, imageops};
use temper_core::catalog::{EvalTransform, Filter};

use crate::{DataError, ImageFault, Place, split::RawImage};

/// What decoded and resized pixels depend on beside the image: raised by hand when this module
/// changes what it gives; the crates' versions are held to the lock file by a test.
pub(crate) const VERSION: &str = "1 fast_image_resize-6.1.0 image-0.25.10 image-webp-0.2.4 \
                                  mozjpeg-sys-2.2.3 png-0.18.1";
/// The filter of [`square_into`].
pub(crate) const SQUARE_FILTER: &str = "bilinear";

/// Largest side that is decoded, in pixels.
const MAX_SIDE: u32 = 16_384;
/// Most bytes of pixels that one image may have while it is decoded or resized.
const MAX_BYTES: u64 = 512 << 20;

/// Prepares an image as the pretrained head wants it: antialiased resize of
/// the short side to `transform.resize`, then the centre square of `transform.crop`. The result
/// is planar red, green, blue, `u8[3, crop, crop]`.
///
/// # Errors
/// [`DataError::Image`] when the bytes are no whole JPEG, PNG or WebP image,
/// [`DataError::Settings`] when the crop is empty or larger than what is left after the resize.
pub fn eval_image(encoded: &[u8], transform: EvalTransform) -> Result<Vec<u8>, DataError> {
    let (short, crop) = (transform.resize, transform.crop);
    let filter = match transform.filter {
        Filter::Bilinear => FilterType::Bilinear,
        // a = -0.5, as Pillow has it.
        Filter::Bicubic => FilterType::CatmullRom,
    };
    if crop == 0 || crop > short {
        return Err(DataError::Settings(format!(
            "eval_transform cannot crop {crop} of {short} pixels: `crop` must be from 1 to `resize`"
        )));
    }
    let fault = |source| DataError::Image {
        place: Place::Memory,
        source,
    };
    let image = decode::rgb(encoded).map_err(fault)?;
    let (width, height) = resize::short_side_to(short, image.width(), image.height());
    let resized = resize::resize(image, width, height, filter).map_err(fault)?;
    let left = resize::crop_start(width, crop);
    let top = resize::crop_start(height, crop);
    let cropped = imageops::crop_imm(&resized, left, top, crop, crop).to_image();
    let side = crop as usize;
    let mut planar = vec![0; 3 * side * side];
    write_planar(&cropped, &mut planar);
    Ok(planar)
}

/// Decodes the image and writes it as a planar square: `u8[3, size, size]`.
pub(crate) fn square_into(image: RawImage, size: u32, planar: &mut [u8]) -> Result<(), ImageFault> {
    let square = resize::resize(rgb(image)?, size, size, FilterType::Bilinear)?;
    write_planar(&square, planar);
    Ok(())
}

/// The image in 8-bit RGB, as large as it is.
pub(crate) fn rgb(image: RawImage) -> Result<RgbImage, ImageFault> {
    match image {
        RawImage::Encoded(bytes) => decode::rgb(&bytes),
        RawImage::Grey {
            width,
            height,
            bytes,
        } => {
            let rgb = bytes.iter().flat_map(|&value| [value; 3]).collect();
            RgbImage::from_raw(width, height, rgb).ok_or(ImageFault::Shape { width, height })
        }
    }
}

/// Writes the image as `u8[3, height, width]`.
fn write_planar(image: &RgbImage, planar: &mut [u8]) {
    let (pixels, _) = image.as_raw().as_chunks::<3>();
    let (red, rest) = planar.split_at_mut(pixels.len());
    let (green, blue) = rest.split_at_mut(pixels.len());
    for ((([r, g, b], red), green), blue) in pixels.iter().zip(red).zip(green).zip(blue) {
        (*red, *green, *blue) = (*r, *g, *b);
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs, path::Path};

    use image::ImageFormat;

    use super::*;

    #[test]
    fn pixels_become_planar() {
        let image = RgbImage::from_raw(2, 1, vec![1, 2, 3, 4, 5, 6]);
        let mut planar = [0; 6];
        write_planar(&image.unwrap_or_default(), &mut planar);
        assert_eq!(planar, [1, 4, 2, 5, 3, 6]);
    }

    fn transform(resize: u32, crop: u32) -> EvalTransform {
        let filter = Filter::Bicubic;
        EvalTransform {
            resize,
            crop,
            filter,
        }
    }

    #[test]
    fn eval_image_takes_the_centre() -> anyhow::Result<()> {
        let mut wide = RgbImage::new(60, 20);
        for y in 0..20 {
            for x in 20..40 {
                wide.put_pixel(x, y, image::Rgb([255, 0, 0]));
            }
        }
        let encoded = decode::tests::encoded(wide, ImageFormat::Png)?;
        let (resize, crop) = (20, 16);
        let planar = eval_image(&encoded, transform(resize, crop))?;
        assert_eq!(planar.len(), 3 * 16 * 16);
        assert!(planar[..256].iter().all(|red| *red == 255));
        assert!(planar[256..].iter().all(|other| *other == 0));
        Ok(())
    }

    #[test]
    fn a_crop_larger_than_the_image_is_refused() {
        let (resize, crop) = (10, 11);
        let error = eval_image(&[], transform(resize, crop)).err();
        assert!(matches!(error, Some(DataError::Settings(_))));
    }

    #[test]
    fn version_names_the_crates_as_they_are_locked() -> anyhow::Result<()> {
        let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.lock");
        let lock = fs::read_to_string(lock)?;
        let mut locked = BTreeMap::new();
        for package in lock.split("[[package]]") {
            let field = |name: &str| {
                let line = package.lines().find_map(|line| line.strip_prefix(name));
                line.map(|value| value.trim_matches('"'))
            };
            if let (Some(name), Some(version)) = (field("name = "), field("version = ")) {
                locked.insert(name, version);
            }
        }
        for named in VERSION.split(' ').skip(1) {
            let (name, version) = named.rsplit_once('-').unwrap_or_default();
            assert_eq!(
                locked.get(name),
                Some(&version),
                "write it into VERSION: caches made by another {name} are not to be used"
            );
        }
        Ok(())
    }
}
