use anyhow::Result;
use temper_core::job::FailureClass;
use temper_store::{Checkpoint, Claim};

use crate::{
    lab::{Lab, TESTER, failure, spec},
    reports::checkpoint,
};

const ALL: u32 = 1000;

/// Registers checkpoints of so many steps and gives them.
async fn register(lab: &Lab, claim: &Claim, steps: &[u32]) -> Result<Vec<Checkpoint>> {
    let mut registered = Vec::new();
    for &step in steps {
        let state = checkpoint(claim, step);
        lab.store()
            .checkpoint_register(&claim.lease, &state)
            .await?;
        registered.push(state);
    }
    Ok(registered)
}

/// Condemns what there is to condemn and gives all the paths that are condemned.
async fn condemned(lab: &Lab) -> Result<Vec<String>> {
    lab.store().checkpoints_condemn(ALL).await?;
    Ok(lab.store().checkpoints_condemned("", ALL).await?)
}

#[tokio::test]
async fn running_job_keeps_its_newest_two_checkpoints() -> Result<()> {
    let lab = Lab::new().await?;
    lab.submit(&spec([0])).await?;
    let worker = lab.worker("w").await?;
    let claim = lab.claim(worker).await?;
    let states = register(&lab, &claim, &[1, 2]).await?;
    assert_eq!(condemned(&lab).await?, Vec::<String>::new());
    let third = register(&lab, &claim, &[3]).await?;
    assert_eq!(condemned(&lab).await?, [states[0].path.clone()]);

    lab.store()
        .checkpoints_forget(&[states[0].path.clone(), third[0].path.clone()])
        .await?;
    lab.store().lease_release(&claim.lease).await?;
    let next = lab.claim(worker).await?;
    assert_eq!(
        next.checkpoints,
        [third[0].clone(), states[1].clone()],
        "only what was condemned is forgotten"
    );
    Ok(())
}

#[tokio::test]
async fn job_that_has_ended_keeps_no_checkpoint_and_one_that_is_retried_keeps_them() -> Result<()> {
    let lab = Lab::new().await?;
    let sweep = lab.submit(&spec([0, 1, 2, 3])).await?;
    let worker = lab.worker("w").await?;
    let mut claims = Vec::new();
    let mut states = Vec::new();
    for _ in 0..4 {
        let claim = lab.claim(worker).await?;
        states.push(register(&lab, &claim, &[1, 2]).await?);
        claims.push(claim);
    }
    let retried = failure(FailureClass::Infrastructure, "disk");
    lab.store().attempt_fail(&claims[0].lease, retried).await?;
    let given_up = failure(FailureClass::Diverged, "NaN");
    lab.store().attempt_fail(&claims[1].lease, given_up).await?;
    lab.finish(&claims[2]).await?;
    let paths = |ended: &[usize]| {
        let states = ended.iter().flat_map(|i| &states[*i]);
        let mut paths: Vec<_> = states.map(|state| state.path.clone()).collect();
        paths.sort();
        paths
    };
    assert_eq!(condemned(&lab).await?, paths(&[1, 2]));
    lab.store().sweep_cancel(&TESTER, sweep.id).await?;
    assert_eq!(condemned(&lab).await?, paths(&[0, 1, 2, 3]));
    Ok(())
}

#[tokio::test]
async fn checkpoint_of_the_present_lease_stays_though_older_leases_came_further() -> Result<()> {
    let lab = Lab::new().await?;
    lab.submit(&spec([0])).await?;
    let worker = lab.worker("w").await?;
    let first = lab.claim(worker).await?;
    register(&lab, &first, &[10, 20]).await?;
    lab.store().lease_release(&first.lease).await?;
    // Both are torn: the worker starts again from nothing.
    let second = lab.claim(worker).await?;
    register(&lab, &second, &[1, 2]).await?;
    assert_eq!(condemned(&lab).await?, Vec::<String>::new());
    let third = register(&lab, &second, &[3]).await?;
    assert!(!condemned(&lab).await?.contains(&third[0].path));
    Ok(())
}

#[tokio::test]
async fn job_that_is_wanted_again_is_not_handed_what_is_being_deleted() -> Result<()> {
    let lab = Lab::new().await?;
    let wanted = spec([0]);
    let sweep = lab.submit(&wanted).await?;
    let worker = lab.worker("w").await?;
    let claim = lab.claim(worker).await?;
    register(&lab, &claim, &[1, 2]).await?;
    lab.store().sweep_cancel(&TESTER, sweep.id).await?;
    assert_eq!(condemned(&lab).await?.len(), 2);
    lab.submit(&wanted).await?;
    let again = lab.claim(worker).await?;
    assert_eq!(again.lease.job, claim.lease.job);
    assert_eq!(again.checkpoints, []);
    Ok(())
}

#[tokio::test]
async fn condemned_checkpoints_come_in_pages_and_batches() -> Result<()> {
    let lab = Lab::new().await?;
    lab.submit(&spec([0])).await?;
    let worker = lab.worker("w").await?;
    let claim = lab.claim(worker).await?;
    register(&lab, &claim, &[1, 2, 3, 4, 5]).await?;
    assert_eq!(lab.store().checkpoints_condemn(2).await?, 2);
    assert_eq!(lab.store().checkpoints_condemn(2).await?, 1);
    assert_eq!(lab.store().checkpoints_condemn(2).await?, 0);
    let page = lab.store().checkpoints_condemned("", 2).await?;
    let rest = lab.store().checkpoints_condemned(&page[1], 2).await?;
    assert_eq!((page.len(), rest.len()), (2, 1));
    let paths = [page, rest].concat();
    assert_eq!(lab.store().checkpoints_forget(&paths).await?, 3);
    // As another coordinator that was at it at the same time.
    assert_eq!(lab.store().checkpoints_forget(&paths).await?, 0);
    assert_eq!(
        lab.count("SELECT count(*) FROM temper.checkpoint").await?,
        2
    );
    Ok(())
}
