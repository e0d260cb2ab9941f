//! Compares a full-size network with what timm computed, for `make parity-models`.
//!
//! usage: `parity_models FOLDER`, which holds `weights.safetensors` as the hub has them and
//! `expected.safetensors`, both written by `parity/check_models.py`. Prints one line of what it
//! found; the status is 1 where something disagrees, is missing or unused.

use std::{env, path::Path, process::ExitCode};

use anyhow::Context as _;
use temper_torch::{
    Device,
    models::{Architecture, Head, Network},
    tensors::Tensors,
};

use crate::parity::{MODES, Report, TOLERANCE, computed, unexpected};

#[path = "../tests/it/parity.rs"]
mod parity;

fn main() -> anyhow::Result<ExitCode> {
    let folder = env::args().nth(1).context("usage: parity_models FOLDER")?;
    let folder = Path::new(&folder);
    let all = Tensors::read(&folder.join("expected.safetensors"))?;
    let described = all.metadata().context("no architecture in the metadata")?;
    let architecture: Architecture = serde_json::from_str(described)?;
    let weights = folder.join("weights.safetensors");
    // A tower's own head is not in the file.
    let head = if architecture.prefix.is_empty() {
        Head::Stored
    } else {
        Head::Fresh { seed: 0 }
    };
    let network = Network::pretrained(&architecture, &weights, head, Device::CPU)?;
    anyhow::ensure!(
        network.unused().other.is_empty(),
        "unused: {:?}",
        network.unused().other
    );
    let x = all.get("input").context("no input")?;
    let mut report = Report::default();
    for (prefix, mode) in MODES {
        let expected = all.below(prefix);
        let projection = expected.get("projection").context("no projection")?;
        let values = computed(&network, &x, mode, &projection);
        let more = unexpected(&values, &expected);
        anyhow::ensure!(more.is_empty(), "timm lacks {more:?}");
        report.add(prefix, &values, &expected);
    }
    let Report {
        largest,
        tensor,
        compared,
        zeros,
    } = report;
    println!("largest={largest:.1e} tensor={tensor} compared={compared} zeros={zeros}");
    Ok(if largest <= TOLERANCE {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
