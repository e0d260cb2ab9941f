//! Runs an attack step by step for `make parity`, which compares the iterates with its peers'.
//!
//! usage: `parity_attacks FOLDER`, written by `parity/check_attacks.py`: `input.safetensors` with
//! images, labels, noise and, for targeted losses, classes, and the case as JSON in its metadata;
//! the model is `model.pt`, a scripted module, or, where the case has an architecture, a network of
//! this crate on `weights.safetensors`. Leaves `output.safetensors`: `step.0` and so on, `result`.

use std::{env, fs, path::Path};

use anyhow::Context as _;
use serde::Deserialize;
use tch::{CModule, Kind, Tensor};
use temper_core::attack::Attack;
use temper_torch::{
    Device,
    attack::{Model, Radius, trace},
    models::{Architecture, Head, Mode, Network},
    set_threads,
    tensors::Tensors,
};

#[derive(Deserialize)]
struct Case {
    attack: Attack,
    epsilon: f64,
    #[serde(default)]
    architecture: Option<Architecture>,
}

fn main() -> anyhow::Result<()> {
    set_threads(1);
    let folder = env::args().nth(1).context("usage: parity_attacks FOLDER")?;
    let folder = Path::new(&folder);
    let input = Tensors::read(&folder.join("input.safetensors"))?;
    let case: Case = serde_json::from_str(input.metadata().context("no case in the metadata")?)?;
    let get = |name: &str| input.get(name).with_context(|| format!("no {name}"));
    if let Some(architecture) = &case.architecture {
        let weights = folder.join("weights.safetensors");
        let network = Network::pretrained(architecture, &weights, Head::Stored, Device::CPU)?;
        write(folder, &case, &|x| network.logits(x, Mode::Evaluate), &get)
    } else {
        let module = CModule::load(folder.join("model.pt"))?;
        // What a module gives here for a failure is no tensor, and ends the comparison.
        let model = |x: &Tensor| {
            module
                .forward_ts(&[x])
                .unwrap_or_else(|error| panic!("the module fails: {error}"))
        };
        write(folder, &case, &model, &get)
    }
}

/// Runs the case and writes all iterates.
fn write(
    folder: &Path,
    case: &Case,
    model: &Model<'_>,
    get: &dyn Fn(&str) -> anyhow::Result<Tensor>,
) -> anyhow::Result<()> {
    let (x, y) = (get("images")?, get("labels")?.to_kind(Kind::Int64));
    let (classes, noise) = (
        get("classes").ok().map(|c| c.to_kind(Kind::Int64)),
        get("noise")?,
    );
    let mut steps = Vec::new();
    let result = trace(
        model,
        (&x, &y),
        &Radius::All(case.epsilon),
        &case.attack,
        (classes.as_ref(), Some(&noise)),
        &mut |iterate| steps.push((format!("step.{}", iterate.step), iterate.images.copy())),
    )?;
    steps.push(("result".to_owned(), result));
    let path = folder.join("output.safetensors");
    Tensor::write_safetensors(&steps, &path)?;
    anyhow::ensure!(fs::metadata(&path)?.len() > 0, "nothing was written");
    Ok(())
}
