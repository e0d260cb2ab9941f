//! A whole classifier: normalisation, backbone, head.

use std::path::Path;

use tch::{Kind, Tensor};
use temper_core::{
    random::{Keyed, Purpose},
    spec::Precision,
};

use super::{
    Architecture, Backbone, Mode, Plan,
    layers::{Format, Linear, dropout},
    scripted::{self, ScriptedModule},
    source::{Builder, Parameter, Source, Unused},
};
use crate::{
    TorchError,
    engine::Device,
    tensors::{self, HostTensor, Tensors},
};

/// Standard deviation of a fresh head's weights: larger ones start at a loss far above chance.
const HEAD_DEVIATION: f32 = 0.01;

/// Where the head's values come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// From the file, which was written here, or must have as many classes.
    Stored,
    /// Weights from N(0, 0.01^2), keyed by the run's seed; bias 0. The file is a pretrained one,
    /// whose names have the architecture's prefix; a head in it is left out.
    Fresh {
        /// The run's seed.
        seed: u64,
    },
}

/// A classifier on a device.
pub struct Network {
    architecture: Architecture,
    mean: Tensor,
    deviation: Tensor,
    backbone: Box<dyn Backbone>,
    classifier: Linear,
    format: Format,
    parameters: Vec<Parameter>,
    unused: Unused,
}

/// What a head is to be.
struct HeadShape {
    name: &'static str,
    features: i64,
    classes: i64,
}

impl Network {
    /// Builds a model and fills it from `source`. Strict: every tensor of the architecture must
    /// be there in its shape, but for position tables, which are made to fit the image size;
    /// unused tensors are logged.
    ///
    /// # Errors
    /// [`TorchError::UnknownArchitecture`], [`TorchError::ImageSize`],
    /// [`TorchError::MissingTensors`] or [`TorchError::Shape`]; [`TorchError::Module`] for a
    /// scripted module that cannot be trained here.
    pub fn load<'a>(
        architecture: &Architecture,
        source: impl Into<Source<'a>>,
        head: Head,
        device: Device,
    ) -> Result<Self, TorchError> {
        let source = source.into();
        let Some(scripted) = &architecture.scripted else {
            let plan = Plan::named(&architecture.name)?;
            return Self::of_plan(&plan, architecture, source, head, device);
        };
        scripted::check_size(*scripted, architecture)?;
        let (module, mut parameters) = ScriptedModule::load(*scripted, source, device)?;
        let none = Tensors::from_named(&architecture.name, []);
        let builder = Builder::new(source.tensors.unwrap_or(&none), "", device);
        let shape = HeadShape {
            name: scripted::HEAD,
            features: i64::from(scripted.features),
            classes: i64::from(architecture.classes),
        };
        let format = builder.format();
        let (classifier, rest) = shape.build(builder, head, device)?;
        parameters.extend(rest);
        let backbone = Box::new(module);
        Ok(Self::of_parts(
            architecture,
            backbone,
            (classifier, format, parameters),
            device,
        ))
    }

    /// The same from a pretrained file: safetensors, or the module of a scripted architecture.
    ///
    /// # Errors
    /// As [`Self::load`], and [`TorchError::Unreadable`] or [`TorchError::Damaged`].
    pub fn pretrained(
        architecture: &Architecture,
        file: &Path,
        head: Head,
        device: Device,
    ) -> Result<Self, TorchError> {
        if architecture.scripted.is_some() {
            return Self::load(architecture, Source::module(file), head, device);
        }
        Self::load(architecture, &Tensors::read(file)?, head, device)
    }

    /// The same for a member of a family that has no name; the architecture's is for messages.
    ///
    /// # Errors
    /// As [`Self::load`]; [`TorchError::BadInput`] for a source without tensors.
    pub fn of_plan<'a>(
        plan: &Plan,
        architecture: &Architecture,
        source: impl Into<Source<'a>>,
        head: Head,
        device: Device,
    ) -> Result<Self, TorchError> {
        plan.check_size(architecture)?;
        let source = source.into().tensors.ok_or_else(|| {
            TorchError::BadInput(format!("{} needs a weights file", architecture.name))
        })?;
        let prefix = match head {
            Head::Stored => "",
            Head::Fresh { .. } => &architecture.prefix,
        };
        let mut builder = Builder::new(source, prefix, device);
        let backbone = plan.build(&mut builder, architecture);
        let shape = HeadShape {
            name: plan.head(),
            features: plan.features(),
            classes: i64::from(architecture.classes),
        };
        let format = builder.format();
        let (classifier, parameters) = shape.build(builder, head, device)?;
        let unused = Unused::of(source, (prefix, plan.head()), &parameters, head);
        unused.log(source.origin());
        let parts = (classifier, format, parameters);
        let network = Self::of_parts(architecture, backbone, parts, device);
        Ok(Self { unused, ..network })
    }

    fn of_parts(
        architecture: &Architecture,
        backbone: Box<dyn Backbone>,
        (classifier, format, mut parameters): (Linear, Format, Vec<Parameter>),
        device: Device,
    ) -> Self {
        parameters.sort_by(|a, b| a.name.cmp(&b.name));
        let channels = |values: [f64; 3]| {
            let tensor = Tensor::from_slice(&values)
                .to_kind(Kind::Float)
                .reshape([1, 3, 1, 1]);
            tensor.to_device(device.tch())
        };
        Self {
            mean: channels(architecture.normalisation.mean),
            deviation: channels(architecture.normalisation.std),
            architecture: architecture.clone(),
            backbone,
            classifier,
            format,
            parameters,
            unused: Unused::default(),
        }
    }

    /// The same, computing in `precision` from now on: in bfloat16 the products of linear layers and
    /// convolutions, and nothing else. Attention's own products stay in single precision.
    ///
    /// # Errors
    /// [`TorchError::Module`] for a scripted module, whose products are its own.
    pub fn in_precision(self, precision: Precision) -> Result<Self, TorchError> {
        if precision != Precision::Fp32 && self.architecture.scripted.is_some() {
            return Err(TorchError::Module {
                file: self.architecture.name,
                reason: format!(
                    "it computes as it was scripted, not in {}; fp32 will do",
                    precision.as_str()
                ),
            });
        }
        self.format.set(precision);
        Ok(self)
    }

    /// Features `f32[n, f]` of images `f32[n, 3, s, s]` with pixels in `[0, 1]`.
    pub fn features(&self, x: &Tensor, mode: Mode) -> Tensor {
        let normalised = (x - &self.mean) / &self.deviation;
        self.backbone.features(&normalised, mode)
    }

    /// Logits `f32[n, classes]` of images `f32[n, 3, s, s]` with pixels in `[0, 1]`.
    pub fn logits(&self, x: &Tensor, mode: Mode) -> Tensor {
        let features = dropout(self.features(x, mode), self.architecture.dropout, mode);
        self.classifier.forward(&features)
    }

    /// All named tensors, sorted by name, head and running statistics included.
    #[must_use]
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// What the file had that the model has no use for.
    #[must_use]
    pub fn unused(&self) -> &Unused {
        &self.unused
    }

    /// The model as safetensors with timm's names, its architecture beside them as JSON in the
    /// metadata `temper`. Equal models give equal bytes.
    ///
    /// # Errors
    /// When libtorch cannot copy a tensor to the host.
    pub fn to_safetensors(&self) -> Result<Vec<u8>, TorchError> {
        let tensors = self.parameters.iter().map(|p| (p.name.clone(), &p.tensor));
        tensors::write(tensors, self.metadata()?)
    }

    /// The same of values that [`Self::to_host`] gave.
    pub(crate) fn host_to_safetensors(
        &self,
        values: &[(String, HostTensor)],
    ) -> Result<Vec<u8>, TorchError> {
        let views = values.iter().map(|(name, tensor)| (name.clone(), tensor));
        tensors::write_host(views.collect(), self.metadata()?)
    }

    /// Copies of all named tensors, on the host.
    pub(crate) fn to_host(&self) -> Result<Vec<(String, HostTensor)>, TorchError> {
        let copy = |p: &Parameter| Ok((p.name.clone(), HostTensor::of(&p.tensor)?));
        self.parameters.iter().map(copy).collect()
    }

    /// Whether what it does to a sample in training depends on the others.
    pub(crate) fn has_batch_norm(&self) -> bool {
        let is_statistic = |p: &Parameter| p.name.ends_with("running_mean");
        self.parameters.iter().any(is_statistic)
    }

    fn metadata(&self) -> Result<String, TorchError> {
        let architecture = Architecture {
            prefix: String::new(),
            ..self.architecture.clone()
        };
        serde_json::to_string(&architecture).map_err(|error| TorchError::Torch(error.to_string()))
    }
}

impl HeadShape {
    /// The head, and with it all that was taken by `builder` before.
    fn build(
        &self,
        mut builder: Builder,
        head: Head,
        device: Device,
    ) -> Result<(Linear, Vec<Parameter>), TorchError> {
        let Self {
            name,
            features,
            classes,
        } = *self;
        let Head::Fresh { seed } = head else {
            builder.head();
            let classifier = Linear::new(&mut builder, name, features, classes);
            return Ok((classifier, builder.finish()?));
        };
        let format = builder.format();
        let mut parameters = builder.finish()?;
        let fresh = self.fresh(seed)?;
        let mut builder = Builder::new(&fresh, "", device).sharing(format);
        builder.head();
        let classifier = Linear::new(&mut builder, name, features, classes);
        parameters.extend(builder.finish()?);
        Ok((classifier, parameters))
    }

    /// A fresh one, as a source of named tensors.
    fn fresh(&self, seed: u64) -> Result<Tensors<'static>, TorchError> {
        let Self {
            name,
            features,
            classes,
        } = *self;
        let mut stream = Keyed::new(seed, Purpose::Head, 0, 0).stream(0);
        let weights: Vec<f32> = (0..features * classes)
            .map(|_| HEAD_DEVIATION * stream.normal())
            .collect();
        let weight = Tensor::f_from_slice(&weights)?.f_reshape([classes, features])?;
        let bias = Tensor::zeros([classes], (Kind::Float, tch::Device::Cpu));
        let named = [
            (format!("{name}.weight"), weight),
            (format!("{name}.bias"), bias),
        ];
        Ok(Tensors::from_named("the fresh head", named))
    }
}
