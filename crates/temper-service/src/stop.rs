//! Stopping in two stages, and the tasks that have to end before a process may.

use std::{
    future::Future,
    io,
    panic::AssertUnwindSafe,
    sync::{Arc, OnceLock},
};

use futures::{FutureExt as _, future::select_all};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;

/// A signal that stops a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM: of supervisors.
    Terminate,
    /// SIGUSR1: of batch systems, which warn by it before the time is over.
    User1,
}

impl StopSignal {
    /// The signal's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
            Self::User1 => "SIGUSR1",
        }
    }
}

/// The two stages of a stop. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Stage one: take no new work, finish or give back what is held.
    pub graceful: CancellationToken,
    /// Stage two: drop everything.
    pub cut: CancellationToken,
    first: Arc<OnceLock<StopSignal>>,
    second: Arc<OnceLock<StopSignal>>,
}

impl Stop {
    /// A stop that the process's own code brings about.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A stop whose first stage is the first SIGINT or SIGTERM, and whose second stage is the
    /// second. The task that listens lives as long as the process.
    ///
    /// # Errors
    /// When the signal handlers cannot be installed.
    pub fn on_signals() -> io::Result<Self> {
        let stop = Self::new();
        let signals = Signals::new([StopSignal::Interrupt, StopSignal::Terminate])?;
        tokio::spawn(listen(stop.clone(), signals));
        Ok(stop)
    }

    /// The same of a process that batch systems start: SIGUSR1 means what SIGTERM does.
    ///
    /// # Errors
    /// As [`Self::on_signals`].
    pub fn on_batch_signals() -> io::Result<Self> {
        let stop = Self::new();
        let signals = [
            StopSignal::Interrupt,
            StopSignal::Terminate,
            StopSignal::User1,
        ];
        tokio::spawn(listen(stop.clone(), Signals::new(signals)?));
        Ok(stop)
    }

    /// The signal that began stage one; none where no signal has.
    #[must_use]
    pub fn signal(&self) -> Option<StopSignal> {
        self.first.get().copied()
    }

    /// The signal that began stage two; none where no signal has.
    #[must_use]
    pub fn cut_signal(&self) -> Option<StopSignal> {
        self.second.get().copied()
    }

    /// Begins stage one.
    pub fn gracefully(&self) {
        self.graceful.cancel();
    }

    /// Begins both stages: whoever waits only for stage one ends too.
    pub fn now(&self) {
        self.graceful.cancel();
        self.cut.cancel();
    }
}

/// The signals that a process listens to.
struct Signals(Vec<(StopSignal, Signal)>);

impl Signals {
    fn new(signals: impl IntoIterator<Item = StopSignal>) -> io::Result<Self> {
        let listened = signals.into_iter().map(|name| {
            let kind = match name {
                StopSignal::Interrupt => SignalKind::interrupt(),
                StopSignal::Terminate => SignalKind::terminate(),
                StopSignal::User1 => SignalKind::user_defined1(),
            };
            Ok((name, signal(kind)?))
        });
        Ok(Self(listened.collect::<io::Result<_>>()?))
    }

    async fn next(&mut self) -> StopSignal {
        let received = self.0.iter_mut().map(|(name, signal)| {
            Box::pin(async move {
                signal.recv().await;
                *name
            })
        });
        select_all(received).await.0
    }
}

async fn listen(stop: Stop, mut signals: Signals) {
    let first = signals.next().await;
    tracing::info!(signal = first.name(), "stopping; a second signal cuts");
    // Set before the token, so that whoever sees the token finds it.
    stop.first.get_or_init(|| first);
    stop.gracefully();
    let second = signals.next().await;
    tracing::warn!(signal = second.name(), "cutting");
    stop.second.get_or_init(|| second);
    stop.now();
}

/// A task panicked.
#[derive(Debug, thiserror::Error)]
#[error("the task `{0}` panicked")]
pub struct TaskPanicked(&'static str);

/// The named tasks of a process or of one part of it. One that panics begins the graceful stop,
/// because a process that lacks one of its tasks only looks alive.
#[derive(Debug, Clone)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: Stop,
    panicked: Arc<OnceLock<&'static str>>,
}

impl Tasks {
    /// No tasks yet.
    #[must_use]
    pub fn new(stop: &Stop) -> Self {
        Self {
            tracker: TaskTracker::new(),
            stop: stop.clone(),
            panicked: Arc::default(),
        }
    }

    /// Runs `future` in a span of its name. Whoever spawns it states at the call when it ends.
    pub fn spawn<F>(&self, name: &'static str, future: F) -> JoinHandle<Option<F::Output>>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let (stop, panicked) = (self.stop.clone(), Arc::clone(&self.panicked));
        let guarded = async move {
            let output = AssertUnwindSafe(future).catch_unwind().await.ok();
            if output.is_none() {
                tracing::error!(task = name, "task panicked");
                // Only the first to panic is remembered.
                panicked.get_or_init(|| name);
                stop.gracefully();
            }
            output
        };
        self.tracker
            .spawn(guarded.instrument(tracing::info_span!("task", name)))
    }

    /// Waits for every task's end.
    ///
    /// # Errors
    /// When one of them panicked.
    pub async fn finish(self) -> Result<(), TaskPanicked> {
        self.tracker.close();
        self.tracker.wait().await;
        self.panicked
            .get()
            .map_or(Ok(()), |name| Err(TaskPanicked(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn panic_in_a_task_is_named_and_stops_the_others() {
        let stop = Stop::new();
        let tasks = Tasks::new(&stop);
        let token = stop.graceful.clone();
        tasks.spawn("patient", async move { token.cancelled().await });
        tasks.spawn("clumsy", async { panic!("on purpose") });
        let error = tasks.finish().await.unwrap_err();
        assert_eq!(error.to_string(), "the task `clumsy` panicked");
        assert!(!stop.cut.is_cancelled());
    }

    #[tokio::test]
    async fn finished_tasks_hand_back_their_output() {
        let tasks = Tasks::new(&Stop::new());
        let task = tasks.spawn("adder", async { 1 + 1 });
        tasks.finish().await.unwrap();
        assert_eq!(task.await.unwrap(), Some(2));
    }
}
