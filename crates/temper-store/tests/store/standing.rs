//! What metrics say of the queue, and where traces go on.

use anyhow::{Context as _, Result};
use temper_core::{
    job::JobState,
    placement::{DeviceKind, Placement},
    trace::TraceParent,
};
use temper_store::{LeaseStanding, QueueStanding, Store};

use crate::lab::{Lab, Submission, spec};

/// By kind of device and state: jobs.
async fn standing(lab: &Lab) -> Result<Vec<(Option<DeviceKind>, JobState, u64)>> {
    let rows = lab.store().queue_standing().await?;
    let row = |row: &QueueStanding| (row.device_kind, row.state, row.jobs);
    let mut told: Vec<_> = rows.iter().map(row).collect();
    told.sort_by_key(|(kind, state, _)| (kind.map(DeviceKind::as_str), state.as_str()));
    Ok(told)
}

#[tokio::test]
async fn queue_stands_by_what_its_jobs_ask_for_and_where_they_are() -> Result<()> {
    let lab = Lab::new().await?;
    assert_eq!(standing(&lab).await?, []);
    lab.submit(&spec(0..3)).await?;
    let others = spec(10..12);
    let other = Submission {
        placement: Placement {
            device_kind: Some(DeviceKind::Cuda),
            ..Placement::default()
        },
        owner: "bob",
        ..Submission::of(&others)
    };
    other.send(lab.store()).await?;
    let worker = lab.worker("w").await?;
    lab.claim(worker).await?;
    // Evaluations wait for their trainings: they are in no queue yet.
    let expected = [
        (None, JobState::Leased, 1),
        (None, JobState::Queued, 2),
        (Some(DeviceKind::Cuda), JobState::Queued, 2),
    ];
    assert_eq!(standing(&lab).await?, expected);
    Ok(())
}

#[tokio::test]
async fn held_jobs_are_those_of_the_kind_of_device_that_holds_them() -> Result<()> {
    let lab = Lab::new().await?;
    lab.submit(&spec(0..2)).await?;
    assert_eq!(lab.store().lease_standing().await?, []);
    for name in ["a", "b"] {
        let worker = lab.worker(name).await?;
        lab.claim(worker).await?;
    }
    // They ask for no kind of device, and have got this one.
    let held = LeaseStanding {
        device_kind: DeviceKind::Cpu,
        jobs: 2,
    };
    assert_eq!(lab.store().lease_standing().await?, [held]);
    Ok(())
}

#[tokio::test]
async fn oldest_job_of_a_queue_tells_its_age() -> Result<()> {
    let lab = Lab::new().await?;
    lab.submit(&spec(0..2)).await?;
    sqlx::query("UPDATE temper.job SET created_at = now() - interval '1 hour' WHERE id = (SELECT min(id) FROM temper.job)")
        .execute(lab.database.pool())
        .await?;
    let rows = lab.store().queue_standing().await?;
    let oldest = rows.first().context("no queue")?.oldest.as_secs();
    assert!((3600..3700).contains(&oldest), "{oldest}");
    Ok(())
}

#[tokio::test]
async fn connections_in_use_are_told() -> Result<()> {
    let lab = Lab::new().await?;
    // The laboratory's own may be on their way back from what made it.
    let store = Store::connect(lab.database.url(), 2).await?;
    assert_eq!(store.connections().used, 0);
    let held = store.pool().acquire().await?;
    let connections = store.connections();
    assert_eq!((connections.used, connections.most), (1, 2));
    assert!(connections.used + connections.idle <= connections.most);
    drop(held);
    store.close().await;
    Ok(())
}

fn trace(last: char) -> Result<TraceParent> {
    let text = format!("00-4bf92f3577b34da6a3ce929d0e0e473{last}-00f067aa0ba902b7-01");
    Ok(text.parse()?)
}

#[tokio::test]
async fn claim_goes_on_with_the_trace_that_first_asked_for_the_job() -> Result<()> {
    let lab = Lab::new().await?;
    let wanted = spec(0..1);
    for last in ['1', '2'] {
        let traced = Submission {
            trace: Some(trace(last)?),
            ..Submission::of(&wanted)
        };
        traced.send(lab.store()).await?;
    }
    lab.submit(&spec(1..2)).await?;
    let worker = lab.worker("w").await?;
    assert_eq!(lab.claim(worker).await?.trace, Some(trace('1')?));
    assert_eq!(lab.claim(worker).await?.trace, None);
    Ok(())
}

#[tokio::test]
async fn attempt_after_a_lost_one_is_a_rescue_and_after_a_released_one_is_none() -> Result<()> {
    let lab = Lab::new().await?;
    lab.submit(&spec(0..1)).await?;
    let worker = lab.worker("w").await?;
    let first = lab.claim(worker).await?;
    assert!(!first.rescues);
    lab.store().lease_release(&first.lease).await?;
    assert!(!lab.claim(worker).await?.rescues);
    let passed = "UPDATE temper.lease SET expires_at = now() - interval '1 second'";
    sqlx::query(passed).execute(lab.database.pool()).await?;
    lab.store().lease_expire().await?;
    let available = "UPDATE temper.job SET available_at = now()";
    sqlx::query(available).execute(lab.database.pool()).await?;
    assert!(lab.claim(worker).await?.rescues);
    Ok(())
}
