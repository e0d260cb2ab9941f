//! The device, its threads, and the wall between libtorch's failures and the rest of the process.

use std::{
    any::Any,
    cell::Cell,
    fmt,
    panic::{self, AssertUnwindSafe, catch_unwind},
    str::FromStr,
    sync::Once,
};

use crate::TorchError;

/// How the message of a panic begins that is an exception of libtorch's.
pub(crate) const THROWN: &str = "called `Result::unwrap()` on an `Err` value: Torch(\"";

/// Where tensors live: `cpu`, or `cuda:N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device(tch::Device);

impl Device {
    /// The processor.
    pub const CPU: Self = Self(tch::Device::Cpu);

    /// How many GPUs libtorch sees; 0 where it was built without CUDA.
    #[must_use]
    pub fn cuda_count() -> usize {
        usize::try_from(tch::Cuda::device_count()).unwrap_or(0)
    }

    pub(crate) fn tch(self) -> tch::Device {
        self.0
    }
}

/// Reads `cpu`, `cuda` (the first GPU) or `cuda:N`; a GPU must be there.
impl FromStr for Device {
    type Err = TorchError;

    fn from_str(text: &str) -> Result<Self, TorchError> {
        let unknown = || TorchError::UnknownDevice(text.to_owned());
        let index: usize = match text {
            "cpu" => return Ok(Self::CPU),
            "cuda" => 0,
            other => other
                .strip_prefix("cuda:")
                .and_then(|n| n.parse().ok())
                .ok_or_else(unknown)?,
        };
        if index >= Self::cuda_count() {
            return Err(unknown());
        }
        Ok(Self(tch::Device::Cuda(index)))
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            tch::Device::Cuda(index) => write!(f, "cuda:{index}"),
            _ => f.write_str("cpu"),
        }
    }
}

/// Sets how many threads one libtorch operation uses on the processor, at least 1; to be called on
/// the thread that computes, before it does. More threads in all than cores make every operation
/// many times slower. Results are repeatable to the last bit with one thread.
pub fn set_threads(count: usize) {
    tch::set_num_threads(i32::try_from(count.max(1)).unwrap_or(i32::MAX));
}

/// Runs `work` and turns a panic into an error. Tensor operations panic on C++ exceptions; inside
/// this crate they are written in that plain form, and every public entry point runs in here.
///
/// # Errors
/// The error of `work`, or what was thrown below it; after any other panic
/// [`TorchError::OutOfMemory`], [`TorchError::Device`] or [`TorchError::Torch`].
pub fn run<T>(work: impl FnOnce() -> Result<T, TorchError>) -> Result<T, TorchError> {
    tell_only_of_bugs();
    let outside = INSIDE.replace(true);
    // What `work` leaves half done after a panic is dropped with it: nothing outside sees it.
    let result = catch_unwind(AssertUnwindSafe(work));
    INSIDE.set(outside);
    result.unwrap_or_else(|panic| Err(caught(panic)))
}

/// Leaves [`run`] with an error from where none can be returned, in the plain form of tensor
/// operations. The panic hook hears nothing of it.
pub(crate) fn throw(error: TorchError) -> ! {
    panic::resume_unwind(Box::new(error))
}

/// What a panic amounts to.
fn caught(panic: Box<dyn Any + Send>) -> TorchError {
    match panic.downcast::<TorchError>() {
        Ok(error) => *error,
        Err(panic) => TorchError::from_message(panic_message(panic.as_ref())),
    }
}

thread_local! {
    /// Whether this thread is in [`run`].
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Keeps the process's panic hook from what libtorch throws within [`run`], which becomes an error
/// and is told as that. It is no mere noise: a backtrace takes memory, and where libtorch has found
/// none, std waits for ever to say so, for a lock that it holds itself.
fn tell_only_of_bugs() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let tell = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            let thrown = panic_message(panic.payload()).starts_with(THROWN);
            if !(thrown && INSIDE.get()) {
                tell(panic);
            }
        }));
    });
}

/// What a panic says of itself.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without a message")
}

#[cfg(test)]
mod tests {
    use tch::{Kind, Tensor};

    use super::*;

    #[test]
    fn exception_of_libtorch_becomes_an_error_of_one_line() {
        let error = run(|| {
            let a = Tensor::zeros([2, 3], (Kind::Float, tch::Device::Cpu));
            Ok(a.matmul(&a))
        })
        .unwrap_err();
        assert!(matches!(error, TorchError::Torch(_)), "{error:?}");
        let text = error.to_string();
        assert!(
            text.contains("shapes cannot be multiplied") && !text.contains("frame"),
            "{text}"
        );
    }

    #[test]
    fn impossible_allocation_is_out_of_memory() {
        let options = (Kind::Float, tch::Device::Cpu);
        let error = run(|| Ok(Tensor::zeros([1 << 30, 1 << 20], options))).unwrap_err();
        assert!(matches!(error, TorchError::OutOfMemory(_)), "{error:?}");
    }

    #[test]
    fn error_that_is_thrown_comes_out_as_it_was() {
        let error = run::<()>(|| throw(TorchError::OutOfMemory("2 GiB".to_owned()))).unwrap_err();
        assert!(
            matches!(&error, TorchError::OutOfMemory(text) if text == "2 GiB"),
            "{error:?}"
        );
    }

    #[test]
    fn unknown_devices_are_refused() {
        assert_eq!("cpu".parse::<Device>().unwrap(), Device::CPU);
        for text in ["", "gpu", "cuda:x", "cuda:4096", "cuda:-1"] {
            assert!(
                matches!(text.parse::<Device>(), Err(TorchError::UnknownDevice(_))),
                "{text}"
            );
        }
    }
}
