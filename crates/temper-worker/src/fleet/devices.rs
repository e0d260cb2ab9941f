//! Which devices a fleet has. Read without libtorch, which is the children's alone.

use std::{collections::BTreeSet, str::FromStr};

/// What `--devices` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Devices {
    /// Every GPU that this process sees.
    All,
    /// These.
    Listed(Vec<String>),
}

/// Devices that a fleet cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DevicesError {
    /// Not devices.
    #[error("{}: devices are `all`, or a list such as cuda:0,cuda:1 or cpu,cpu", unknown(.0))]
    Unknown(Vec<String>),
    /// A GPU twice.
    #[error("{} named twice: --share-device allows several workers on one GPU", .0.join(", "))]
    Twice(Vec<String>),
    /// No driver.
    #[error(
        "`all` means the GPUs that NVIDIA's driver tells of, and it is not there: name the devices, such \
         as cuda:0,cuda:1 or cpu,cpu"
    )]
    NoDriver,
    /// None is visible.
    #[error("no GPU is visible here (CUDA_VISIBLE_DEVICES): name devices, such as cpu,cpu")]
    None,
    /// Slurm gave none, whatever the machine has.
    #[error(
        "this Slurm job was given no GPU (CUDA_VISIBLE_DEVICES is not set): ask for some, such as \
         --gres=gpu:4, or name devices, such as cpu,cpu"
    )]
    NotGiven,
}

/// Reads `all`, or names separated by commas.
impl FromStr for Devices {
    type Err = DevicesError;

    fn from_str(text: &str) -> Result<Self, DevicesError> {
        if text.trim() == "all" {
            return Ok(Self::All);
        }
        let names: Vec<_> = text.split(',').map(|name| name.trim().to_owned()).collect();
        let (known, unknown): (Vec<_>, Vec<_>) =
            names.into_iter().partition(|name| is_device(name));
        if unknown.is_empty() {
            Ok(Self::Listed(known))
        } else {
            Err(DevicesError::Unknown(unknown))
        }
    }
}

/// What is around.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Surroundings {
    /// GPUs that a process sees; none where that is not known.
    pub visible: Option<usize>,
    /// Whether something has chosen them.
    pub chosen: bool,
    /// Whether Slurm started this.
    pub slurm: bool,
}

impl Surroundings {
    pub(crate) fn here() -> Self {
        let is_set = |name| std::env::var_os(name).is_some();
        Self {
            visible: temper_torch::visible_gpus(),
            chosen: is_set("CUDA_VISIBLE_DEVICES"),
            slurm: is_set("SLURM_JOB_ID"),
        }
    }
}

impl Devices {
    /// The devices, one a worker.
    pub(crate) fn resolve(
        &self,
        around: Surroundings,
        shared: bool,
    ) -> Result<Vec<String>, DevicesError> {
        match self {
            Self::Listed(names) => {
                let mut seen = BTreeSet::new();
                let again = |name: &&String| *name != "cpu" && !seen.insert((*name).clone());
                let twice: Vec<_> = names.iter().filter(again).cloned().collect();
                if twice.is_empty() || shared {
                    Ok(names.clone())
                } else {
                    Err(DevicesError::Twice(twice))
                }
            }
            Self::All if around.slurm && !around.chosen => Err(DevicesError::NotGiven),
            Self::All => match around.visible {
                None => Err(DevicesError::NoDriver),
                Some(0) => Err(DevicesError::None),
                Some(count) => Ok((0..count).map(|index| format!("cuda:{index}")).collect()),
            },
        }
    }
}

fn is_device(name: &str) -> bool {
    let index = name.strip_prefix("cuda:");
    name == "cpu" || index.is_some_and(|index| index.parse::<u16>().is_ok())
}

fn unknown(names: &[String]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALONE: Surroundings = Surroundings {
        visible: None,
        chosen: false,
        slurm: false,
    };

    fn resolved(text: &str, around: Surroundings) -> Result<Vec<String>, DevicesError> {
        text.parse::<Devices>()?.resolve(around, false)
    }

    #[test]
    fn listed_devices_stand_as_they_are() {
        let listed = resolved("cpu, cpu,cuda:1", ALONE).unwrap();
        assert_eq!(listed, ["cpu", "cpu", "cuda:1"]);
    }

    #[test]
    fn every_unknown_device_is_named_at_once() {
        let error = resolved("gpu0,cpu,cuda:x,", ALONE).unwrap_err().to_string();
        assert!(error.contains("`gpu0`, `cuda:x`, ``"), "{error}");
    }

    #[test]
    fn gpu_named_twice_is_refused_unless_it_may_be_shared() {
        let twice = DevicesError::Twice(vec!["cuda:0".to_owned()]);
        assert_eq!(resolved("cuda:0,cuda:0,cpu,cpu", ALONE), Err(twice));
        let shared: Devices = "cuda:0,cuda:0".parse().unwrap();
        assert_eq!(shared.resolve(ALONE, true).unwrap().len(), 2);
    }

    #[test]
    fn all_means_what_is_visible() {
        let visible = |visible| Surroundings { visible, ..ALONE };
        assert_eq!(
            resolved("all", visible(Some(2))).unwrap(),
            ["cuda:0", "cuda:1"]
        );
        assert_eq!(resolved("all", visible(None)), Err(DevicesError::NoDriver));
        assert_eq!(resolved("all", visible(Some(0))), Err(DevicesError::None));
    }

    #[test]
    fn all_within_slurm_means_what_slurm_gave() {
        let slurm = |chosen| Surroundings {
            visible: Some(1),
            chosen,
            slurm: true,
        };
        assert_eq!(resolved("all", slurm(true)).unwrap(), ["cuda:0"]);
        assert_eq!(resolved("all", slurm(false)), Err(DevicesError::NotGiven));
    }
}
