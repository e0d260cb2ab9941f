//! A writer of MATLAB's MAT files of version 5, compressed, for the lists that come in them.
//! Held against scipy's reader: `parity/make_mat.py`.

use std::io::{self, Write as _};

use flate2::{Compression, write::ZlibEncoder};

/// An array of a MAT file, as one column.
#[derive(Debug, Clone, PartialEq)]
pub enum MatArray {
    /// Numbers in double precision.
    Doubles(Vec<f64>),
    /// One line of text.
    Text(String),
    /// A cell array.
    Cells(Vec<MatArray>),
    /// A struct array: the fields' names, and all fields of the first element, then of the next.
    Structs(Vec<&'static str>, Vec<MatArray>),
}

/// The bytes of a file with these variables.
///
/// # Errors
/// When there are more than 4 GiB of them.
pub fn mat_file(variables: &[(&str, MatArray)]) -> io::Result<Vec<u8>> {
    let mut file = b"MATLAB 5.0 MAT-file, made for a test".to_vec();
    file.resize(124, b' ');
    file.extend_from_slice(&0x0100_u16.to_le_bytes());
    file.extend_from_slice(b"IM");
    for (name, array) in variables {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&array.element(name)?)?;
        let compressed = encoder.finish()?;
        // The only element that is not filled up to 8 bytes.
        file.extend(tag(15, compressed.len())?);
        file.extend(compressed);
    }
    Ok(file)
}

impl MatArray {
    fn element(&self, name: &str) -> io::Result<Vec<u8>> {
        let (class, rows): (u32, usize) = match self {
            Self::Cells(cells) => (1, cells.len()),
            Self::Structs(fields, values) => (2, values.len() / fields.len().max(1)),
            Self::Text(text) => (4, text.encode_utf16().count()),
            Self::Doubles(numbers) => (6, numbers.len()),
        };
        // A text is a row, all else a column.
        let (rows, columns) = match self {
            Self::Text(_) => (1, rows),
            _ => (rows, 1),
        };
        let mut parts = Vec::new();
        put(&mut parts, 6, &[class.to_le_bytes(), [0; 4]].concat())?;
        let sides = [rows, columns].map(|side| i32::try_from(side).unwrap_or(i32::MAX));
        put(&mut parts, 5, &sides.map(i32::to_le_bytes).concat())?;
        put(&mut parts, 1, name.as_bytes())?;
        match self {
            Self::Doubles(numbers) => {
                let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
                put(&mut parts, 9, &bytes)?;
            }
            Self::Text(text) => {
                let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
                put(&mut parts, 17, &bytes)?;
            }
            Self::Cells(cells) => {
                for cell in cells {
                    parts.extend(cell.element("")?);
                }
            }
            Self::Structs(fields, values) => {
                const LENGTH: usize = 32;
                put(&mut parts, 5, &32_i32.to_le_bytes())?;
                let mut names = Vec::new();
                for field in fields {
                    names.extend_from_slice(field.as_bytes());
                    names.resize(names.len().next_multiple_of(LENGTH), 0);
                }
                put(&mut parts, 1, &names)?;
                for value in values {
                    parts.extend(value.element("")?);
                }
            }
        }
        let mut element = Vec::new();
        put(&mut element, 14, &parts)?;
        Ok(element)
    }
}

/// Appends an element: a small one where its data have at most 4 bytes.
fn put(to: &mut Vec<u8>, kind: u32, data: &[u8]) -> io::Result<()> {
    if (1..=4).contains(&data.len()) {
        let length = u32::try_from(data.len()).unwrap_or(0);
        to.extend((length << 16 | kind).to_le_bytes());
    } else {
        to.extend(tag(kind, data.len())?);
    }
    to.extend_from_slice(data);
    to.resize(to.len().next_multiple_of(8), 0);
    Ok(())
}

fn tag(kind: u32, length: usize) -> io::Result<[u8; 8]> {
    let length = u32::try_from(length).map_err(io::Error::other)?;
    let mut tag = [0; 8];
    tag[..4].copy_from_slice(&kind.to_le_bytes());
    tag[4..].copy_from_slice(&length.to_le_bytes());
    Ok(tag)
}
