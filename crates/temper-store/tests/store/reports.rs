use anyhow::Result;
use temper_core::{Digest, ErrorKind, curve::Point, job::JobState};
use temper_store::{Checkpoint, Claim, Measured};

use crate::lab::{EPOCHS, Lab, epoch, epsilon, measured, points, refusal, spec, trained};

pub fn checkpoint(claim: &Claim, epochs: u32) -> Checkpoint {
    let path = format!("{}/{}/{epochs}", claim.key, claim.lease.fence);
    let sha256 = Digest::of(path.as_bytes());
    Checkpoint {
        step: u64::from(epochs) * 5,
        epochs,
        path,
        sha256,
        size: 1000,
    }
}

#[tokio::test]
async fn completion_repeated_under_its_own_fence_changes_nothing() -> Result<()> {
    let lab = Lab::new().await?;
    lab.submit(&spec([0])).await?;
    let worker = lab.worker("w").await?;
    for _ in ["train", "evaluate"] {
        let claim = lab.claim(worker).await?;
        lab.finish(&claim).await?;
        let before = lab.store().job_get(claim.lease.job).await?;
        if before.job.epochs > 0 {
            lab.store()
                .train_complete(&claim.lease, &trained(&claim, EPOCHS))
                .await?;
            let epochs = lab.store().epochs_report(&claim.lease, &[epoch(0)]).await;
            assert!(refusal(epochs, ErrorKind::LeaseLost).contains("has been accepted"));
        } else {
            lab.finish(&claim).await?;
        }
        assert_eq!(lab.store().job_get(claim.lease.job).await?, before);
    }
    Ok(())
}

#[tokio::test]
async fn training_with_a_gap_in_its_epochs_is_refused() -> Result<()> {
    let lab = Lab::new().await?;
    lab.submit(&spec([0])).await?;
    let worker = lab.worker("w").await?;
    let claim = lab.claim(worker).await?;
    let complete = async |epochs| {
        lab.store()
            .train_complete(&claim.lease, &trained(&claim, epochs))
            .await
    };
    lab.store()
        .epochs_report(&claim.lease, &[epoch(0), epoch(2)])
        .await?;
    let message = refusal(complete(3).await, ErrorKind::FailedPrecondition);
    assert!(message.contains("2 were reported"), "{message}");
    refusal(complete(2).await, ErrorKind::FailedPrecondition);
    lab.store().epochs_report(&claim.lease, &[epoch(1)]).await?;
    refusal(complete(2).await, ErrorKind::FailedPrecondition);
    assert_eq!(lab.count("SELECT count(*) FROM temper.artifact").await?, 0);
    complete(3).await?;
    Ok(())
}

#[tokio::test]
async fn repeated_epoch_replaces_itself_and_impossible_ones_are_refused() -> Result<()> {
    let lab = Lab::new().await?;
    lab.submit(&spec([0])).await?;
    let worker = lab.worker("w").await?;
    let claim = lab.claim(worker).await?;
    lab.store()
        .epochs_report(&claim.lease, &[epoch(0), epoch(1)])
        .await?;
    let mut better = epoch(1);
    better.validation_robust_accuracy = Some(0.25);
    lab.store().epochs_report(&claim.lease, &[better]).await?;
    let detail = lab.store().job_get(claim.lease.job).await?;
    assert_eq!(detail.epochs, [epoch(0), better]);
    assert_eq!((detail.job.epochs_done, detail.job.epochs), (2, EPOCHS));
    assert_eq!(detail.job.last_epoch, Some(better));
    assert_eq!(detail.spec, claim.spec);

    let mut infinite = epoch(2);
    infinite.train_loss = f64::INFINITY;
    let mut sure = epoch(2);
    sure.validation_accuracy = Some(1.5);
    for refused in [
        &[infinite][..],
        &[sure],
        &[epoch(EPOCHS)],
        &[epoch(2), epoch(2)],
    ] {
        let report = lab.store().epochs_report(&claim.lease, refused).await;
        refusal(report, ErrorKind::InvalidInput);
    }
    Ok(())
}

#[tokio::test]
async fn new_lease_resumes_from_the_newest_checkpoint_and_forgets_later_epochs() -> Result<()> {
    let lab = Lab::new().await?;
    lab.submit(&spec([0])).await?;
    let worker = lab.worker("w").await?;
    let first = lab.claim(worker).await?;
    assert_eq!(first.checkpoints, []);
    let mut registered = Vec::new();
    for done in 0..EPOCHS {
        lab.store()
            .epochs_report(&first.lease, &[epoch(done)])
            .await?;
        // The last epoch's checkpoint is not registered any more.
        if done + 1 < EPOCHS {
            registered.push(checkpoint(&first, done + 1));
            lab.store()
                .checkpoint_register(&first.lease, &registered[done as usize])
                .await?;
        }
    }
    lab.store()
        .checkpoint_register(&first.lease, &registered[1])
        .await?;
    lab.store().lease_release(&first.lease).await?;
    let stale = lab
        .store()
        .checkpoint_register(&first.lease, &checkpoint(&first, 3))
        .await;
    refusal(stale, ErrorKind::LeaseLost);

    let second = lab.claim(worker).await?;
    registered.reverse();
    assert_eq!(second.checkpoints, registered, "newest first, none twice");
    let detail = lab.store().job_get(second.lease.job).await?;
    assert_eq!(detail.epochs, [epoch(0), epoch(1)]);
    assert_eq!(detail.job.epochs_done, 2);

    // The newest was torn: the worker went back one, and trains the same epochs again.
    lab.store()
        .epochs_report(&second.lease, &[epoch(1)])
        .await?;
    let again = checkpoint(&second, 2);
    lab.store()
        .checkpoint_register(&second.lease, &again)
        .await?;
    lab.store().lease_release(&second.lease).await?;
    let third = lab.claim(worker).await?;
    assert_eq!(
        third.checkpoints,
        [again, registered[0].clone()],
        "two, and the later fence wins"
    );

    let mut clash = checkpoint(&third, 3);
    clash.path.clone_from(&registered[0].path);
    let clash = lab.store().checkpoint_register(&third.lease, &clash).await;
    assert!(refusal(clash, ErrorKind::InvalidInput).contains("another checkpoint"));
    Ok(())
}

#[tokio::test]
async fn lease_without_a_checkpoint_starts_from_nothing() -> Result<()> {
    let lab = Lab::new().await?;
    lab.submit(&spec([0])).await?;
    let worker = lab.worker("w").await?;
    let first = lab.claim(worker).await?;
    lab.store()
        .epochs_report(&first.lease, &[epoch(0), epoch(1)])
        .await?;
    lab.let_leases_run_out().await?;
    lab.store().lease_expire().await?;
    lab.let_backoff_pass().await?;
    let second = lab.claim(worker).await?;
    let detail = lab.store().job_get(second.lease.job).await?;
    assert_eq!((detail.epochs.len(), detail.job.epochs_done), (0, 0));
    Ok(())
}

#[tokio::test]
async fn measurement_off_the_grid_or_with_impossible_counts_is_refused() -> Result<()> {
    let lab = Lab::new().await?;
    lab.submit(&spec([0])).await?;
    let worker = lab.worker("w").await?;
    let train = lab.claim(worker).await?;
    let nothing = Measured::default();
    let wrong_kind = lab
        .store()
        .evaluation_complete(&train.lease, &nothing)
        .await;
    assert!(refusal(wrong_kind, ErrorKind::InvalidInput).contains("of kind train"));
    lab.finish(&train).await?;
    let claim = lab.claim(worker).await?;
    let wrong_kind = lab
        .store()
        .train_complete(&claim.lease, &trained(&claim, 0))
        .await;
    assert!(refusal(wrong_kind, ErrorKind::InvalidInput).contains("of kind evaluate"));

    let grid = [0, 2, 4].map(epsilon);
    let shifted = points(&[0, 1, 4].map(epsilon));
    let mut impossible = points(&grid);
    impossible[1] = Point {
        correct: 201,
        ..impossible[1]
    };
    for refused in [&points(&grid[..2])[..], &shifted, &impossible] {
        let refused = Measured {
            points: refused.to_vec(),
            ..Measured::default()
        };
        let complete = lab
            .store()
            .evaluation_complete(&claim.lease, &refused)
            .await;
        refusal(complete, ErrorKind::InvalidInput);
    }
    assert_eq!(
        lab.count("SELECT count(*) FROM temper.evaluation").await?,
        0
    );
    let detail = lab.store().job_get(claim.lease.job).await?;
    assert_eq!(
        detail.job.state,
        JobState::Leased,
        "a refused report costs nothing"
    );
    lab.store()
        .evaluation_complete(&claim.lease, &measured(&grid))
        .await?;
    Ok(())
}
