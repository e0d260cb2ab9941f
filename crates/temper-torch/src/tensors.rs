//! Named tensors in and out of the safetensors format.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
};

use safetensors::{Dtype, SafeTensors, View, tensor::TensorView};
use tch::{Kind, Tensor};

use crate::TorchError;

/// The one metadata key that is written: a second would make the bytes depend on hash order.
const METADATA_KEY: &str = "temper";

/// Tensors by name, on the processor, in single precision.
pub struct Tensors {
    origin: String,
    by_name: BTreeMap<String, Tensor>,
    metadata: Option<String>,
}

impl Tensors {
    /// Reads a safetensors file.
    ///
    /// # Errors
    /// [`TorchError::Unreadable`], or [`TorchError::Damaged`] naming the file.
    pub fn read(file: &Path) -> Result<Self, TorchError> {
        let origin = file.display().to_string();
        let bytes = fs::read(file).map_err(|source| TorchError::Unreadable {
            file: origin.clone(),
            source,
        })?;
        Self::parse(origin, &bytes)
    }

    /// Reads safetensors bytes; `origin` names them in errors. Half precision is widened to
    /// single.
    ///
    /// # Errors
    /// [`TorchError::Damaged`].
    pub fn parse(origin: impl Into<String>, bytes: &[u8]) -> Result<Self, TorchError> {
        let origin = origin.into();
        let damaged = |reason: String| TorchError::Damaged {
            file: origin.clone(),
            reason,
        };
        let file = SafeTensors::deserialize(bytes).map_err(|error| damaged(error.to_string()))?;
        let (_, header) =
            SafeTensors::read_metadata(bytes).map_err(|error| damaged(error.to_string()))?;
        let metadata = header
            .metadata()
            .as_ref()
            .and_then(|all| all.get(METADATA_KEY).cloned());
        let mut by_name = BTreeMap::new();
        for (name, view) in file.tensors() {
            if let Some(tensor) = to_tensor(&view).map_err(|r| damaged(format!("{name}: {r}")))? {
                by_name.insert(name, tensor);
            }
        }
        Ok(Self {
            origin,
            by_name,
            metadata,
        })
    }

    /// Tensors made here.
    pub(crate) fn from_named<const N: usize>(origin: &str, named: [(String, Tensor); N]) -> Self {
        Self {
            origin: origin.to_owned(),
            by_name: named.into(),
            metadata: None,
        }
    }

    /// What the bytes are called in errors.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The tensor of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.by_name.get(name)
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// The text that was given to [`write()`].
    #[must_use]
    pub fn metadata(&self) -> Option<&str> {
        self.metadata.as_deref()
    }

    /// The tensors whose names start with `prefix`, under what follows it.
    #[must_use]
    pub fn below(&self, prefix: &str) -> Self {
        let by_name = self
            .by_name
            .iter()
            .filter_map(|(name, tensor)| {
                Some((
                    name.strip_prefix(prefix)?.to_owned(),
                    tensor.shallow_clone(),
                ))
            })
            .collect();
        Self {
            origin: self.origin.clone(),
            by_name,
            metadata: None,
        }
    }
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
        views.push((name, Floats::of(tensor)?));
    }
    let metadata = HashMap::from([(METADATA_KEY.to_owned(), metadata)]);
    safetensors::serialize(views, Some(metadata))
        .map_err(|error| TorchError::Torch(format!("cannot write safetensors: {error}")))
}

/// A tensor's values on the host.
struct Floats {
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Floats {
    fn of(tensor: &Tensor) -> Result<Self, TorchError> {
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

impl View for Floats {
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

/// A view as single precision; none for what no model here uses (counters such as timm's
/// `num_batches_tracked`).
fn to_tensor(view: &TensorView<'_>) -> Result<Option<Tensor>, String> {
    let kind = match view.dtype() {
        Dtype::F32 => Kind::Float,
        Dtype::F16 => Kind::Half,
        Dtype::BF16 => Kind::BFloat16,
        Dtype::F64 => Kind::Double,
        Dtype::I64 | Dtype::I32 => return Ok(None),
        other => return Err(format!("number format {other:?} is not read here")),
    };
    let shape: Result<Vec<i64>, _> = view
        .shape()
        .iter()
        .map(|&side| i64::try_from(side))
        .collect();
    let shape = shape.map_err(|error| error.to_string())?;
    let tensor = Tensor::f_from_data_size(view.data(), &shape, kind)
        .and_then(|tensor| tensor.f_to_kind(Kind::Float))
        .map_err(|error| error.to_string())?;
    Ok(Some(tensor))
}

#[cfg(test)]
mod tests {
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
        let read = Tensors::parse("memory", &bytes()).unwrap();
        assert_eq!(read.names().collect::<Vec<_>>(), ["a.x", "b"]);
        assert_eq!(read.metadata(), Some("text"));
        assert_eq!(read.get("a.x").unwrap(), &a);
        assert_eq!(read.below("a.").get("x").unwrap(), &a);
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
