//! The one OS thread that libtorch runs on. Tensors are not shared between threads, and libtorch
//! keeps state by thread: so whatever touches them is sent here as a command.

use std::{
    any::Any,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc,
    thread,
    time::Duration,
};

use tokio::sync::oneshot;

type Command = Box<dyn FnOnce() + Send>;

/// A handle to the thread, which ends once the handle is gone and the command that runs is over.
#[derive(Debug)]
pub(crate) struct Engine {
    commands: mpsc::Sender<Command>,
    thread: thread::JoinHandle<()>,
    /// Resolves when the thread has no more commands.
    idle: oneshot::Receiver<()>,
}

/// A command panicked; the thread lives on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the libtorch thread panicked: {0}")]
pub(crate) struct Panicked(pub String);

impl Engine {
    /// Starts the thread. `threads`: see [`temper_torch::set_threads`].
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub(crate) fn start(threads: usize) -> io::Result<Self> {
        let (commands, inbox) = mpsc::channel::<Command>();
        let (alive, idle) = oneshot::channel::<()>();
        let run = move || {
            let _alive = alive;
            temper_torch::set_threads(threads);
            for command in inbox {
                command();
            }
        };
        let thread = thread::Builder::new()
            .name("libtorch".to_owned())
            .spawn(run)?;
        Ok(Self {
            commands,
            thread,
            idle,
        })
    }

    /// Ends the thread, so that the process does not end around it. A command that outlasts
    /// `limit` is left alone.
    pub(crate) async fn finish(self, limit: Duration) {
        let Self {
            commands,
            thread,
            idle,
        } = self;
        drop(commands);
        let ended = async move {
            let _idle = idle.await;
            // What the thread keeps is torn down after its last command, by the driver's leave. Commands
            // do not panic through: there is no panic to learn of.
            let _joined = tokio::task::spawn_blocking(|| thread.join()).await;
        };
        if tokio::time::timeout(limit, ended).await.is_err() {
            tracing::warn!("the libtorch thread is still busy: leaving it");
        }
    }

    /// Runs `work` on the thread, after the commands before it. Dropping the future does not stop
    /// the work: its observer has to.
    ///
    /// # Errors
    /// When `work` panics.
    pub(crate) async fn run<T, F>(&self, work: F) -> Result<T, Panicked>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let span = tracing::Span::current();
        let command = move || {
            // What `work` leaves half done is dropped with it: nothing outside sees it.
            let result = catch_unwind(AssertUnwindSafe(|| span.in_scope(work)));
            // Nobody waits any more: the result is not wanted.
            let _unwanted = answer.send(result.map_err(|panic| Panicked(message(&*panic))));
        };
        let gone = || Panicked("it is gone".to_owned());
        self.commands.send(Box::new(command)).map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }
}

/// What a panic says.
pub(crate) fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("it does not say why").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn thread_survives_a_panic_and_stays_the_same() {
        let engine = Engine::start(1).unwrap();
        let name = || thread::current().name().map(str::to_owned);
        let before = engine.run(|| thread::current().id()).await.unwrap();
        let panicked = engine.run(|| -> u32 { panic!("on {}", "purpose") }).await;
        assert_eq!(panicked, Err(Panicked("on purpose".to_owned())));
        assert_eq!(engine.run(|| thread::current().id()).await.unwrap(), before);
        assert_eq!(engine.run(name).await.unwrap().as_deref(), Some("libtorch"));
    }

    #[tokio::test]
    async fn abandoned_command_does_not_harm_the_next_one() {
        let engine = Engine::start(1).unwrap();
        let (release, held) = mpsc::channel::<()>();
        let mut abandoned = Box::pin(engine.run(move || held.recv().is_ok()));
        // Polled once: the command is on its way.
        assert!(is_pending(abandoned.as_mut()).await);
        drop(abandoned);
        release.send(()).unwrap();
        assert_eq!(engine.run(|| 7).await, Ok(7));
        engine.finish(Duration::from_secs(5)).await;
    }

    async fn is_pending<F: Future>(mut future: std::pin::Pin<&mut F>) -> bool {
        std::future::poll_fn(|context| {
            std::task::Poll::Ready(future.as_mut().poll(context).is_pending())
        })
        .await
    }
}
