//! A sweep's trace, as a collector sees it.

use anyhow::{Context as _, ensure};
use temper_core::trace::TraceParent;
use temper_proto::v1::{self, sweep_service_client::SweepServiceClient};
use temper_service::{
    telemetry::{self, LogFormat, Telemetry},
    testing::Collector,
};
use tonic::Request;

use crate::house::{Hand, House, request};

/// Starts a collector and has this process send its spans there.
async fn collect() -> anyhow::Result<Collector> {
    let collector = Collector::start().await?;
    Telemetry {
        log: "warn".to_owned(),
        log_format: LogFormat::Json,
        otlp: Some(collector.endpoint().to_owned()),
    }
    .init()?;
    Ok(collector)
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
    let mut collector = collect().await?;
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

    let told = collector.told();
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
