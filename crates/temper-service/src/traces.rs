//! Traces: spans by OTLP, and where a trace goes on in another process (W3C Trace Context).
//!
//! Off unless a collector is named; then nothing here costs more than a look whether it is on. Spans are
//! those of the crate `tracing`. What workers say every few seconds is not traced: a job that takes ten
//! hours would have thousands of spans of it.

mod export;

use std::{sync::OnceLock, time::Duration};

use opentelemetry::{
    Context,
    propagation::{Extractor, Injector, TextMapPropagator as _},
    trace::{
        SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
        TracerProvider as _,
    },
};
use opentelemetry_sdk::{propagation::TraceContextPropagator, trace::SdkTracerProvider};
use temper_core::trace::TraceParent;
use tonic::codegen::http::{HeaderMap, HeaderName, HeaderValue, Request};
use tracing::{Level, Metadata, Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};

pub use export::TracesError;

use crate::access::{Shape, method};

/// The target of spans that are in logs alone.
const QUIET: &str = "quiet";
/// Calls that come again and again as long as a job runs, and that say nothing of its course.
const FREQUENT: &[&str] = &["Heartbeat", "ReportLogs"];
/// How long the last spans may take to the collector.
const LAST: Duration = Duration::from_secs(2);

/// Set once traces are on.
static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

/// A layer that sends spans to the collector at `endpoint`, once a process.
///
/// # Errors
/// When the endpoint is none.
pub(crate) fn layer<S>(endpoint: &str) -> Result<impl Layer<S>, TracesError>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    let provider = export::provider(endpoint)?;
    let tracer = provider.tracer("temper");
    // A second one would be of a second subscriber, which is never installed.
    let _already_set = PROVIDER.set(provider);
    let layer = tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false);
    Ok(layer.with_filter(filter_fn(is_told).with_max_level_hint(Level::DEBUG)))
}

/// Our own spans, and what is logged within them for everybody to see.
fn is_told(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("temper_")
        && (metadata.is_span() || *metadata.level() <= Level::INFO)
}

/// Sends what has not been sent; to be called when a process ends. It waits 2 seconds at most.
pub fn flush() {
    if let Some(provider) = PROVIDER.get() {
        // A collector that is away is told of elsewhere.
        let _too_late = provider.shutdown_with_timeout(LAST);
    }
}

/// The span of a call that comes in, which goes on with the caller's trace.
pub(crate) fn of_call(request: &Request<()>) -> Span {
    let path = request.uri().path();
    let told = method(path)
        .filter(|method| method.service.starts_with("temper."))
        .is_some_and(|method| method.shape != Shape::Poll && !FREQUENT.contains(&method.name));
    if !told {
        return tracing::debug_span!(target: QUIET, "rpc", path);
    }
    let name = path.trim_start_matches('/');
    let span = tracing::debug_span!("rpc", path, otel.name = name, otel.kind = "server");
    if is_on() {
        let parent = TraceContextPropagator::new().extract(&Headers(request.headers()));
        let _off = span.set_parent(parent);
    }
    span
}

/// Adds to a call that goes out where its trace goes on.
pub(crate) fn send_on(headers: &mut HeaderMap) {
    if is_on() {
        let context = Span::current().context();
        TraceContextPropagator::new().inject_context(&context, &mut HeadersMut(headers));
    }
}

/// Where the trace of the current span goes on; none where there is no trace, or nobody keeps it.
#[must_use]
pub fn current() -> Option<TraceParent> {
    if !is_on() {
        return None;
    }
    let context = Span::current().context();
    let span = context.span();
    let span = span.span_context();
    let bytes = [&span.trace_id().to_bytes()[..], &span.span_id().to_bytes()].concat();
    TraceParent::from_bytes(&bytes).filter(|_| span.is_sampled())
}

/// Has a span, which nobody has entered yet, go on with a trace.
pub fn follow(span: &Span, parent: TraceParent) {
    if !is_on() {
        return;
    }
    let bytes = parent.to_bytes();
    let (Some((trace, _)), Some((_, own))) = (
        bytes.split_first_chunk::<16>(),
        bytes.split_last_chunk::<8>(),
    ) else {
        return;
    };
    let parent = SpanContext::new(
        TraceId::from_bytes(*trace),
        SpanId::from_bytes(*own),
        TraceFlags::SAMPLED,
        true,
        TraceState::default(),
    );
    let _off = span.set_parent(Context::new().with_remote_span_context(parent));
}

/// The ids of the trace and the span that what runs now belongs to.
pub(crate) fn ids() -> Option<(TraceId, SpanId)> {
    if !is_on() {
        return None;
    }
    let context = Context::current();
    let span = context.span();
    let span = span.span_context();
    span.is_valid().then(|| (span.trace_id(), span.span_id()))
}

fn is_on() -> bool {
    PROVIDER.get().is_some()
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct HeadersMut<'a>(&'a mut HeaderMap);

impl Injector for HeadersMut<'_> {
    fn set(&mut self, key: &str, value: String) {
        let name = HeaderName::from_bytes(key.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}
