//! How much memory a job takes, and what is done when there is not enough.

use std::{env, fs, os::unix::process::CommandExt as _, process::Command};

use crate::{engine::Device, gpu, plan::LEAST_MICRO_BATCH};

/// How often a micro-batch may be halved: a quarter of what was asked for.
const LEAST_SHARE: usize = 4;

/// The most memory that was in use since it was started.
///
/// On the processor it is the peak of the process's resident memory, images and all, which Linux
/// counts; elsewhere it is not known. On a GPU it is what the driver says that the process holds.
/// Both are upper bounds: libtorch gives back nothing of a GPU, nor does a process after
/// [`keep_freed_memory`], so that its later jobs count what earlier ones took too.
#[derive(Debug, Clone, Copy)]
pub struct PeakMemory {
    device: Device,
}

impl PeakMemory {
    /// Starts to count anew. One job at a time: the count is the process's.
    #[must_use]
    pub fn start(device: Device) -> Self {
        // 5: "reset the peak resident set size" (proc_pid_clear_refs(5)). Where it is refused the
        // peak is that of the process's whole life, which is still an upper bound.
        let _refused = fs::write("/proc/self/clear_refs", "5");
        Self { device }
    }

    /// What was started elsewhere.
    pub(crate) fn of(device: Device) -> Self {
        Self { device }
    }

    /// Bytes so far; none where it is not known.
    #[must_use]
    pub fn bytes(&self) -> Option<u64> {
        if self.device == Device::CPU {
            status("VmHWM:")
        } else {
            gpu::held()
        }
    }
}

/// Bytes of the device's memory that a job of this process could have; none where it is not known. On
/// the processor that is what Linux says is available, and what this process keeps for its next job.
#[must_use]
pub fn free_memory(device: Device) -> Option<u64> {
    if device == Device::CPU {
        let available = kibibytes("/proc/meminfo", "MemAvailable:")?;
        Some(available + status("VmRSS:").unwrap_or_default())
    } else {
        gpu::free(device)
    }
}

/// Memory of a device, in bytes; of a processor, the machine's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceMemory {
    /// Used by whomever.
    pub used: u64,
    /// All of it.
    pub total: u64,
}

/// How the device's memory stands; none where it is not known, as without NVIDIA's driver.
#[must_use]
pub fn device_memory(device: Device) -> Option<DeviceMemory> {
    if device != Device::CPU {
        return gpu::memory(device);
    }
    let total = kibibytes("/proc/meminfo", "MemTotal:")?;
    let available = kibibytes("/proc/meminfo", "MemAvailable:")?;
    let used = total.saturating_sub(available);
    Some(DeviceMemory { used, total })
}

/// What glibc is told: to serve blocks of up to 1 GiB from its heap, and to keep what is freed.
const TUNABLES: &str = "glibc.malloc.mmap_threshold=1073741824:\
                        glibc.malloc.trim_threshold=1099511627776:\
                        glibc.malloc.top_pad=268435456";

/// Starts this program anew, in this process, with glibc told to keep memory that is freed; to be
/// called first in `main`. Every step asks for and frees hundreds of megabytes, in blocks that glibc
/// gives back to the system by default and the system clears before it gives them out again
/// (`make bench-train` tells what that costs). Once `GLIBC_TUNABLES` is set, by you or by this, it does nothing, nor where
/// the program cannot be started anew.
pub fn keep_freed_memory() {
    const VARIABLE: &str = "GLIBC_TUNABLES";
    if cfg!(not(all(target_os = "linux", target_env = "gnu"))) || env::var_os(VARIABLE).is_some() {
        return;
    }
    let mut arguments = env::args_os();
    let (name, Ok(program)) = (arguments.next(), env::current_exe()) else {
        return;
    };
    let mut again = Command::new(program);
    if let Some(name) = name {
        again.arg0(name);
    }
    // It comes back with an error alone.
    let error = again.args(arguments).env(VARIABLE, TUNABLES).exec();
    eprintln!("not started anew to keep freed memory, and slower for it: {error}");
}

/// Half of the micro-batch `size`, where that may help: `asked` is what the job's settings say.
/// With batch norm another size is another training, and so there is none.
pub(crate) fn smaller(size: usize, asked: usize, batch_norm: bool) -> Option<usize> {
    let half = size / 2;
    let is_enough = half >= LEAST_MICRO_BATCH && half * LEAST_SHARE >= asked;
    (!batch_norm && is_enough).then_some(half)
}

/// What is said of a lack of memory, `reason`, at micro-batches of `size`.
pub(crate) fn advice(reason: &str, size: usize, peak: Option<u64>) -> String {
    let peak = peak.map_or_else(String::new, |bytes| {
        format!("; {} MiB were in use at most", bytes >> 20)
    });
    let advice = if size >= 4 {
        format!("micro_batch_size {} takes about half of it", size / 2)
    } else {
        "no smaller micro_batch_size is left: smaller images or another model may fit".to_owned()
    };
    format!("{reason}{peak}; at micro_batch_size {size}: {advice}")
}

/// A number of bytes in `/proc/self/status`.
fn status(name: &str) -> Option<u64> {
    kibibytes("/proc/self/status", name)
}

/// A number of bytes in a file that tells them in `kB`.
fn kibibytes(path: &str, name: &str) -> Option<u64> {
    let facts = fs::read_to_string(path).ok()?;
    let line = facts.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn micro_batch_is_halved_twice_at_most_and_never_under_batch_norm() {
        assert_eq!(smaller(16, 16, false), Some(8));
        assert_eq!(smaller(8, 16, false), Some(4));
        assert_eq!(smaller(4, 16, false), None);
        assert_eq!(smaller(3, 3, false), None);
        assert_eq!(smaller(16, 16, true), None);
    }

    #[test]
    fn advice_names_peak_and_what_would_fit() {
        let text = advice("it is full", 16, Some(3 << 30));
        assert!(
            text.contains("3072 MiB") && text.contains("micro_batch_size 8"),
            "{text}"
        );
        assert!(advice("it is full", 2, None).contains("no smaller"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn memory_of_the_processor_is_the_machines() {
        let memory = device_memory(Device::CPU).unwrap();
        assert!(0 < memory.used && memory.used < memory.total, "{memory:?}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn peak_remembers_what_is_freed_again() {
        let peak = PeakMemory::start(Device::CPU);
        let before = peak.bytes().unwrap();
        let much = std::hint::black_box(vec![1_u8; 256 << 20]);
        drop(much);
        let grown = peak.bytes().unwrap() - before;
        assert!(grown > 200 << 20, "{grown}");
    }
}
