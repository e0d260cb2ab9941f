//! A sweep's trace, as a collector sees it.

use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, ensure};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    trace::v1::Span,
};
use temper_core::trace::TraceParent;
use temper_proto::v1::{self, sweep_service_client::SweepServiceClient};
use temper_service::telemetry::{self, LogFormat, Telemetry};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use crate::house::{Hand, House, request};

/// Takes spans.
struct Collector(Mutex<mpsc::UnboundedSender<Span>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let resources = request.into_inner().resource_spans;
        let scopes = resources.into_iter().flat_map(|spans| spans.scope_spans);
        for span in scopes.flat_map(|scope| scope.spans) {
            // A test that is over does not listen.
            let sender = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let _over = sender.send(span);
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// Starts a collector and has this process send its spans there.
async fn collect() -> anyhow::Result<mpsc::UnboundedReceiver<Span>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = format!("http://{}", listener.local_addr()?);
    let (sender, spans) = mpsc::unbounded_channel();
    let collector = TraceServiceServer::new(Collector(Mutex::new(sender)));
    let serving = tonic::transport::Server::builder()
        .add_service(collector)
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(serving);
    Telemetry {
        log: "warn".to_owned(),
        log_format: LogFormat::Json,
        otlp: Some(endpoint),
    }
    .init()?;
    Ok(spans)
}

/// The call that a traced client makes.
async fn create(house: &House, parent: &str) -> anyhow::Result<()> {
    let request = within(request("", 7), parent)?;
    let mut client = SweepServiceClient::new(house.channel.clone());
    client.create_sweep(request).await?;
    Ok(())
}

/// A call within a span.
fn within<T>(message: T, traceparent: &str) -> anyhow::Result<Request<T>> {
    let mut request = Request::new(message);
    request
        .metadata_mut()
        .insert("traceparent", traceparent.parse()?);
    Ok(request)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_leads_from_create_sweep_through_lease_to_complete() -> anyhow::Result<()> {
    let mut spans = collect().await?;
    let house = House::open().await?;
    let client = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let trace: TraceParent = client.parse()?;
    create(&house, client).await?;
    let mut worker = Hand::register(&house, "worker").await?;
    let job = worker.lease().await?;
    let handed: TraceParent = job.traceparent.parse().context(job.traceparent.clone())?;
    ensure!(
        handed.to_bytes()[..16] == trace.to_bytes()[..16],
        "{handed}"
    );
    let lease = job.lease.clone().context("a lease")?;
    worker.heartbeat(&lease).await?;
    worker.report(&lease, &[0, 1]).await?;
    let result = v1::TrainResult {
        artifact: Some(worker.put(&job, "model.safetensors", b"model")?),
        epochs: 2,
        ..v1::TrainResult::default()
    };
    let complete = v1::CompleteRequest {
        lease: Some(lease),
        result: Some(v1::complete_request::Result::Train(result)),
    };
    let complete = within(complete, &job.traceparent)?;
    worker.client.complete(complete).await?;
    house.close().await?;
    tokio::task::spawn_blocking(telemetry::flush).await?;

    let mut told = Vec::new();
    while let Ok(span) = spans.try_recv() {
        told.push(span);
    }
    let find = |name: &str| {
        let mut found = told.iter().filter(|span| span.name == name);
        let names: Vec<_> = told.iter().map(|span| &span.name).collect();
        let span = found.next().with_context(|| format!("{name}: {names:?}"))?;
        ensure!(found.next().is_none(), "{name} twice: {names:?}");
        ensure!(span.trace_id == trace.to_bytes()[..16], "{span:?}");
        anyhow::Ok(span)
    };
    let created = find("temper.v1.SweepService/CreateSweep")?;
    ensure!(
        created.parent_span_id == trace.to_bytes()[16..],
        "{created:?}"
    );
    let leased = find("lease")?;
    ensure!(leased.parent_span_id == created.span_id, "{leased:?}");
    ensure!(leased.span_id == handed.to_bytes()[16..], "{leased:?}");
    let completed = find("temper.v1.WorkerService/Complete")?;
    ensure!(completed.parent_span_id == leased.span_id, "{completed:?}");
    ensure!(
        !told.iter().any(|span| span.name.ends_with("Heartbeat")),
        "heartbeats are traced"
    );
    Ok(())
}
