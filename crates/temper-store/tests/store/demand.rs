//! How much there is to do for workers of a class.

use std::collections::BTreeMap;

use anyhow::Result;
use temper_core::placement::{
    DeviceKind::{self, Cpu, Cuda},
    Placement,
};
use temper_store::Demand;

use crate::lab::{LEASE, Lab, Submission, spec};

const GIB: u64 = 1 << 30;

fn labels(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    entries.iter().map(owned).collect()
}

/// Queued and leased.
async fn demand(lab: &Lab, kind: DeviceKind, entries: &[(&str, &str)]) -> Result<(u64, u64)> {
    let Demand { queued, leased } = lab.store().demand(kind, &labels(entries)).await?;
    Ok((queued, leased))
}

/// Sends so many trainings, each with an evaluation that waits for it.
async fn submit(lab: &Lab, seeds: std::ops::Range<u64>, placement: Placement) -> Result<()> {
    let spec = spec(seeds);
    let submission = Submission {
        placement,
        ..Submission::of(&spec)
    };
    submission.send(lab.store()).await?;
    Ok(())
}

#[tokio::test]
async fn jobs_are_there_for_the_classes_that_they_fit_and_held_by_the_class_of_their_worker()
-> Result<()> {
    let lab = Lab::new().await?;
    assert_eq!(demand(&lab, Cpu, &[]).await?, (0, 0));
    let class = [("class", "a100")];
    submit(&lab, 0..2, Placement::default()).await?;
    let of_class = |device_kind| Placement {
        device_kind,
        labels: labels(&class),
        ..Placement::default()
    };
    submit(&lab, 10..13, of_class(Some(Cuda))).await?;
    assert_eq!(demand(&lab, Cpu, &[]).await?, (2, 0));
    assert_eq!(demand(&lab, Cpu, &class).await?, (2, 0));
    assert_eq!(demand(&lab, Cuda, &[]).await?, (2, 0));
    assert_eq!(demand(&lab, Cuda, &class).await?, (5, 0));

    // A worker on a processor without labels.
    let worker = lab.worker("w").await?;
    let claim = lab.claim(worker).await?;
    assert_eq!(demand(&lab, Cpu, &[]).await?, (1, 1));
    assert_eq!(demand(&lab, Cpu, &class).await?, (1, 0));
    assert_eq!(demand(&lab, Cuda, &class).await?, (4, 0));
    // What waited for it is there now.
    lab.finish(&claim).await?;
    assert_eq!(demand(&lab, Cpu, &[]).await?, (2, 0));
    Ok(())
}

#[tokio::test]
async fn sweep_asks_for_no_more_workers_than_it_may_have() -> Result<()> {
    let lab = Lab::new().await?;
    let spec = spec(0..5);
    let limited = Submission {
        parallel_jobs: Some(2),
        ..Submission::of(&spec)
    };
    limited.send(lab.store()).await?;
    assert_eq!(demand(&lab, Cpu, &[]).await?, (2, 0));
    let workers = [lab.worker("a").await?, lab.worker("b").await?];
    lab.claim(workers[0]).await?;
    assert_eq!(demand(&lab, Cpu, &[]).await?, (1, 1));
    lab.claim(workers[1]).await?;
    assert_eq!(demand(&lab, Cpu, &[]).await?, (0, 2));
    Ok(())
}

#[tokio::test]
async fn what_a_worker_of_the_class_lacked_is_held_against_jobs_for_an_hour() -> Result<()> {
    let lab = Lab::new().await?;
    let large = Placement {
        memory_bytes: Some(8 * GIB),
        ..Placement::default()
    };
    submit(&lab, 0..1, large).await?;
    // Nothing is known of such workers.
    assert_eq!(demand(&lab, Cpu, &[]).await?, (1, 0));
    // It has 1 GiB.
    let worker = lab.worker("w").await?;
    assert_eq!(lab.store().lease_claim(worker, LEASE).await?, None);
    assert_eq!(demand(&lab, Cpu, &[]).await?, (0, 0));
    assert_eq!(demand(&lab, Cuda, &[]).await?, (1, 0));
    lab.execute("UPDATE temper.worker SET last_seen_at = now() - interval '61 minutes'")
        .await?;
    assert_eq!(demand(&lab, Cpu, &[]).await?, (1, 0));
    Ok(())
}

#[tokio::test]
async fn memory_that_is_taken_and_a_release_that_is_over_are_not_held_against_jobs() -> Result<()> {
    let lab = Lab::new().await?;
    let small = Placement {
        memory_bytes: Some(GIB / 2),
        ..Placement::default()
    };
    submit(&lab, 0..1, small).await?;
    let worker = lab.worker("w").await?;
    lab.store().worker_ask(worker, Some(1)).await?;
    lab.execute("UPDATE temper.worker SET result_versions = '{999}', ends_at = now()")
        .await?;
    assert_eq!(lab.store().lease_claim(worker, LEASE).await?, None);
    assert_eq!(demand(&lab, Cpu, &[]).await?, (1, 0));
    Ok(())
}
