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
    let bytes = (3 * u64::from(width)).saturating_mul(height.into());
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn gradient(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            image::Rgb([x, y, x + y].map(|value| u8::try_from(value % 256).unwrap_or(0)))
        })
    }

    pub(in crate::pixels) fn encoded(
        image: impl Into<DynamicImage>,
        format: ImageFormat,
    ) -> anyhow::Result<Vec<u8>> {
        let mut bytes = Cursor::new(Vec::new());
        image.into().write_to(&mut bytes, format)?;
        Ok(bytes.into_inner())
    }

    /// The PNG with another size in its header, and the header's checksum mended.
    fn resized_header(mut png: Vec<u8>, width: u32, height: u32) -> Vec<u8> {
        png[16..20].copy_from_slice(&width.to_be_bytes());
        png[20..24].copy_from_slice(&height.to_be_bytes());
        let mut checksum = flate2::Crc::new();
        checksum.update(&png[12..29]);
        png[29..33].copy_from_slice(&checksum.sum().to_be_bytes());
        png
    }

    #[test]
    fn grey_alpha_and_sixteen_bits_become_rgb8() -> anyhow::Result<()> {
        let grey = image::GrayImage::from_raw(2, 1, vec![7, 200]).unwrap_or_default();
        let decoded = rgb(&encoded(grey, ImageFormat::Png)?)?;
        assert_eq!(decoded.as_raw(), &[7, 7, 7, 200, 200, 200]);
        let alpha = image::RgbaImage::from_raw(1, 1, vec![1, 2, 3, 0]).unwrap_or_default();
        for format in [ImageFormat::Png, ImageFormat::WebP] {
            let decoded = rgb(&encoded(alpha.clone(), format)?)?;
            assert_eq!(decoded.as_raw(), &[1, 2, 3], "{format:?}");
        }
        let deep: image::ImageBuffer<image::Rgb<u16>, _> =
            image::ImageBuffer::from_raw(1, 1, vec![255, 511, 65_535]).unwrap_or_default();
        let decoded = rgb(&encoded(deep, ImageFormat::Png)?)?;
        assert_eq!(decoded.as_raw(), &[0, 1, 255], "the high bytes");
        let deep: image::ImageBuffer<image::Luma<u16>, _> =
            image::ImageBuffer::from_raw(1, 1, vec![30_000]).unwrap_or_default();
        let decoded = rgb(&encoded(deep, ImageFormat::Png)?)?;
        assert_eq!(decoded.as_raw(), &[117; 3], "the high byte");
        Ok(())
    }

    #[test]
    fn truncated_images_are_refused_wherever_they_end() -> anyhow::Result<()> {
        for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP] {
            let whole = encoded(gradient(64, 64), format)?;
            assert!(rgb(&whole).is_ok());
            // The last bytes of a PNG are the checksum of an empty chunk: nothing to lose.
            let ends = (0..8).map(|share| whole.len() * share / 8);
            for cut in ends.chain([whole.len() - 20]) {
                assert!(rgb(&whole[..cut]).is_err(), "{format:?} cut at {cut}");
            }
        }
        Ok(())
    }

    #[test]
    fn a_jpeg_that_lacks_only_its_end_marker_is_refused() -> anyhow::Result<()> {
        let whole = encoded(gradient(64, 64), ImageFormat::Jpeg)?;
        let fault = rgb(&whole[..whole.len() - 2]).err();
        assert!(matches!(fault, Some(ImageFault::Truncated)), "{fault:?}");
        Ok(())
    }

    #[test]
    fn no_bytes_and_other_formats_have_their_own_faults() {
        assert!(matches!(rgb(b""), Err(ImageFault::Empty)));
        let fault = rgb(b"GIF89a and the rest of it").err();
        let Some(ImageFault::Undecodable(source)) = fault else {
            panic!("{fault:?}");
        };
        assert_eq!(source.to_string(), "it is Gif");
        let fault = rgb(b"no image").err();
        assert!(
            matches!(fault, Some(ImageFault::Undecodable(_))),
            "{fault:?}"
        );
    }

    #[test]
    fn damage_that_the_jpeg_decoder_unwinds_on_is_a_fault_with_its_words() -> anyhow::Result<()> {
        let mut jpeg = encoded(gradient(64, 64), ImageFormat::Jpeg)?;
        let tables = jpeg.windows(2).position(|pair| pair == [0xFF, 0xC4]);
        // A Huffman table of a kind that there is not.
        jpeg[tables.unwrap_or_default() + 4] = 0x55;
        let fault = rgb(&jpeg).err();
        let Some(ImageFault::Undecodable(source)) = fault else {
            panic!("{fault:?}");
        };
        assert!(source.to_string().contains("libjpeg"), "{source}");
        Ok(())
    }

    #[test]
    fn headers_that_promise_giants_are_refused_before_decoding() -> anyhow::Result<()> {
        let png = encoded(gradient(4, 4), ImageFormat::Png)?;
        let mut jpeg = encoded(gradient(4, 4), ImageFormat::Jpeg)?;
        let frame = jpeg.windows(2).position(|pair| pair == [0xFF, 0xC0]);
        let size = frame.unwrap_or_default() + 5;
        jpeg[size..size + 4].copy_from_slice(&[0x80; 4]);
        let wide = resized_header(png.clone(), 1 << 17, 4);
        let large = resized_header(png, 16_000, 16_000);
        for bomb in [wide, large, jpeg] {
            let fault = rgb(&bomb).err();
            assert!(matches!(fault, Some(ImageFault::Giant { .. })), "{fault:?}");
        }
        Ok(())
    }

    #[test]
    fn a_jpeg_of_very_many_scans_is_refused() -> anyhow::Result<()> {
        let jpeg = encoded(gradient(16, 16), ImageFormat::Jpeg)?;
        let scan = jpeg.windows(2).position(|pair| pair == [0xFF, 0xDA]);
        let (head, rest) = jpeg.split_at(scan.unwrap_or_default());
        let scans = rest[..rest.len() - 2].repeat(600);
        let fault = rgb(&[head, &scans, &[0xFF, 0xD9]].concat()).err();
        let Some(ImageFault::Undecodable(source)) = fault else {
            panic!("{fault:?}");
        };
        assert_eq!(source.to_string(), "it has 600 scans");
        Ok(())
    }
}
