//! JPEG by libjpeg-turbo's decoder (mozjpeg's copy of it), which is Pillow's: pure Rust ones
//! differ from it by up to 7 levels where colour is subsampled. It is C code on bytes that people
//! download; accepted because it is the decoder that browsers run on the same, and these bytes
//! were pinned by digest, all by someone who chose them.

use image::RgbImage;
use mozjpeg::{ColorSpace, Decompress};

use super::decode::check_size;
use crate::ImageFault;

/// Most scans of a progressive image: each costs a pass over all of it, for a few bytes.
const MAX_SCANS: usize = 500;

/// Decodes to RGB. Unwinds on damage.
pub(super) fn rgb(encoded: &[u8]) -> Result<RgbImage, ImageFault> {
    check_markers(encoded)?;
    let decoder = Decompress::new_mem(encoded).map_err(ImageFault::undecodable)?;
    let side = |side| u32::try_from(side).unwrap_or(u32::MAX);
    let (width, height) = (side(decoder.width()), side(decoder.height()));
    check_size(width, height)?;
    let pixels = match decoder.color_space() {
        ColorSpace::JCS_CMYK | ColorSpace::JCS_YCCK => {
            let mut started = decoder
                .to_colorspace(ColorSpace::JCS_CMYK)
                .map_err(ImageFault::undecodable)?;
            let cmyk: Vec<[u8; 4]> = started.read_scanlines().map_err(ImageFault::undecodable)?;
            cmyk.into_iter().flat_map(from_inverted_cmyk).collect()
        }
        _ => {
            let mut started = decoder.rgb().map_err(ImageFault::undecodable)?;
            started.read_scanlines().map_err(ImageFault::undecodable)?
        }
    };
    RgbImage::from_raw(width, height, pixels).ok_or(ImageFault::Shape { width, height })
}

/// Looks for the end marker behind the last scan, and counts scans. Within a scan's data neither
/// marker can appear, since every 0xFF there is escaped.
fn check_markers(encoded: &[u8]) -> Result<(), ImageFault> {
    let mut ended = false;
    let mut scans = 0;
    for pair in encoded.windows(2).filter(|pair| pair[0] == 0xFF) {
        match pair[1] {
            0xD9 => ended = true,
            0xDA => (ended, scans) = (false, scans + 1),
            _ => {}
        }
    }
    if !ended {
        return Err(ImageFault::Truncated);
    }
    if scans > MAX_SCANS {
        return Err(ImageFault::undecodable(format!("it has {scans} scans")));
    }
    Ok(())
}

/// Each of the inks, stored as 255 - ink, against what black leaves.
fn from_inverted_cmyk([c, m, y, k]: [u8; 4]) -> [u8; 3] {
    let left = u32::from(k);
    [c, m, y].map(|inverted| {
        let product = (255 - u32::from(inverted)) * left + 128;
        let darker = ((product >> 8) + product) >> 8;
        u8::try_from(left - darker).unwrap_or(0)
    })
}
