//! Which decoder an image goes to, and what becomes of grey, alpha and 16 bits.

use std::{
    io::Cursor,
    panic::{self, AssertUnwindSafe},
};

use image::{DynamicImage, ImageDecoder as _, ImageFormat, ImageReader, Limits, RgbImage};

use super::{MAX_BYTES, MAX_SIDE, jpeg};
use crate::ImageFault;

/// Decodes an image to 8-bit RGB.
pub(super) fn rgb(encoded: &[u8]) -> Result<RgbImage, ImageFault> {
    if encoded.is_empty() {
        return Err(ImageFault::Empty);
    }
    let decode = || match image::guess_format(encoded) {
        Ok(ImageFormat::Jpeg) => jpeg::rgb(encoded),
        Ok(format @ (ImageFormat::Png | ImageFormat::WebP)) => other(encoded, format),
        Ok(format) => Err(ImageFault::undecodable(format!("it is {format:?}"))),
        Err(error) => Err(ImageFault::undecodable(error)),
    };
    // The JPEG decoder reports damage by unwinding; of the others a panic would be a defect, but
    // theirs, which one odd image in a million must not make ours.
    panic::catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|payload| {
        let reason = payload
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| payload.downcast_ref::<&str>().copied())
            .unwrap_or("the decoder gave up");
        Err(ImageFault::undecodable(reason.to_owned()))
    })
}

/// Refuses what would take too much memory.
pub(super) fn check_size(width: u32, height: u32) -> Result<(), ImageFault> {
    let bytes = 3 * u64::from(width) * u64::from(height);
    if width.max(height) > MAX_SIDE || bytes > MAX_BYTES {
        return Err(ImageFault::Giant { width, height });
    }
    Ok(())
}

/// PNG and WebP.
fn other(encoded: &[u8], format: ImageFormat) -> Result<RgbImage, ImageFault> {
    let mut reader = ImageReader::with_format(Cursor::new(encoded), format);
    let mut limits = Limits::default();
    limits.max_alloc = Some(2 * MAX_BYTES);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(ImageFault::undecodable)?;
    let (width, height) = decoder.dimensions();
    check_size(width, height)?;
    let image = DynamicImage::from_decoder(decoder).map_err(ImageFault::undecodable)?;
    Ok(to_rgb(image))
}

fn to_rgb(mut image: DynamicImage) -> RgbImage {
    match &mut image {
        DynamicImage::ImageLuma16(image) => keep_high_bytes(image),
        DynamicImage::ImageLumaA16(image) => keep_high_bytes(image),
        DynamicImage::ImageRgb16(image) => keep_high_bytes(image),
        DynamicImage::ImageRgba16(image) => keep_high_bytes(image),
        _ => {}
    }
    image.into_rgb8()
}

/// So that the crate's own conversion, which rounds, gives the high byte.
fn keep_high_bytes(values: &mut [u16]) {
    for value in values {
        *value = (*value >> 8) * 257;
    }
}
