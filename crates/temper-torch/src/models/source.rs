//! Taking a model's tensors by name out of a file.

use std::{collections::HashSet, path::Path};

use tch::Tensor;

use super::{
    layers::{DropPath, Format},
    network::Head,
};
use crate::{TorchError, engine::Device, tensors::Tensors};

/// Where a model's values come from.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    pub(super) tensors: Option<&'a Tensors<'a>>,
    pub(super) module: Option<&'a Path>,
}

impl<'a> Source<'a> {
    /// A scripted module with the values that its file holds.
    #[must_use]
    pub fn module(file: &'a Path) -> Self {
        Self {
            tensors: None,
            module: Some(file),
        }
    }

    /// Named tensors; for a scripted architecture the structure is that of the module in `file`,
    /// for others `file` is not looked at.
    #[must_use]
    pub fn stored(tensors: &'a Tensors<'a>, file: Option<&'a Path>) -> Self {
        Self {
            tensors: Some(tensors),
            module: file,
        }
    }
}

/// Named tensors, of an architecture that is built here.
impl<'a> From<&'a Tensors<'a>> for Source<'a> {
    fn from(tensors: &'a Tensors<'a>) -> Self {
        Self::stored(tensors, None)
    }
}

/// A named tensor of a model.
pub struct Parameter {
    /// The name, as in timm.
    pub name: String,
    /// The values; the model's layers share them.
    pub tensor: Tensor,
    /// Whether an optimiser changes it; running statistics change by forward passes alone.
    pub trainable: bool,
    /// Whether it is part of the classification head.
    pub is_head: bool,
}

/// Names in a file that a model has no use for; buffers that are derived from the architecture
/// (index tables, attention masks, counters) are not among them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unused {
    /// The classification head that a fresh one replaces, and the other towers of a file whose
    /// names have a prefix.
    pub head: Vec<String>,
    /// The rest: a sign that the file is not of this architecture.
    pub other: Vec<String>,
}

/// Takes tensors by name out of a source and remembers them, so that a model knows its parameters
/// and a file that lacks some is refused with all of their names at once.
pub(super) struct Builder<'a> {
    source: &'a Tensors<'a>,
    /// What precedes every name in the file.
    prefix: &'a str,
    device: Device,
    is_head: bool,
    drop_paths: u32,
    format: Format,
    taken: Vec<Parameter>,
    missing: Vec<String>,
    misshapen: Option<TorchError>,
}

impl<'a> Builder<'a> {
    pub fn new(source: &'a Tensors<'a>, prefix: &'a str, device: Device) -> Self {
        Self {
            source,
            prefix,
            device,
            is_head: false,
            drop_paths: 0,
            format: Format::default(),
            taken: Vec::new(),
            missing: Vec::new(),
            misshapen: None,
        }
    }

    /// The same, its layers sharing `format` with others.
    pub fn sharing(self, format: Format) -> Self {
        Self { format, ..self }
    }

    /// The number format of its layers.
    pub fn format(&self) -> Format {
        self.format.clone()
    }

    /// Where the tensors go.
    pub fn device(&self) -> Device {
        self.device
    }

    /// What is taken from now on is the classification head.
    pub fn head(&mut self) {
        self.is_head = true;
    }

    /// A tensor that is trained.
    pub fn parameter(&mut self, name: String, shape: &[i64]) -> Tensor {
        self.take((name, true), shape, Some)
    }

    /// A tensor that is not.
    pub fn buffer(&mut self, name: String, shape: &[i64]) -> Tensor {
        self.take((name, false), shape, Some)
    }

    /// A tensor that is trained, and that `fit` converts where the file has it in another shape.
    pub fn fitted(
        &mut self,
        name: String,
        shape: &[i64],
        fit: impl FnOnce(Tensor) -> Option<Tensor>,
    ) -> Tensor {
        self.take((name, true), shape, fit)
    }

    /// The next residual branch's stochastic depth.
    pub fn drop_path(&mut self, probability: f64) -> DropPath {
        let site = self.drop_paths;
        self.drop_paths += 1;
        DropPath::new(probability, site)
    }

    /// All that was taken.
    pub fn finish(self) -> Result<Vec<Parameter>, TorchError> {
        if !self.missing.is_empty() {
            let file = self.source.origin().to_owned();
            return Err(TorchError::MissingTensors {
                file,
                names: self.missing,
            });
        }
        match self.misshapen {
            Some(error) => Err(error),
            None => Ok(self.taken),
        }
    }

    /// Where the source lacks the tensor, an empty one stands in for it until `finish` refuses.
    fn take(
        &mut self,
        (name, trainable): (String, bool),
        shape: &[i64],
        fit: impl FnOnce(Tensor) -> Option<Tensor>,
    ) -> Tensor {
        let stored = format!("{}{name}", self.prefix);
        let Some(found) = self.source.get(&stored) else {
            self.missing.push(stored);
            return Tensor::new();
        };
        let size = found.size();
        let fitting = if size == shape {
            Some(found)
        } else {
            fit(found)
        };
        let Some(tensor) = fitting.filter(|tensor| tensor.size() == shape) else {
            self.misshapen.get_or_insert_with(|| TorchError::Shape {
                file: self.source.origin().to_owned(),
                name: stored,
                found: size,
                wanted: shape.to_vec(),
            });
            return Tensor::new();
        };
        // The source hands out tensors that nothing else holds: no copy is needed.
        let tensor = tensor
            .to_device(self.device.tch())
            .set_requires_grad(trainable);
        self.taken.push(Parameter {
            name,
            tensor: tensor.shallow_clone(),
            trainable,
            is_head: self.is_head,
        });
        tensor
    }
}

impl Unused {
    /// Of the names of `source`, those that no parameter has behind `prefix`. `name` is that of
    /// the classification head.
    pub(super) fn of(
        source: &Tensors,
        (prefix, name): (&str, &str),
        parameters: &[Parameter],
        head: Head,
    ) -> Self {
        let used: HashSet<&str> = parameters
            .iter()
            .filter(|parameter| head == Head::Stored || !parameter.is_head)
            .map(|parameter| parameter.name.as_str())
            .collect();
        let below = |name: &str, of: &str| {
            let rest = name.strip_prefix(of);
            rest.is_some_and(|rest| rest.starts_with('.'))
        };
        let mut unused = Self::default();
        for stored in source.names() {
            let list = match stored.strip_prefix(prefix) {
                Some(found) if used.contains(found) || is_derived(found) => continue,
                Some(found) if !below(found, name) => &mut unused.other,
                _ => &mut unused.head,
            };
            list.push(stored.to_owned());
        }
        unused
    }

    /// Tells of them: of a head as a fact, of others as a warning.
    pub(super) fn log(&self, file: &str) {
        if !self.head.is_empty() {
            tracing::info!(
                file,
                count = self.head.len(),
                "tensors of another head, left out"
            );
        }
        if !self.other.is_empty() {
            tracing::warn!(file, names = self.other.join(", "), "unused tensors");
        }
    }
}

/// Whether a buffer follows from the architecture, or counts batches, which nothing here asks for.
fn is_derived(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    [
        "relative_position_index",
        "attn_mask",
        "num_batches_tracked",
    ]
    .contains(&last)
}
