//! The way to the collector.

use std::{
    env,
    path::Path,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use opentelemetry_otlp::{ExporterBuildError, SpanExporter as Otlp, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{SdkTracerProvider, SpanData, SpanExporter},
};
use tokio::runtime::{Builder, Runtime};
use url::Url;

/// Traces that cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// Not an address.
    #[error(
        "`{0}` is no address of a collector: one looks like http://127.0.0.1:4317 (OTEL_EXPORTER_OTLP_ENDPOINT)"
    )]
    Endpoint(String),
    /// The exporter refuses its settings.
    #[error("spans cannot be sent by OTLP")]
    Exporter(#[from] ExporterBuildError),
    /// The system gives no thread to it.
    #[error("the thread that sends spans cannot be started")]
    Runtime(#[from] std::io::Error),
}

/// Spans leave from threads of their own: a process may name its subscriber before it has a runtime, and
/// go on sending while that one ends.
static RUNTIME: OnceLock<Runtime> = OnceLock::new();

/// Events of a span at most, the first ones: what a worker logs of a job of hundreds of epochs.
const EVENTS: u32 = 2048;

/// Sends spans in batches to the collector at `endpoint`. Variables of OpenTelemetry's specification
/// (`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER`, …) say the rest.
pub fn provider(endpoint: &str) -> Result<SdkTracerProvider, TracesError> {
    let is_address = Url::parse(endpoint)
        .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if !is_address {
        return Err(TracesError::Endpoint(endpoint.to_owned()));
    }
    let runtime = match RUNTIME.get() {
        Some(runtime) => runtime,
        None => RUNTIME.get_or_init({
            let made = Builder::new_multi_thread()
                .worker_threads(1)
                .thread_name("traces")
                .enable_all()
                .build()?;
            || made
        }),
    };
    let _entered = runtime.enter();
    let exporter = Otlp::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .build()?;
    let mut provider = SdkTracerProvider::builder();
    if env::var_os("OTEL_SPAN_EVENT_COUNT_LIMIT").is_none() {
        provider = provider.with_max_events_per_span(EVENTS);
    }
    Ok(provider
        .with_batch_exporter(Telling {
            exporter,
            failing: AtomicBool::new(false),
        })
        .with_resource(resource())
        .build())
}

/// What sends them: the program, unless its operator says otherwise.
fn resource() -> Resource {
    let resource = Resource::builder();
    if env::var_os("OTEL_SERVICE_NAME").is_some() {
        return resource.build();
    }
    let program = env::args_os().next().unwrap_or_default();
    let name = Path::new(&program).file_stem().unwrap_or_default();
    resource
        .with_service_name(name.to_string_lossy().into_owned())
        .build()
}

/// Logs when spans begin to be lost, and when they are taken again.
#[derive(Debug)]
struct Telling {
    exporter: Otlp,
    failing: AtomicBool,
}

impl SpanExporter for Telling {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let sent = self.exporter.export(batch).await;
        let failing = sent.is_err();
        let failed = self.failing.swap(failing, Ordering::Relaxed);
        match &sent {
            Err(error) if !failed => {
                tracing::warn!(%error, "spans are lost: no collector takes them");
            }
            Ok(()) if failed => tracing::info!("spans are taken again"),
            _ => {}
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
