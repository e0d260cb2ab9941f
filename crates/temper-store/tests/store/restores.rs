use anyhow::Result;
use temper_core::ErrorKind;
use temper_store::{Actor, AttemptOutcome};

use crate::lab::{EPOCHS, Lab, refusal, spec, trained};

const SETTLING: Actor<'static> = Actor {
    name: "settling",
    token: None,
    role: None,
};

#[tokio::test]
async fn restored_leases_are_given_back_and_fences_go_on_where_none_was() -> Result<()> {
    let lab = Lab::new().await?;
    lab.submit(&spec(0..2)).await?;
    let worker = lab.worker("before").await?;
    let done = lab.claim(worker).await?;
    lab.finish(&done).await?;
    let held = lab.claim(worker).await?;
    let restored = lab.store().restore_settle(&SETTLING).await?;
    assert_eq!(restored.released, 1);

    let message = refusal(lab.finish(&held).await, ErrorKind::LeaseLost);
    assert!(message.contains("it was given back"), "{message}");
    let detail = lab.store().job_get(held.lease.job).await?;
    assert_eq!(detail.attempts[0].outcome, Some(AttemptOutcome::Released));
    let detail = lab.store().job_get(done.lease.job).await?;
    assert_eq!(detail.attempts[0].fence, done.lease.fence);
    // Of a result that has come in its worker may be told once more.
    let again = trained(&done, EPOCHS);
    lab.store().train_complete(&done.lease, &again).await?;

    // The sweep that is asked for only now may have had leases in the time that was lost.
    lab.submit(&spec(0..3)).await?;
    let mut claims = Vec::new();
    for _ in 0..3 {
        claims.push(lab.claim(worker).await?);
    }
    assert!(
        claims.iter().all(|c| c.lease.fence == restored.fence + 1),
        "{claims:?}"
    );
    for claim in &claims {
        lab.finish(claim).await?;
    }
    assert_eq!(lab.finish_all(worker).await?.len(), 2);
    Ok(())
}

#[tokio::test]
async fn settling_twice_takes_nothing_back() -> Result<()> {
    let lab = Lab::new().await?;
    lab.submit(&spec([0])).await?;
    let first = lab.store().restore_settle(&SETTLING).await?;
    let second = lab.store().restore_settle(&SETTLING).await?;
    assert_eq!((first.released, second.released), (0, 0));
    assert!(second.fence >= first.fence);
    let noted = "SELECT count(*) FROM temper.audit WHERE method = 'AfterRestore'";
    assert_eq!(lab.count(noted).await?, 2);
    let worker = lab.worker("after").await?;
    assert_eq!(lab.finish_all(worker).await?.len(), 2);
    Ok(())
}
