//! What NVIDIA's driver tells of this process.

use nvml_wrapper::{Nvml, enums::device::UsedGpuMemory, error::NvmlError};

use crate::{engine::Device, memory::DeviceMemory};

/// Bytes that this process holds on GPUs, libtorch's cache and the driver's context included; none
/// where there is no driver, or where it knows this process by another number (a container without
/// the host's process numbers). libtorch gives nothing back while it runs, so that this is the most
/// that it has ever held.
pub(crate) fn held() -> Option<u64> {
    match of_process(std::process::id()) {
        Ok(bytes) => (bytes > 0).then_some(bytes),
        Err(error) => {
            tracing::debug!(%error, "memory of GPUs is not known");
            None
        }
    }
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
/// known, or where the driver counts its devices in another way than libtorch.
pub(crate) fn free(device: Device) -> Option<u64> {
    known(of_device(index(device)?))
}

/// How the memory of a GPU stands; none where that is not known, for the same reasons.
pub(crate) fn memory(device: Device) -> Option<DeviceMemory> {
    let index = index(device)?;
    let asked = || {
        let nvml = Nvml::init()?;
        let memory = nvml.device_by_index(index)?.memory_info()?;
        Ok(DeviceMemory {
            used: memory.used,
            total: memory.total,
        })
    };
    known(asked())
}

/// The driver's number of a GPU.
fn index(device: Device) -> Option<u32> {
    let tch::Device::Cuda(index) = device.tch() else {
        return None;
    };
    if std::env::var_os("CUDA_VISIBLE_DEVICES").is_some() {
        return None;
    }
    u32::try_from(index).ok()
}

fn known<T>(answer: Result<T, NvmlError>) -> Option<T> {
    answer
        .inspect_err(|error| tracing::debug!(%error, "memory of GPUs is not known"))
        .ok()
}

fn of_device(index: u32) -> Result<u64, NvmlError> {
    let nvml = Nvml::init()?;
    let device = nvml.device_by_index(index)?;
    let mut bytes = device.memory_info()?.free;
    for running in device.running_compute_processes()? {
        if let (true, UsedGpuMemory::Used(used)) =
            (running.pid == std::process::id(), running.used_gpu_memory)
        {
            bytes += used;
        }
    }
    Ok(bytes)
}
