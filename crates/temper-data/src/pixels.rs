//! From encoded bytes to planar pixels. Orientation tags (Exif) are left alone on purpose: the
//! datasets' own loaders ignore them too, and their published figures are made that way.

use std::io::Cursor;

use fast_image_resize::{
    FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer,
    images::{Image, ImageRef},
};
use image::{ImageFormat, ImageReader, Limits, RgbImage};
use temper_core::catalog::EvalTransform;

use crate::{DataError, ImageFault, Place, split::RawImage};

/// Largest side that is decoded, in pixels.
const MAX_SIDE: u32 = 16_384;
/// Most bytes that one image may take while it is decoded or resized.
const MAX_BYTES: u64 = 512 << 20;

/// Prepares an image as the pretrained head wants it: bicubic (a = -0.5, antialiased) resize of
/// the short side to `transform.resize`, then the centre square of `transform.crop`. The result
/// is planar red, green, blue, `u8[3, crop, crop]`.
///
/// # Errors
/// [`DataError::Image`] when the bytes are no whole JPEG or PNG image, [`DataError::Settings`]
/// when the crop is empty or larger than what is left after the resize.
pub fn eval_image(encoded: &[u8], transform: EvalTransform) -> Result<Vec<u8>, DataError> {
    let EvalTransform {
        resize: short,
        crop,
        ..
    } = transform;
    if crop == 0 || crop > short {
        return Err(DataError::Settings(format!(
            "eval_transform cannot crop {crop} of {short} pixels: `crop` must be from 1 to `resize`"
        )));
    }
    let fault = |source| DataError::Image {
        place: Place::Memory,
        source,
    };
    let image = decode(encoded).map_err(fault)?;
    let (width, height) = short_side_to(short, image.width(), image.height());
    let resized = resize(image, width, height, FilterType::CatmullRom).map_err(fault)?;
    let (left, top) = (crop_start(width, crop), crop_start(height, crop));
    let cropped = image::imageops::crop_imm(&resized, left, top, crop, crop).to_image();
    let mut planar = Vec::new();
    push_planar(&cropped, &mut planar);
    Ok(planar)
}

/// Decodes a JPEG or PNG image, told by its content; grey, alpha and 16-bit become 8-bit RGB.
pub(crate) fn decode(encoded: &[u8]) -> Result<RgbImage, ImageFault> {
    let mut reader = ImageReader::new(Cursor::new(encoded))
        .with_guessed_format()
        .map_err(|error| ImageFault::Undecodable(error.into()))?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits);
    let is_jpeg = reader.format() == Some(ImageFormat::Jpeg);
    let image = reader
        .decode()
        .map_err(ImageFault::Undecodable)?
        .into_rgb8();
    if is_jpeg && !has_jpeg_end(encoded) {
        return Err(ImageFault::Truncated);
    }
    Ok(image)
}

/// Resizes to a square, antialiased bilinear.
pub(crate) fn square(image: RgbImage, size: u32) -> Result<RgbImage, ImageFault> {
    resize(image, size, size, FilterType::Bilinear)
}

/// Decodes the image and writes it as a planar square: `u8[3, size, size]`.
pub(crate) fn square_into(
    image: RawImage,
    size: u32,
    planar: &mut Vec<u8>,
) -> Result<(), ImageFault> {
    let image = match image {
        RawImage::Encoded(bytes) => decode(&bytes)?,
        RawImage::Grey {
            width,
            height,
            bytes,
        } => {
            let rgb = bytes.iter().flat_map(|&value| [value; 3]).collect();
            RgbImage::from_raw(width, height, rgb).ok_or(ImageFault::Shape { width, height })?
        }
    };
    push_planar(&square(image, size)?, planar);
    Ok(())
}

/// Appends the image as `u8[3, height, width]`.
pub(crate) fn push_planar(image: &RgbImage, planar: &mut Vec<u8>) {
    for channel in 0..3 {
        planar.extend(image.as_raw().iter().skip(channel).step_by(3));
    }
}

/// Horizontally, then vertically, rounded to 8 bits in between: Pillow's order. One call of the
/// resizer does it the other way round and differs from Pillow in many pixels.
fn resize(
    image: RgbImage,
    width: u32,
    height: u32,
    filter: FilterType,
) -> Result<RgbImage, ImageFault> {
    let shape = ImageFault::Shape {
        width: image.width(),
        height: image.height(),
    };
    let bytes = |width: u32, height: u32| 3 * u64::from(width) * u64::from(height);
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
fn short_side_to(short: u32, width: u32, height: u32) -> (u32, u32) {
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
fn crop_start(side: u32, crop: u32) -> u32 {
    let cut = side - crop;
    let half = cut / 2;
    if cut % 2 == 1 && half % 2 == 1 {
        half + 1
    } else {
        half
    }
}

/// Whether the last scan of a JPEG is followed by its end marker. Within a scan's data neither
/// marker can appear, since every 0xFF there is escaped.
fn has_jpeg_end(encoded: &[u8]) -> bool {
    let last = |marker: [u8; 2]| encoded.windows(2).rposition(|pair| pair == marker);
    last([0xFF, 0xD9]) > last([0xFF, 0xDA])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gradient(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            image::Rgb([x, y, x + y].map(|value| u8::try_from(value % 256).unwrap_or(0)))
        })
    }

    fn encoded(
        image: impl Into<image::DynamicImage>,
        format: ImageFormat,
    ) -> anyhow::Result<Vec<u8>> {
        let mut bytes = Cursor::new(Vec::new());
        image.into().write_to(&mut bytes, format)?;
        Ok(bytes.into_inner())
    }

    #[test]
    fn pixels_become_planar() {
        let image = RgbImage::from_raw(2, 1, vec![1, 2, 3, 4, 5, 6]);
        let mut planar = Vec::new();
        push_planar(&image.unwrap_or_default(), &mut planar);
        assert_eq!(planar, [1, 4, 2, 5, 3, 6]);
    }

    #[test]
    fn grey_alpha_and_sixteen_bits_become_rgb8() -> anyhow::Result<()> {
        let grey = image::GrayImage::from_raw(2, 1, vec![7, 200]).unwrap_or_default();
        let decoded = decode(&encoded(grey, ImageFormat::Png)?)?;
        assert_eq!(decoded.as_raw(), &[7, 7, 7, 200, 200, 200]);
        let alpha = image::RgbaImage::from_raw(1, 1, vec![1, 2, 3, 0]).unwrap_or_default();
        assert_eq!(
            decode(&encoded(alpha, ImageFormat::Png)?)?.as_raw(),
            &[1, 2, 3]
        );
        let deep: image::ImageBuffer<image::Rgb<u16>, _> =
            image::ImageBuffer::from_raw(1, 1, vec![0, 257, 65_535]).unwrap_or_default();
        assert_eq!(
            decode(&encoded(deep, ImageFormat::Png)?)?.as_raw(),
            &[0, 1, 255]
        );
        Ok(())
    }

    #[test]
    fn truncated_and_foreign_images_are_refused() -> anyhow::Result<()> {
        for format in [ImageFormat::Jpeg, ImageFormat::Png] {
            let whole = encoded(gradient(64, 64), format)?;
            assert!(decode(&whole).is_ok());
            for share in 0..8 {
                let cut = whole.len() * share / 8;
                assert!(decode(&whole[..cut]).is_err(), "{format:?} cut at {cut}");
            }
        }
        assert!(decode(b"GIF89a and the rest of it").is_err());
        Ok(())
    }

    #[test]
    fn a_header_that_promises_a_giant_is_refused() -> anyhow::Result<()> {
        let mut png = encoded(gradient(4, 4), ImageFormat::Png)?;
        png[16..24].copy_from_slice(&[0, 0, 0xFF, 0xFF, 0, 0, 0xFF, 0xFF]);
        let mut checksum = flate2::Crc::new();
        checksum.update(&png[12..29]);
        png[29..33].copy_from_slice(&checksum.sum().to_be_bytes());
        let fault = decode(&png).err();
        let limited = matches!(
            fault,
            Some(ImageFault::Undecodable(image::ImageError::Limits(_)))
        );
        assert!(limited, "{fault:?}");
        Ok(())
    }

    #[test]
    fn downscaling_averages_instead_of_skipping() -> anyhow::Result<()> {
        let stripes = RgbImage::from_fn(64, 64, |x, _| {
            image::Rgb([if x % 2 == 0 { 0 } else { 200 }; 3])
        });
        let small = square(stripes, 8)?;
        let inner = small.get_pixel(4, 4).0[0];
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
    fn eval_image_takes_the_centre() -> anyhow::Result<()> {
        let mut wide = RgbImage::new(60, 20);
        for y in 0..20 {
            for x in 20..40 {
                wide.put_pixel(x, y, image::Rgb([255, 0, 0]));
            }
        }
        let planar = eval_image(
            &encoded(wide, ImageFormat::Png)?,
            EvalTransform {
                resize: 20,
                crop: 16,
                filter: temper_core::catalog::Filter::Bicubic,
            },
        )?;
        assert_eq!(planar.len(), 3 * 16 * 16);
        assert!(planar[..256].iter().all(|red| *red == 255));
        assert!(planar[256..].iter().all(|other| *other == 0));
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
    fn a_crop_larger_than_the_image_is_refused() {
        let error = eval_image(
            &[],
            EvalTransform {
                resize: 10,
                crop: 11,
                filter: temper_core::catalog::Filter::Bicubic,
            },
        )
        .err();
        assert!(matches!(error, Some(DataError::Settings(_))));
    }
}
