//! Takes down what is logged within a job's span, on whatever thread.

use std::{
    collections::HashMap,
    fmt::{self, Write as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use temper_proto::v1::{LogLevel, LogLine};
use temper_service::telemetry::Extra;
use tracing::{
    Event, Level, Span, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    layer::Context,
    registry::LookupSpan,
};

use super::{buffer::Buffer, redact::Secrets};

/// Characters of a line that are kept; the coordinator keeps no more.
const MAX_MESSAGE: usize = 2000;

/// What is logged of jobs, by the spans in which they run. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Capture {
    jobs: Arc<Mutex<HashMap<u64, Arc<Buffer>>>>,
    secrets: Arc<Secrets>,
}

/// As long as this lives, what is logged within its span goes to its buffer.
#[derive(Debug)]
pub(crate) struct Captured {
    capture: Capture,
    /// Kept open, so that its id means no other. None of a process that does not log.
    span: Span,
    buffer: Arc<Buffer>,
}

impl Capture {
    /// Captures nothing yet. What the environment's secrets are is taken down now.
    #[must_use]
    pub fn new() -> Self {
        Self {
            jobs: Arc::default(),
            secrets: Arc::new(Secrets::from_environment()),
        }
    }

    /// The layer that listens, for the process's subscriber. It hears Temper's own crates from
    /// `info` up, whatever is logged to standard error: other libraries may log requests with their
    /// credentials.
    #[must_use]
    pub fn layer(&self) -> Extra {
        let own = Targets::new().with_target("temper", LevelFilter::INFO);
        Listener(self.clone()).with_filter(own).boxed()
    }

    /// Begins to capture what is logged within `span`.
    pub(crate) fn attach(&self, span: &Span) -> Captured {
        let buffer = Arc::<Buffer>::default();
        if let Some(id) = span.id() {
            self.jobs().insert(id.into_u64(), Arc::clone(&buffer));
        }
        Captured {
            capture: self.clone(),
            span: span.clone(),
            buffer,
        }
    }

    fn jobs(&self) -> MutexGuard<'_, HashMap<u64, Arc<Buffer>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Captured {
    pub(crate) fn buffer(&self) -> &Buffer {
        &self.buffer
    }

    pub(crate) fn redact(&self, text: &str) -> String {
        self.capture.secrets.redact(text)
    }
}

impl Drop for Captured {
    fn drop(&mut self) {
        if let Some(id) = self.span.id() {
            self.capture.jobs().remove(&id.into_u64());
        }
    }
}

struct Listener(Capture);

impl<S> Layer<S> for Listener
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let Some(mut scope) = context.event_scope(event) else {
            return;
        };
        let of = |id| self.0.jobs().get(&id).cloned();
        let Some(buffer) = scope.find_map(|span| of(span.id().into_u64())) else {
            return;
        };
        buffer.push(line(event, &self.0.secrets));
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the time of a line is for people and decides nothing"
)]
fn line(event: &Event<'_>, secrets: &Secrets) -> LogLine {
    let mut text = Text::default();
    event.record(&mut text);
    let Text { message, fields } = text;
    let said = secrets.redact(format!("{message}{fields}").trim_start());
    LogLine {
        number: 0,
        time: Some(SystemTime::now().into()),
        level: level(*event.metadata().level()).into(),
        target: event.metadata().target().to_owned(),
        message: said.chars().take(MAX_MESSAGE).collect(),
    }
}

fn level(level: Level) -> LogLevel {
    match level {
        Level::TRACE => LogLevel::Trace,
        Level::DEBUG => LogLevel::Debug,
        Level::INFO => LogLevel::Info,
        Level::WARN => LogLevel::Warn,
        Level::ERROR => LogLevel::Error,
    }
}

/// An event in one line: its message, then its fields.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _ = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            write!(self.fields, " {}={value:?}", field.name())
        };
    }
}

#[cfg(test)]
mod tests {
    use tracing::subscriber::with_default;
    use tracing_subscriber::{layer::SubscriberExt as _, registry};

    use super::*;

    fn messages(buffer: &Buffer) -> Vec<String> {
        let lines = buffer.batch().map(|batch| batch.lines).unwrap_or_default();
        lines.into_iter().map(|line| line.message).collect()
    }

    #[test]
    fn what_is_logged_within_the_span_is_captured_on_any_thread_and_nothing_else() {
        let capture = Capture::default();
        let subscriber = registry().with(capture.layer());
        with_default(subscriber, || {
            let span = tracing::info_span!("job", job = "jobs/1");
            tracing::info!("before");
            let captured = capture.attach(&span);
            tracing::info!("beside");
            span.in_scope(|| {
                tracing::info!(epoch = 3, file = "a b", "within");
                tracing::info_span!("task").in_scope(|| tracing::warn!("deeper"));
                tracing::debug!("too fine");
                tracing::info!(target: "object_store", "another's");
            });
            let (dispatch, inner) = (tracing::dispatcher::get_default(Clone::clone), span.clone());
            let elsewhere = move || {
                let _default = tracing::dispatcher::set_default(&dispatch);
                inner.in_scope(|| tracing::error!("elsewhere"));
            };
            std::thread::spawn(elsewhere).join().unwrap();
            let told = messages(captured.buffer());
            assert_eq!(
                told,
                [r#"within epoch=3 file="a b""#, "deeper", "elsewhere"]
            );
            let buffer = Arc::clone(&captured.buffer);
            drop(captured);
            span.in_scope(|| tracing::info!("after"));
            assert_eq!(messages(&buffer).len(), 3);
        });
    }

    #[test]
    fn line_has_level_target_and_time_and_is_not_endless() {
        let capture = Capture::default();
        with_default(registry().with(capture.layer()), || {
            let span = tracing::info_span!("job");
            let captured = capture.attach(&span);
            span.in_scope(|| tracing::warn!("{}", "x".repeat(10_000)));
            let line = captured.buffer().batch().unwrap().lines.remove(0);
            assert_eq!(line.level(), LogLevel::Warn);
            assert_eq!(line.target, "temper_worker::logs::capture::tests");
            assert!(line.time.is_some_and(|time| time.seconds > 0));
            assert_eq!(line.message.len(), MAX_MESSAGE);
        });
    }

    #[test]
    fn two_jobs_have_a_log_each() {
        let capture = Capture::default();
        with_default(registry().with(capture.layer()), || {
            let spans = [1, 2].map(|number| tracing::info_span!("job", number));
            let captured = spans.each_ref().map(|span| capture.attach(span));
            spans[1].in_scope(|| tracing::info!("of the second"));
            assert_eq!(messages(captured[0].buffer()), [""; 0]);
            assert_eq!(messages(captured[1].buffer()), ["of the second"]);
        });
    }
}
