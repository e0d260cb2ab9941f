//! Steering sweeps: what their owner may change, how, and what of that is refused by name.

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use temper_proto::v1::{self, sweep_service_client::SweepServiceClient};
use temper_service::client::Channel;
use tonic::{Code, Status};

use crate::house::House;

fn client(house: &House) -> SweepServiceClient<Channel> {
    SweepServiceClient::new(house.channel.clone())
}

/// The fields that a refusal names.
fn fields(status: &Status) -> Vec<String> {
    use tonic_types::StatusExt as _;
    let bad = status.get_details_bad_request();
    let violations = bad.map(|bad| bad.field_violations).unwrap_or_default();
    violations
        .into_iter()
        .map(|violation| violation.field)
        .collect()
}

#[tokio::test]
async fn update_needs_the_newest_etag_and_changes_what_the_mask_names() -> anyhow::Result<()> {
    let house = House::open().await?;
    let sweep = house.submit("").await?;
    let update = |etag: &str, paths: &[&str]| v1::UpdateSweepRequest {
        sweep: Some(v1::Sweep {
            name: sweep.name.clone(),
            etag: etag.to_owned(),
            display_name: "renamed".to_owned(),
            priority: 5,
            ..v1::Sweep::default()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        }),
    };
    let mut client = client(&house);
    let updated = client
        .update_sweep(update(&sweep.etag, &["priority"]))
        .await?
        .into_inner();
    ensure!(
        (updated.priority, updated.display_name.as_str()) == (5, ""),
        "{updated:?}"
    );
    ensure!(updated.etag != sweep.etag);
    let stale = client
        .update_sweep(update(&sweep.etag, &["display_name"]))
        .await;
    ensure!(stale.is_err_and(|status| status.code() == Code::Aborted));
    let unknown = client
        .update_sweep(update("", &["display_name", "spec"]))
        .await;
    let unknown = unknown.err().context("accepted")?;
    ensure!(fields(&unknown) == ["update_mask.paths[1]"], "{unknown:?}");
    house.close().await
}

#[tokio::test]
async fn extension_adds_what_is_new_and_says_what_it_would_come_to() -> anyhow::Result<()> {
    let house = House::open().await?;
    let sweep = house.submit("").await?;
    let mut client = client(&house);
    let more = v1::ExtendSweepRequest {
        name: sweep.name.clone(),
        seeds: vec![0, 1, 2],
        validate_only: true,
        ..v1::ExtendSweepRequest::default()
    };
    let preview = client.extend_sweep(more.clone()).await?.into_inner();
    let preview = preview.preview.context("no preview")?;
    ensure!(
        (preview.trainings, preview.evaluations, preview.jobs_shared) == (3, 3, 2),
        "{preview:?}"
    );
    let more = v1::ExtendSweepRequest {
        validate_only: false,
        ..more
    };
    let extended = client.extend_sweep(more.clone()).await?.into_inner();
    ensure!(
        (extended.cells, extended.jobs_created) == (3, 6),
        "{extended:?}"
    );
    let again = client.extend_sweep(more).await?.into_inner();
    ensure!(again == extended, "repeating changes nothing");
    let wrong = v1::ExtendSweepRequest {
        name: sweep.name.clone(),
        models: vec!["resnet9000".to_owned()],
        target_epsilons: vec!["four".to_owned()],
        ..v1::ExtendSweepRequest::default()
    };
    let refused = client.extend_sweep(wrong).await.err().context("accepted")?;
    let named: BTreeSet<String> = fields(&refused).into_iter().collect();
    ensure!(
        named == ["models", "target_epsilons"].map(str::to_owned).into(),
        "{refused:?}"
    );
    house.close().await
}

#[tokio::test]
async fn paused_sweep_says_why_and_only_an_ended_one_is_deleted() -> anyhow::Result<()> {
    let house = House::open().await?;
    let sweep = house.submit("").await?;
    let mut client = client(&house);
    let name = sweep.name.clone();
    let pause = v1::PauseSweepRequest {
        name: name.clone(),
        reason: "maintenance".to_owned(),
        ..v1::PauseSweepRequest::default()
    };
    let paused = client.pause_sweep(pause).await?.into_inner();
    ensure!(paused.state() == v1::SweepState::Paused && paused.pause_reason == "maintenance");
    let delete = v1::DeleteSweepRequest {
        name: name.clone(),
        ..v1::DeleteSweepRequest::default()
    };
    let running = client
        .delete_sweep(delete.clone())
        .await
        .err()
        .context("deleted")?;
    ensure!(running.code() == Code::FailedPrecondition, "{running:?}");
    let resume = v1::ResumeSweepRequest {
        name: name.clone(),
        ..v1::ResumeSweepRequest::default()
    };
    let resumed = client.resume_sweep(resume).await?.into_inner();
    ensure!(resumed.state() == v1::SweepState::Running && resumed.pause_reason.is_empty());
    client
        .cancel_sweep(v1::CancelSweepRequest { name: name.clone() })
        .await?;
    client.delete_sweep(delete).await?;
    let gone = client.get_sweep(v1::GetSweepRequest { name }).await;
    ensure!(gone.is_err_and(|status| status.code() == Code::NotFound));
    house.close().await
}

#[tokio::test]
async fn pages_hold_every_sweep_once_while_others_are_submitted() -> anyhow::Result<()> {
    let house = House::open().await?;
    let mut wanted = BTreeSet::new();
    for _ in 0..7 {
        wanted.insert(house.submit("").await?.name);
    }
    let mut client = client(&house);
    let mut request = v1::ListSweepsRequest {
        page_size: 2,
        dataset: "fashion-mnist".to_owned(),
        ..v1::ListSweepsRequest::default()
    };
    let mut seen = Vec::new();
    loop {
        let page = client.list_sweeps(request.clone()).await?.into_inner();
        seen.extend(page.sweeps.into_iter().map(|sweep| sweep.name));
        // Submitted between two pages: it may be told or not, and moves no other.
        house.submit("").await?;
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    let once: BTreeSet<String> = seen.iter().cloned().collect();
    ensure!(once.len() == seen.len(), "told twice: {seen:?}");
    ensure!(wanted.is_subset(&once), "left out: {seen:?}");
    request.dataset = "cifar10".to_owned();
    let other = client
        .list_sweeps(request)
        .await
        .err()
        .context("accepted")?;
    ensure!(fields(&other) == ["page_token"], "{other:?}");
    house.close().await
}
