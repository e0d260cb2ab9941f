//! What NVIDIA's driver tells of this process and of its GPUs.

use nvml_wrapper::{Nvml, enums::device::UsedGpuMemory, error::NvmlError};

use crate::{engine::Device, memory::DeviceMemory};

/// Which GPUs a process sees, and how CUDA numbers them.
const VISIBLE: &str = "CUDA_VISIBLE_DEVICES";
const ORDER: &str = "CUDA_DEVICE_ORDER";

/// A GPU, as NVIDIA's driver tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// What it is called everywhere and always.
    pub uuid: String,
    /// The processes that compute on it, by the host's numbers; empty where the driver does not tell.
    pub processes: Vec<u32>,
}

impl Gpu {
    /// What a device is called where the driver does not tell its UUID: what `CUDA_VISIBLE_DEVICES` has
    /// in its place, so that one GPU has one name to processes that see different ones; else its number.
    #[must_use]
    pub fn name_without_driver(device: Device) -> String {
        let list = std::env::var(VISIBLE).ok();
        match device.tch() {
            tch::Device::Cuda(index) => name_of(list.as_deref(), index),
            _ => device.to_string(),
        }
    }
}

/// A GPU as `CUDA_VISIBLE_DEVICES` names it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Named {
    /// By the driver's number.
    Index(u32),
    /// By UUID, of a GPU or of a part of one.
    Uuid(String),
}

/// How many GPUs a process that is started from here sees; none where that is not known, because no
/// driver is there. Asks the driver alone: libtorch is left alone.
#[must_use]
pub fn visible_gpus() -> Option<usize> {
    if let Ok(list) = std::env::var(VISIBLE) {
        return Some(named(&list).len());
    }
    let count = known(Nvml::init().and_then(|nvml| nvml.device_count()))?;
    usize::try_from(count).ok()
}

/// What the driver tells of a device; none of the processor, where there is no driver, or where it
/// counts its devices in another way than libtorch. The driver may refuse parts of it, such as processes
/// within a container.
#[must_use]
pub fn gpu(device: Device) -> Option<Gpu> {
    let tch::Device::Cuda(index) = device.tch() else {
        return None;
    };
    let asked = with_device(index, |gpu| {
        Ok(Gpu {
            uuid: gpu.uuid()?,
            processes: processes(device, gpu),
        })
    });
    asked
        .inspect_err(|error| {
            tracing::warn!(%device, %error, "the driver does not tell of this GPU: it may be another's too");
        })
        .ok()
}

/// The processes that compute on a GPU; none where the driver does not tell.
fn processes(device: Device, gpu: &nvml_wrapper::Device<'_>) -> Vec<u32> {
    match gpu.running_compute_processes() {
        Ok(running) => running.iter().map(|process| process.pid).collect(),
        Err(error) => {
            tracing::warn!(%device, %error, "the driver does not tell who uses this GPU");
            Vec::new()
        }
    }
}

/// Bytes that this process holds on GPUs, libtorch's cache and the driver's context included; none
/// where there is no driver, or where it knows this process by another number (a container without
/// the host's process numbers). libtorch gives nothing back while it runs, so that this is the most
/// that it has ever held.
pub(crate) fn held() -> Option<u64> {
    let bytes = known(of_process(std::process::id()))?;
    (bytes > 0).then_some(bytes)
}

fn of_process(process: u32) -> Result<u64, NvmlError> {
    // The library is looked for at run time: this program starts without it.
    let nvml = Nvml::init()?;
    let mut bytes = 0;
    for index in 0..nvml.device_count()? {
        for running in nvml.device_by_index(index)?.running_compute_processes()? {
            if let (true, UsedGpuMemory::Used(used)) =
                (running.pid == process, running.used_gpu_memory)
            {
                bytes += used;
            }
        }
    }
    Ok(bytes)
}

/// Bytes of a GPU that are free, or held by this process for its next job; none where that is not
/// known.
pub(crate) fn free(device: Device) -> Option<u64> {
    let tch::Device::Cuda(index) = device.tch() else {
        return None;
    };
    known(with_device(index, |device| {
        let mut bytes = device.memory_info()?.free;
        // Without it nothing is known: what this process keeps for its next job would look taken.
        for running in device.running_compute_processes()? {
            if let (true, UsedGpuMemory::Used(used)) =
                (running.pid == std::process::id(), running.used_gpu_memory)
            {
                bytes += used;
            }
        }
        Ok(bytes)
    }))
}

/// How the memory of a GPU stands; none where that is not known.
pub(crate) fn memory(device: Device) -> Option<DeviceMemory> {
    let tch::Device::Cuda(index) = device.tch() else {
        return None;
    };
    known(with_device(index, |device| {
        let memory = device.memory_info()?;
        Ok(DeviceMemory {
            used: memory.used,
            total: memory.total,
        })
    }))
}

fn known<T>(answer: Result<T, NvmlError>) -> Option<T> {
    answer
        .inspect_err(|error| tracing::debug!(%error, "GPUs are not known"))
        .ok()
}

/// Asks about the GPU that libtorch has under a number.
fn with_device<T>(
    index: usize,
    ask: impl FnOnce(&nvml_wrapper::Device<'_>) -> Result<T, NvmlError>,
) -> Result<T, NvmlError> {
    let nvml = Nvml::init()?;
    let name = match std::env::var(VISIBLE) {
        Ok(list) => named(&list).into_iter().nth(index),
        Err(_) => u32::try_from(index).ok().map(Named::Index),
    };
    match name.ok_or(NvmlError::NotFound)? {
        Named::Uuid(uuid) => ask(&nvml.device_by_uuid(uuid)?),
        Named::Index(index) if counts_alike(&nvml)? => ask(&nvml.device_by_index(index)?),
        Named::Index(_) => Err(NvmlError::NotFound),
    }
}

/// Whether the driver's numbers are CUDA's, which has the fastest GPU first unless told otherwise.
fn counts_alike(nvml: &Nvml) -> Result<bool, NvmlError> {
    if std::env::var(ORDER).is_ok_and(|order| order == "PCI_BUS_ID") {
        return Ok(true);
    }
    let name = |index| nvml.device_by_index(index)?.name();
    let names: Vec<_> = (0..nvml.device_count()?)
        .map(name)
        .collect::<Result<_, _>>()?;
    Ok(names.windows(2).all(|pair| pair[0] == pair[1]))
}

/// What the variable names: as CUDA reads it, up to the first that names none.
fn named(list: &str) -> Vec<Named> {
    let one = |text: &str| match text.trim() {
        uuid if uuid.starts_with("GPU-") || uuid.starts_with("MIG-") => {
            Some(Named::Uuid(uuid.to_owned()))
        }
        index => index.parse().ok().map(Named::Index),
    };
    list.split(',').map_while(one).collect()
}

/// What names the GPU that CUDA has under a number, given what the variable says.
fn name_of(list: Option<&str>, index: usize) -> String {
    match list.and_then(|list| named(list).into_iter().nth(index)) {
        Some(Named::Uuid(uuid)) => uuid,
        Some(Named::Index(visible)) => format!("cuda:{visible}"),
        None => format!("cuda:{index}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visible_devices_are_read_as_cuda_reads_them() {
        assert_eq!(named("2,0"), [Named::Index(2), Named::Index(0)]);
        assert_eq!(named("1,-1,0"), [Named::Index(1)]);
        assert_eq!(
            named("GPU-8932f937, 3")[0],
            Named::Uuid("GPU-8932f937".into())
        );
        for none in ["", "-1", "NoDevFiles"] {
            assert_eq!(named(none), [], "{none}");
        }
    }

    #[test]
    fn gpu_has_one_name_whichever_of_them_a_process_sees() {
        assert_eq!(name_of(None, 1), "cuda:1");
        assert_eq!(name_of(Some("0,1"), 1), "cuda:1");
        assert_eq!(name_of(Some("1"), 0), "cuda:1");
        assert_eq!(name_of(Some("3,GPU-8932f937"), 1), "GPU-8932f937");
        assert_eq!(name_of(Some("3"), 1), "cuda:1");
    }

    #[test]
    fn processor_is_no_gpu() {
        assert_eq!(gpu(Device::CPU), None);
    }
}
