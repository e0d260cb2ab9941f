//! The data elements that a MAT file consists of.

use std::io::Read as _;

use flate2::read::ZlibDecoder;

use super::Value;

/// Most bytes that all compressed elements together may unfold to.
const MAX_BYTES: usize = 64 << 20;
/// How deep cells and structs may nest.
const MAX_DEPTH: usize = 8;
/// Up to here every whole number has a double of its own.
pub(super) const EXACT: f64 = 9_007_199_254_740_992.0;

const HEADER: usize = 128;

/// What is wrong with the bytes.
#[derive(Debug, PartialEq)]
pub(super) struct Fault(pub(super) String);

type Result<T> = std::result::Result<T, Fault>;

/// Bytes that are left to be read, in one byte order.
#[derive(Debug, Clone, Copy)]
struct Input<'a> {
    bytes: &'a [u8],
    big_endian: bool,
}

/// An element's type and data.
struct Element<'a> {
    kind: Kind,
    data: Input<'a>,
}

/// How an element's data are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    F32,
    F64,
    I64,
    U64,
    Matrix,
    Compressed,
    Utf8,
    Utf16,
    Utf32,
}

/// The variables of a file, in its order.
pub(super) fn variables(file: &[u8]) -> Result<Vec<(String, Value)>> {
    let header = file
        .get(..HEADER)
        .ok_or_else(|| fault("it ends within its header"))?;
    let big_endian = match &header[126..] {
        b"IM" => false,
        b"MI" => true,
        _ => return Err(fault("its header is another's")),
    };
    let mut input = Input {
        bytes: &file[HEADER..],
        big_endian,
    };
    let mut left = MAX_BYTES;
    let mut variables = Vec::new();
    while !input.bytes.is_empty() {
        let element = input.element()?;
        match element.kind {
            Kind::Compressed => {
                let unfolded = unfold(element.data.bytes, &mut left)?;
                let mut inner = Input {
                    bytes: &unfolded,
                    big_endian,
                };
                variables.push(matrix(inner.element()?.matrix()?, 0)?);
            }
            _ => variables.push(matrix(element.matrix()?, 0)?),
        }
    }
    Ok(variables)
}

fn unfold(compressed: &[u8], left: &mut usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    ZlibDecoder::new(compressed)
        .take(*left as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Fault(format!("its compressed data are damaged ({error})")))?;
    *left = left
        .checked_sub(bytes.len())
        .ok_or_else(|| Fault(format!("it unfolds to more than {MAX_BYTES} bytes")))?;
    Ok(bytes)
}

/// The name and the content of an array, whose element holds `input`.
fn matrix(mut input: Input, depth: usize) -> Result<(String, Value)> {
    if input.bytes.is_empty() {
        // MATLAB's form of `[]` within cells and structs.
        return Ok((String::new(), Value::Numbers(Vec::new())));
    }
    if depth > MAX_DEPTH {
        return Err(Fault(format!("its arrays nest deeper than {MAX_DEPTH}")));
    }
    let flags = input.element()?;
    let flags = flags.data.with_kind(flags.kind, Kind::U32)?.u32()?;
    let class = flags & 0xFF;
    if class == 17 {
        // Its parts are in another order, known to MATLAB alone.
        return Ok((String::new(), Value::Other("an opaque object")));
    }
    let dimensions = input.element()?.integers()?;
    let dimensions: Option<Vec<usize>> = dimensions
        .iter()
        .map(|&side| usize::try_from(side).ok())
        .collect();
    let dimensions = dimensions.ok_or_else(|| fault("an array has a negative side"))?;
    let count = dimensions
        .iter()
        .try_fold(1_usize, |product, &side| product.checked_mul(side))
        .ok_or_else(|| fault("an array has too many elements"))?;
    let name = input.element()?.text()?;
    let is_complex = flags & 0x0800 != 0;
    let value = match class {
        1 => Value::Cells(input.matrices(count, depth)?),
        2 => structs(&mut input, count, depth)?,
        4 => chars(&mut input, &dimensions, count)?,
        6..=15 if is_complex => Value::Other("an array of complex numbers"),
        6..=15 => Value::Numbers(numbers(&mut input, count)?),
        5 => Value::Other("a sparse matrix"),
        _ => Value::Other("an object"),
    };
    Ok((name, value))
}

fn structs(input: &mut Input, count: usize, depth: usize) -> Result<Value> {
    let length = input.element()?.integers()?;
    let length = match length.as_slice() {
        [length] => usize::try_from(*length).ok().filter(|length| *length > 0),
        _ => None,
    };
    let length = length.ok_or_else(|| fault("a struct's field names have no length"))?;
    let names = input.element()?;
    let names: Result<Vec<String>> = names
        .data
        .bytes
        .chunks(length)
        .map(|name| {
            let end = name
                .iter()
                .position(|byte| *byte == 0)
                .unwrap_or(name.len());
            utf8(&name[..end])
        })
        .collect();
    let names = names?;
    let count = count
        .checked_mul(names.len())
        .ok_or_else(|| fault("a struct array has too many fields"))?;
    let values = input.matrices(count, depth)?;
    Ok(Value::Structs(names, values))
}

fn chars(input: &mut Input, dimensions: &[usize], count: usize) -> Result<Value> {
    if dimensions.iter().filter(|side| **side != 1).count() > 1 && count > 0 {
        return Ok(Value::Other("a text of several lines"));
    }
    let text = input.element()?.text()?;
    let units = text.chars().map(char::len_utf16).sum::<usize>();
    // MATLAB counts 16-bit units; others count code points, or bytes.
    if ![units, text.chars().count(), text.len()].contains(&count) {
        return Err(Fault(format!("a text of {count} characters has {units}")));
    }
    Ok(Value::Text(text))
}

fn numbers(input: &mut Input, count: usize) -> Result<Vec<f64>> {
    let numbers = input.element()?.numbers()?;
    if numbers.len() != count {
        return Err(Fault(format!(
            "an array of {count} numbers has {}",
            numbers.len()
        )));
    }
    Ok(numbers)
}

impl<'a> Input<'a> {
    /// The next element: its tag is 8 bytes, or 4 if its data are at most 4 bytes; data are filled
    /// up to 8 bytes, but for compressed ones.
    fn element(&mut self) -> Result<Element<'a>> {
        let tag = self.u32()?;
        let (kind, length, filled) = if tag >> 16 == 0 {
            let length = self.u32()? as usize;
            let filled = if tag == 15 {
                length
            } else {
                length.saturating_add(7) / 8 * 8
            };
            (tag, length, filled)
        } else {
            let length = (tag >> 16) as usize;
            if length > 4 {
                return Err(fault("a small element has more than 4 bytes"));
            }
            (tag & 0xFFFF, length, 4)
        };
        // Some writers leave the last element without its filling.
        let data = self.take(length)?;
        let filling = (filled - length).min(self.bytes.len());
        self.take(filling)?;
        Ok(Element {
            kind: Kind::of(kind)?,
            data: Input {
                bytes: data,
                ..*self
            },
        })
    }

    /// That many arrays.
    fn matrices(&mut self, count: usize, depth: usize) -> Result<Vec<Value>> {
        // Each takes 8 bytes or more: a count that cannot be is refused before memory is asked for.
        if count > self.bytes.len() / 8 {
            return Err(Fault(format!("it ends before the last of {count} arrays")));
        }
        (0..count)
            .map(|_| Ok(matrix(self.element()?.matrix()?, depth + 1)?.1))
            .collect()
    }

    fn with_kind(self, found: Kind, wanted: Kind) -> Result<Self> {
        if found != wanted {
            return Err(Fault(format!(
                "there is {found:?} where {wanted:?} must be"
            )));
        }
        Ok(self)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self
            .bytes
            .split_at_checked(count)
            .ok_or_else(|| fault("it ends within an element"))?;
        self.bytes = rest;
        Ok(taken)
    }

    fn u32(&mut self) -> Result<u32> {
        let bytes = self.take(4)?.first_chunk().copied().unwrap_or_default();
        Ok(if self.big_endian {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        })
    }

    /// All values, each of `N` bytes, little endian.
    fn each<const N: usize, T>(self, of: impl Fn([u8; N]) -> T) -> Result<Vec<T>> {
        let (chunks, rest) = self.bytes.as_chunks::<N>();
        if !rest.is_empty() {
            return Err(fault("an element ends within a value"));
        }
        let ordered = chunks.iter().map(|chunk| {
            let mut chunk = *chunk;
            if self.big_endian {
                chunk.reverse();
            }
            of(chunk)
        });
        Ok(ordered.collect())
    }
}

impl<'a> Element<'a> {
    fn matrix(self) -> Result<Input<'a>> {
        self.data.with_kind(self.kind, Kind::Matrix)
    }

    fn numbers(self) -> Result<Vec<f64>> {
        let data = self.data;
        match self.kind {
            Kind::I8 => data.each(|bytes| f64::from(i8::from_le_bytes(bytes))),
            Kind::U8 => data.each(|bytes| f64::from(u8::from_le_bytes(bytes))),
            Kind::I16 => data.each(|bytes| f64::from(i16::from_le_bytes(bytes))),
            Kind::U16 => data.each(|bytes| f64::from(u16::from_le_bytes(bytes))),
            Kind::I32 => data.each(|bytes| f64::from(i32::from_le_bytes(bytes))),
            Kind::U32 => data.each(|bytes| f64::from(u32::from_le_bytes(bytes))),
            Kind::F32 => data.each(|bytes| f64::from(f32::from_le_bytes(bytes))),
            Kind::F64 => data.each(f64::from_le_bytes),
            Kind::I64 => data
                .each(|bytes| exact(i64::from_le_bytes(bytes).into()))?
                .into_iter()
                .collect(),
            Kind::U64 => data
                .each(|bytes| exact(u64::from_le_bytes(bytes).into()))?
                .into_iter()
                .collect(),
            other => Err(Fault(format!("there is {other:?} where numbers must be"))),
        }
    }

    fn integers(self) -> Result<Vec<i32>> {
        self.data
            .with_kind(self.kind, Kind::I32)?
            .each(i32::from_le_bytes)
    }

    fn text(self) -> Result<String> {
        match self.kind {
            Kind::I8 | Kind::U8 | Kind::Utf8 => utf8(self.data.bytes),
            Kind::U16 | Kind::Utf16 => String::from_utf16(&self.data.each(u16::from_le_bytes)?)
                .map_err(|_| fault("a text is no UTF-16")),
            Kind::Utf32 => {
                let units = self
                    .data
                    .each(|bytes| char::from_u32(u32::from_le_bytes(bytes)))?;
                let text: Option<String> = units.into_iter().collect();
                text.ok_or_else(|| fault("a text is no UTF-32"))
            }
            other => Err(Fault(format!("there is {other:?} where text must be"))),
        }
    }
}

impl Kind {
    fn of(number: u32) -> Result<Self> {
        Ok(match number {
            1 => Self::I8,
            2 => Self::U8,
            3 => Self::I16,
            4 => Self::U16,
            5 => Self::I32,
            6 => Self::U32,
            7 => Self::F32,
            9 => Self::F64,
            12 => Self::I64,
            13 => Self::U64,
            14 => Self::Matrix,
            15 => Self::Compressed,
            16 => Self::Utf8,
            17 => Self::Utf16,
            18 => Self::Utf32,
            other => {
                return Err(Fault(format!(
                    "it has an element of the unknown type {other}"
                )));
            }
        })
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "refused where it would lose anything"
)]
fn exact(number: i128) -> Result<f64> {
    let double = number as f64;
    if double.abs() > EXACT {
        return Err(Fault(format!("{number} is too large")));
    }
    Ok(double)
}

fn utf8(bytes: &[u8]) -> Result<String> {
    let text = std::str::from_utf8(bytes).map_err(|_| fault("a text is no UTF-8"))?;
    Ok(text.to_owned())
}

fn fault(reason: &str) -> Fault {
    Fault(reason.to_owned())
}
