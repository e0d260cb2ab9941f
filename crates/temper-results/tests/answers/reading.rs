use anyhow::Result;
use temper_proto::v1::{AggregateCurvesRequest, ExportKind, ExportRequest};
use temper_store::{Actor, Store};

use crate::system::{System, serve};

#[tokio::test]
async fn role_that_may_only_read_is_enough() -> Result<()> {
    let system = System::start(|_| true).await?;
    let url = system.database.results_url().await?;
    let (mut client, stop) = serve(&url, system.database.store()).await?;
    let request = AggregateCurvesRequest {
        sweep: system.sweep.clone(),
        ..Default::default()
    };
    let groups = client.aggregate_curves(request).await?.into_inner().groups;
    assert_eq!(groups.len(), 16);
    let request = ExportRequest {
        sweep: system.sweep.clone(),
        kind: ExportKind::Jobs.into(),
        ..Default::default()
    };
    let mut parts = client.export(request).await?.into_inner();
    assert!(parts.message().await?.is_some());
    stop.gracefully();
    Ok(())
}

#[tokio::test]
async fn connections_of_the_service_cannot_write_whatever_the_role() -> Result<()> {
    let system = System::start(|_| false).await?;
    let store = Store::connect_reading(system.database.url(), 1).await?;
    let sweep = system.sweep.trim_start_matches("sweeps/").parse()?;
    let refused = store.sweep_cancel(&Actor::at_database("test"), sweep).await;
    let text = format!("{:?}", refused.unwrap_err());
    assert!(text.contains("read-only transaction"), "{text}");
    Ok(())
}
