//! Networks whose structure is a `TorchScript` module in a file (`torch.jit.script(..).save(..)`),
//! under a head that is made here: the way in for architectures that are not built here.
//!
//! The module maps normalised images `f32[n, 3, s, s]`, s as its entry says and no other, to
//! features `f32[n, f]`. The file is needed each time, also to resume and to evaluate: artifacts
//! and checkpoints hold values by name (`module.` and the module's name), not the structure.
//!
//! What cannot be done, and is refused when seen:
//! - Modules without trained parameters, and parameters that are not in single precision.
//! - State that is no parameter. libtorch's interface to other languages lists parameters alone,
//!   so that buffers could be neither saved nor restored. Buffers that never change may stay; those
//!   that training changes (the running statistics of batch norm) must be registered as parameters
//!   with `requires_grad=False` before scripting. A module is tried once at load, to see.
//! - Modules in which the training flag changes nothing although they have running statistics:
//!   traced ones, in which evaluation-mode batch norm is baked in.
//!
//! Stochastic depth and dropout of an [`Architecture`] apply to the head alone; what a module
//! drops by itself is seeded for each training pass by its first sample: a resumed run repeats it,
//! but it depends on the micro-batch size. The graph executor's optimisations are off on the
//! thread that loads a module, because they come into force in the course of a run and would make
//! a resumed run differ in its last bits.

use std::{cell::RefCell, path::Path};

use tch::{CModule, Kind, Tensor};
use temper_core::{
    catalog::Scripted,
    random::{Keyed, Purpose},
};

use super::{
    Architecture, Backbone, Mode,
    source::{Parameter, Source},
};
use crate::{
    TorchError,
    engine::{self, Device},
    tensors::Tensors,
};

/// Name of the head above a module.
pub(super) const HEAD: &str = "head";
/// What precedes the names of a module's own tensors.
const PREFIX: &str = "module.";

/// A module and what tells it apart in messages.
pub(super) struct ScriptedModule {
    module: RefCell<CModule>,
    file: String,
}

/// Refuses images of another size than the module takes.
pub(super) fn check_size(
    scripted: Scripted,
    architecture: &Architecture,
) -> Result<(), TorchError> {
    let wanted = scripted.image_size;
    if architecture.image_size == wanted {
        return Ok(());
    }
    Err(TorchError::ImageSize {
        architecture: architecture.name.clone(),
        size: architecture.image_size,
        reason: format!("the scripted module was made for {wanted}"),
    })
}

impl ScriptedModule {
    /// Reads the module, and its values from `source` where it has tensors.
    pub fn load(
        scripted: Scripted,
        source: Source,
        device: Device,
    ) -> Result<(Self, Vec<Parameter>), TorchError> {
        let path = source.module.ok_or_else(|| {
            TorchError::BadInput("a scripted architecture needs its module's file".to_owned())
        })?;
        tch::jit::f_set_graph_executor_optimize(false)?;
        let loaded = read(path, device)?;
        let module = Self {
            module: RefCell::new(loaded),
            file: path.display().to_string(),
        };
        let parameters = module.parameters()?;
        module.try_out(scripted, &parameters, device)?;
        if let Some(tensors) = source.tensors {
            fill(&parameters, tensors)?;
        }
        Ok((module, parameters))
    }

    /// Its parameters, sharing their values with it.
    fn parameters(&self) -> Result<Vec<Parameter>, TorchError> {
        let mut parameters = Vec::new();
        for (name, tensor) in self.module.borrow().named_parameters()? {
            if tensor.kind() != Kind::Float {
                let kind = tensor.kind();
                return Err(self.refused(format!("{name} is {kind:?}; export it in float32")));
            }
            parameters.push(Parameter {
                name: format!("{PREFIX}{name}"),
                trainable: tensor.requires_grad(),
                tensor,
                is_head: false,
            });
        }
        if parameters.iter().all(|parameter| !parameter.trainable) {
            return Err(self.refused(
                "it has no parameter with requires_grad: there is nothing to train".to_owned(),
            ));
        }
        Ok(parameters)
    }

    /// Runs it in both modes, refuses what the module's documentation says, and leaves its
    /// parameters as they were.
    fn try_out(
        &self,
        scripted: Scripted,
        parameters: &[Parameter],
        device: Device,
    ) -> Result<(), TorchError> {
        let _no_grad = tch::no_grad_guard();
        let (side, features) = (i64::from(scripted.image_size), i64::from(scripted.features));
        let options = (Kind::Float, device.tch());
        let x = Tensor::linspace(-2.0, 2.0, 6 * side * side, options).reshape([2, 3, side, side]);
        let evaluate = || self.forward(&x, false);
        let before = evaluate()?;
        if before.size() != [2, features] || before.kind() != Kind::Float {
            let (found, kind) = (before.size(), before.kind());
            return Err(self.refused(format!(
                "two images of {side} pixels give {kind:?}{found:?}; Float[2, {features}] is wanted"
            )));
        }
        let state: Vec<(&Parameter, Tensor)> = parameters
            .iter()
            .filter(|parameter| !parameter.trainable)
            .map(|parameter| (parameter, parameter.tensor.copy()))
            .collect();
        let _ = self.forward(&x, true)?;
        let is_statistic = |name: &str| name.ends_with("running_mean");
        let mut statistics = state
            .iter()
            .filter(|(p, _)| is_statistic(&p.name))
            .peekable();
        if statistics.peek().is_some() && statistics.all(|(p, old)| p.tensor == *old) {
            return Err(self.refused(
                "training mode moves no running statistic: script the module, do not trace it"
                    .to_owned(),
            ));
        }
        for (parameter, old) in state {
            parameter.tensor.shallow_clone().copy_(&old);
        }
        if evaluate()? != before {
            return Err(self.refused(
                "a training pass changes buffers that cannot be saved: register them as \
                 parameters with requires_grad=False before scripting"
                    .to_owned(),
            ));
        }
        Ok(())
    }

    fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor, TorchError> {
        let mut module = self.module.borrow_mut();
        if train {
            module.f_set_train()?;
        } else {
            module.f_set_eval()?;
        }
        let ended = module.forward_ts(&[x]);
        ended.map_err(|error| thrown(&self.file, &error.to_string()))
    }

    fn refused(&self, reason: String) -> TorchError {
        TorchError::Module {
            file: self.file.clone(),
            reason,
        }
    }
}

impl Backbone for ScriptedModule {
    fn features(&self, x: &Tensor, mode: Mode) -> Tensor {
        if let Mode::Train(draws) = mode {
            let first = draws.samples.first().map_or(0, |&sample| sample as u64);
            let keyed = Keyed::new(draws.seed, Purpose::Dropout, draws.epoch, 1);
            tch::manual_seed(keyed.stream(first).bits().cast_signed());
        }
        // In the plain form of this crate's tensor operations: `engine::run` is outside.
        match self.forward(x, mode.is_train()) {
            Ok(features) => features,
            Err(error) => engine::throw(error),
        }
    }
}

/// What the interpreter throws while the module in `file` runs: the module's fault, unless memory
/// or the device gave out.
fn thrown(file: &str, message: &str) -> TorchError {
    // It begins with a traceback; what happened is at its end.
    let text = message.replace("\\n", "\n");
    let happened = text.lines().find(|line| line.contains("Error: "));
    let reason = happened.unwrap_or(&text).to_owned();
    match TorchError::from_message(&text) {
        TorchError::OutOfMemory(_) => TorchError::OutOfMemory(reason),
        TorchError::Device(_) => TorchError::Device(reason),
        _ => TorchError::Module {
            file: file.to_owned(),
            reason,
        },
    }
}

fn read(path: &Path, device: Device) -> Result<CModule, TorchError> {
    let file = path.display().to_string();
    if let Err(source) = std::fs::File::open(path) {
        return Err(TorchError::Unreadable { file, source });
    }
    CModule::load_on_device(path, device.tch()).map_err(|error| match TorchError::from(error) {
        TorchError::Torch(reason) => TorchError::Module { file, reason },
        other => other,
    })
}

/// Sets `parameters` to what `tensors` has under their names.
fn fill(parameters: &[Parameter], tensors: &Tensors) -> Result<(), TorchError> {
    let _no_grad = tch::no_grad_guard();
    let file = || tensors.origin().to_owned();
    let mut missing = Vec::new();
    for Parameter { name, tensor, .. } in parameters {
        let Some(stored) = tensors.get(name) else {
            missing.push(name.clone());
            continue;
        };
        if stored.size() != tensor.size() {
            return Err(TorchError::Shape {
                file: file(),
                name: name.clone(),
                found: stored.size(),
                wanted: tensor.size(),
            });
        }
        tensor.shallow_clone().copy_(&stored);
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(TorchError::MissingTensors {
        file: file(),
        names: missing,
    })
}

#[cfg(test)]
mod tests {
    use temper_core::ErrorKind;

    use super::*;

    #[test]
    fn failure_in_a_module_is_its_own_unless_memory_or_the_device_gave_out() {
        let kind = |what: &str| {
            let message = format!(
                "Internal torch error: The following operation failed in the TorchScript \
                 interpreter.\nTraceback of TorchScript (most recent call last):\nRuntimeError: \
                 {what}\n"
            );
            let error = thrown("net.pt", &message);
            assert!(
                error
                    .to_string()
                    .ends_with(&format!("RuntimeError: {what}"))
            );
            error.kind()
        };
        assert_eq!(kind("shapes do not match"), ErrorKind::InvalidInput);
        assert_eq!(kind("CUDA out of memory."), ErrorKind::OutOfMemory);
        let assertion = "CUDA error: device-side assert triggered";
        assert_eq!(kind(assertion), ErrorKind::Unavailable);
    }

    #[test]
    fn module_that_fails_within_a_run_is_named() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/scripted");
        let path = folder.join("trainable.pt");
        let scripted = Scripted {
            features: 8,
            image_size: 32,
        };
        let source = Source::module(&path);
        let (module, _) = ScriptedModule::load(scripted, source, Device::CPU).unwrap();
        let x = Tensor::zeros([2, 5, 32, 32], (Kind::Float, tch::Device::Cpu));
        let run = || Ok(module.features(&x, Mode::Evaluate).size());
        let error = engine::run(run).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        let text = error.to_string();
        assert!(
            text.contains("trainable.pt") && text.contains("channels"),
            "{text}"
        );
    }
}
