//! Named tensors in and out of the safetensors format.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    fs::File,
    ops::Range,
    path::Path,
    sync::Arc,
};

use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors, View};
use tch::{Kind, Tensor};

use crate::TorchError;

/// The one metadata key that is written: a second would make the bytes depend on hash order.
const METADATA_KEY: &str = "temper";

/// Tensors by name, read from a file or from bytes when they are asked for, so that a model that
/// takes them one by one needs memory for its own alone.
pub struct Tensors<'a> {
    origin: String,
    bytes: Bytes<'a>,
    by_name: BTreeMap<String, Entry>,
    metadata: Option<String>,
}

/// What the values are read from.
#[derive(Clone)]
enum Bytes<'a> {
    Borrowed(&'a [u8]),
    Mapped(Arc<Mmap>),
}

enum Entry {
    /// Values in the bytes.
    Stored {
        kind: Kind,
        shape: Vec<i64>,
        range: Range<usize>,
    },
    /// A tensor that was made here.
    Made(Tensor),
}

impl<'a> Tensors<'a> {
    /// Maps a safetensors file into memory; nobody may write to the file while this is used. Its
    /// pages are the system's to keep or drop: they are no memory of the process's own.
    ///
    /// # Errors
    /// [`TorchError::Unreadable`], or [`TorchError::Damaged`] naming the file.
    pub fn read(file: &Path) -> Result<Tensors<'static>, TorchError> {
        let origin = file.display().to_string();
        let mapped = map(file).map_err(|source| TorchError::Unreadable {
            file: origin.clone(),
            source,
        })?;
        Tensors::index(origin, Bytes::Mapped(Arc::new(mapped)))
    }

    /// Reads safetensors bytes; `origin` names them in errors.
    ///
    /// # Errors
    /// [`TorchError::Damaged`].
    pub fn parse(origin: impl Into<String>, bytes: &'a [u8]) -> Result<Self, TorchError> {
        Self::index(origin.into(), Bytes::Borrowed(bytes))
    }

    fn index(origin: String, bytes: Bytes<'a>) -> Result<Self, TorchError> {
        let damaged = |reason: String| TorchError::Damaged {
            file: origin.clone(),
            reason,
        };
        let whole = bytes.get();
        let file = SafeTensors::deserialize(whole).map_err(|error| damaged(error.to_string()))?;
        let (_, header) =
            SafeTensors::read_metadata(whole).map_err(|error| damaged(error.to_string()))?;
        let metadata = header
            .metadata()
            .as_ref()
            .and_then(|all| all.get(METADATA_KEY).cloned());
        let mut by_name = BTreeMap::new();
        for (name, view) in file.tensors() {
            let Some(kind) = kind(view.dtype()).map_err(|r| damaged(format!("{name}: {r}")))?
            else {
                continue;
            };
            // The view's place within the whole: its file offers values, not offsets.
            let start = view.data().as_ptr() as usize - whole.as_ptr() as usize;
            let entry = Entry::Stored {
                kind,
                shape: signed(view.shape()),
                range: start..start + view.data().len(),
            };
            by_name.insert(name, entry);
        }
        Ok(Self {
            origin,
            bytes,
            by_name,
            metadata,
        })
    }

    /// Tensors made here.
    pub(crate) fn from_named<const N: usize>(origin: &str, named: [(String, Tensor); N]) -> Self {
        let made = named.map(|(name, tensor)| (name, Entry::Made(tensor)));
        Self {
            origin: origin.to_owned(),
            bytes: Bytes::Borrowed(&[]),
            by_name: made.into(),
            metadata: None,
        }
    }

    /// What the bytes are called in errors.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The tensor of that name, on the processor, widened to single precision: a copy that nothing
    /// else holds.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Tensor> {
        Some(match self.by_name.get(name)? {
            Entry::Stored { kind, shape, range } => {
                let values = self.bytes.get().get(range.clone())?;
                Tensor::from_data_size(values, shape, *kind).to_kind(Kind::Float)
            }
            Entry::Made(tensor) => tensor.copy(),
        })
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// Copies of all, on the host.
    pub(crate) fn to_host(&self) -> Result<Vec<(String, HostTensor)>, TorchError> {
        let copies = self.names().filter_map(|name| {
            let tensor = self.get(name)?;
            Some(HostTensor::of(&tensor).map(|copy| (name.to_owned(), copy)))
        });
        copies.collect()
    }

    /// The text that was given to [`write()`].
    #[must_use]
    pub fn metadata(&self) -> Option<&str> {
        self.metadata.as_deref()
    }

    /// The tensors whose names start with `prefix`, under what follows it.
    #[must_use]
    pub fn below(&self, prefix: &str) -> Self {
        let by_name = self.by_name.iter().filter_map(|(name, entry)| {
            Some((name.strip_prefix(prefix)?.to_owned(), entry.share()))
        });
        Self {
            origin: self.origin.clone(),
            bytes: self.bytes.clone(),
            by_name: by_name.collect(),
            metadata: None,
        }
    }
}

impl Bytes<'_> {
    fn get(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Mapped(file) => file,
        }
    }
}

impl Entry {
    fn share(&self) -> Self {
        match self {
            Self::Stored { kind, shape, range } => Self::Stored {
                kind: *kind,
                shape: shape.clone(),
                range: range.clone(),
            },
            Self::Made(tensor) => Self::Made(tensor.shallow_clone()),
        }
    }
}

#[expect(
    unsafe_code,
    reason = "a mapping is sound while nobody shortens or rewrites the file: weights lie in caches \
              whose files are put in place whole and never written to again"
)]
fn map(file: &Path) -> std::io::Result<Mmap> {
    let file = File::open(file)?;
    // SAFETY: see the reason above.
    unsafe { Mmap::map(&file) }
}

/// Safetensors bytes of single-precision `tensors`, and a text of the caller's; equal tensors and
/// texts give equal bytes.
///
/// # Errors
/// When a name occurs twice or libtorch cannot copy a tensor to the host.
pub fn write<'a>(
    tensors: impl IntoIterator<Item = (String, &'a Tensor)>,
    metadata: String,
) -> Result<Vec<u8>, TorchError> {
    let mut views = Vec::new();
    for (name, tensor) in tensors {
        views.push((name, HostTensor::of(tensor)?));
    }
    write_host(views, metadata)
}

/// The same of tensors on the host.
pub(crate) fn write_host<V: View>(
    views: Vec<(String, V)>,
    metadata: String,
) -> Result<Vec<u8>, TorchError> {
    let metadata = HashMap::from([(METADATA_KEY.to_owned(), metadata)]);
    safetensors::serialize(views, Some(metadata))
        .map_err(|error| TorchError::Torch(format!("cannot write safetensors: {error}")))
}

/// A tensor's values on the host, in single precision; it may go to other threads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostTensor {
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl HostTensor {
    pub fn of(tensor: &Tensor) -> Result<Self, TorchError> {
        let host = tensor
            .detach()
            .to_device(tch::Device::Cpu)
            .to_kind(Kind::Float)
            .contiguous();
        let mut bytes = vec![0; host.numel() * 4];
        host.f_copy_data_u8(&mut bytes, host.numel())?;
        let shape = host
            .size()
            .into_iter()
            .filter_map(|side| usize::try_from(side).ok())
            .collect();
        Ok(Self { shape, bytes })
    }
}

impl View for HostTensor {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

impl View for &HostTensor {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// How libtorch calls a number format; none for what no model here uses (counters such as timm's
/// `num_batches_tracked`).
fn kind(format: Dtype) -> Result<Option<Kind>, String> {
    Ok(Some(match format {
        Dtype::F32 => Kind::Float,
        Dtype::F16 => Kind::Half,
        Dtype::BF16 => Kind::BFloat16,
        Dtype::F64 => Kind::Double,
        Dtype::I64 | Dtype::I32 => return Ok(None),
        other => return Err(format!("number format {other:?} is not read here")),
    }))
}

/// A shape in libtorch's numbers; no array that fits memory has a side above `i64::MAX`.
fn signed(shape: &[usize]) -> Vec<i64> {
    let side = |&side: &usize| i64::try_from(side).unwrap_or(i64::MAX);
    shape.iter().map(side).collect()
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::TensorView;

    use super::*;

    #[test]
    fn tensors_survive_a_round_trip_and_equal_ones_give_equal_bytes() {
        let (a, b) = (
            Tensor::from_slice(&[1.5_f32, -2.0]).reshape([2, 1]),
            Tensor::from(3.0_f32),
        );
        let bytes = || {
            write(
                [("b".to_owned(), &b), ("a.x".to_owned(), &a)],
                "text".to_owned(),
            )
            .unwrap()
        };
        assert_eq!(bytes(), bytes());
        let written = bytes();
        let read = Tensors::parse("memory", &written).unwrap();
        assert_eq!(read.names().collect::<Vec<_>>(), ["a.x", "b"]);
        assert_eq!(read.metadata(), Some("text"));
        assert_eq!(read.get("a.x").unwrap(), a);
        assert_eq!(read.below("a.").get("x").unwrap(), a);
    }

    #[test]
    fn half_precision_of_either_kind_is_widened_and_counters_are_passed_over() {
        let bytes = |format, bytes| TensorView::new(format, vec![1], bytes).unwrap();
        let views = [
            ("brain", bytes(Dtype::BF16, &[0xC0, 0x3F])),
            ("counter", bytes(Dtype::I64, &[1, 0, 0, 0, 0, 0, 0, 0])),
            ("half", bytes(Dtype::F16, &[0x00, 0x3E])),
        ];
        let written = safetensors::serialize(views, None).unwrap();
        let read = Tensors::parse("memory", &written).unwrap();
        assert_eq!(read.names().collect::<Vec<_>>(), ["brain", "half"]);
        for name in ["brain", "half"] {
            assert_eq!(read.get(name).unwrap(), Tensor::from_slice(&[1.5_f32]));
        }
    }

    #[test]
    fn truncated_bytes_are_damaged_at_every_length() {
        let tensor = Tensor::from_slice(&[1.0_f32; 64]);
        let bytes = write([("a".to_owned(), &tensor)], String::new()).unwrap();
        for length in 0..bytes.len() {
            let result = Tensors::parse("file.safetensors", &bytes[..length]);
            let error = result.map(|_| ()).unwrap_err();
            assert!(
                matches!(error, TorchError::Damaged { .. }),
                "{length}: {error:?}"
            );
            assert!(error.to_string().contains("file.safetensors"));
        }
    }
}
