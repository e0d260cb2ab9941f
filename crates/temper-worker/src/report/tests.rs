use std::cell::Cell;

use temper_core::report::{Audit, MaskingFlag};

use super::*;
use crate::fake::{Call, Running, Script, anywhere};

fn lease() -> Lease {
    Lease::new(v1::LeaseRef {
        job: "jobs/1".into(),
        incarnation: "i".into(),
        fence: 7,
    })
}

#[tokio::test(start_paused = true)]
async fn report_is_repeated_until_the_coordinator_is_back() {
    let calls = Cell::new(0);
    let call = || {
        calls.set(calls.get() + 1);
        let back = calls.get() == 30;
        async move {
            if back {
                Ok(())
            } else {
                Err(Status::unavailable("down"))
            }
        }
    };
    persist(&lease(), call).await.unwrap();
    assert_eq!(calls.get(), 30);
}

#[tokio::test(start_paused = true)]
async fn repeating_ends_with_the_lease() {
    let lease = lease();
    let call = || async { Err::<(), _>(Status::unavailable("down")) };
    let ends = async {
        tokio::time::sleep(Duration::from_mins(1)).await;
        lease.end(Ended::Silent);
    };
    let (result, ()) = tokio::join!(persist(&lease, call), ends);
    assert!(matches!(result, Err(ReportError::LeaseOver)));
    assert_eq!(lease.ended(), Some(Ended::Silent));
}

#[tokio::test]
async fn aborted_ends_the_lease_and_refusals_are_not_repeated() {
    let held = lease();
    let result = persist(&held, || async { Err::<(), _>(Status::aborted("fence 8")) }).await;
    assert!(matches!(result, Err(ReportError::LeaseOver)));
    assert_eq!(held.ended(), Some(Ended::Lost));

    let calls = Cell::new(0);
    let call = || {
        calls.set(calls.get() + 1);
        async { Err::<(), _>(Status::invalid_argument("epoch 3 is missing")) }
    };
    let result = persist(&lease(), call).await;
    assert!(matches!(result, Err(ReportError::Refused(_))));
    assert_eq!(calls.get(), 1);
}

fn reports(running: &Running) -> Reports {
    let coordinator = Coordinator::new(&running.url(), &Running::credentials()).unwrap();
    Reports::new(
        coordinator,
        Objects::open(&running.objects()).unwrap(),
        Arc::new(lease()),
    )
}

fn measured() -> Measurement {
    Measurement {
        points: Vec::new(),
        audit: Some(Audit {
            samples: 5,
            gap: 0.25,
        }),
        flags: vec![MaskingFlag::Probabilities, MaskingFlag::WeakFirstAttack],
        passes: 77,
    }
}

#[tokio::test]
async fn complete_is_repeated_to_a_coordinator_that_died_before_its_reply() {
    let process = tokio::runtime::Runtime::new().unwrap();
    let first = Running::start(anywhere(), Script::default());
    let mut first = process.spawn(first).await.unwrap();
    let reports = reports(&first);
    let complete = tokio::spawn(async move { reports.complete_evaluation(&measured()).await });
    // It has taken the call, never answers, and dies with all its connections.
    assert_eq!(first.call().await, Call::Complete);
    // Waited for, so that its address is free again.
    let killed = move || process.shutdown_timeout(Duration::from_secs(10));
    tokio::task::spawn_blocking(killed).await.unwrap();

    let script = Script {
        completes: [Some(Ok(()))].into(),
        ..Script::default()
    };
    let mut second = Running::start(first.address, script).await;
    assert_eq!(second.call().await, Call::Complete);
    complete.await.unwrap().unwrap();
}

#[tokio::test]
async fn complete_has_the_last_word_when_a_heartbeat_says_that_the_lease_is_gone() {
    for (last, completed) in [(Ok(()), true), (Err(Status::aborted("fence 8")), false)] {
        let script = Script {
            completes: [None, Some(last)].into(),
            ..Script::default()
        };
        let mut running = Running::start(anywhere(), script).await;
        let reports = reports(&running);
        let lease = Arc::clone(reports.lease());
        let complete = tokio::spawn(async move { reports.complete_evaluation(&measured()).await });
        assert_eq!(running.call().await, Call::Complete);
        lease.end(Ended::Lost);
        assert_eq!(running.call().await, Call::Complete);
        assert_eq!(complete.await.unwrap().is_ok(), completed);
    }
}

#[tokio::test]
async fn best_model_is_stored_beside_the_last() {
    let script = Script {
        completes: [Some(Ok(()))].into(),
        ..Script::default()
    };
    let mut running = Running::start(anywhere(), script).await;
    let (reports, key) = (reports(&running), Digest::of(b"job"));
    let model = TrainedModel {
        bytes: vec![1; 10],
        epochs: 3,
        steps: 30,
        best: Some(temper_torch::BestModel {
            bytes: vec![2; 10],
            epoch: 1,
        }),
        micro_batch_size: 8,
    };
    reports.complete_training(&key, model).await.unwrap();
    assert_eq!(running.call().await, Call::Complete);
    for (path, byte) in [(artifact_path(&key, 7), 1), (best_path(&key, 7), 2)] {
        let sha256 = Digest::of(&[byte; 10]);
        let object = Object {
            path,
            sha256,
            size: 10,
        };
        assert_eq!(reports.fetch(&object).await.unwrap(), vec![byte; 10]);
    }
}

#[tokio::test]
async fn checkpoint_is_stored_before_it_is_registered() {
    let mut running = Running::start(anywhere(), Script::default()).await;
    let (reports, key) = (reports(&running), Digest::of(b"job"));
    let checkpoint = Saved {
        step: 40,
        epochs: 2,
        bytes: vec![7; 100],
    };
    // Twice: the reply to the first registration may have been lost.
    for _ in 0..2 {
        reports.checkpoint(&key, checkpoint.clone()).await.unwrap();
        assert_eq!(running.call().await, Call::Checkpoint(40));
    }
    let object = Object {
        path: checkpoint_path(&key, 7, 40),
        sha256: Digest::of(&[7; 100]),
        size: 100,
    };
    assert_eq!(reports.fetch(&object).await.unwrap(), vec![7; 100]);
    let torn = reports.fetch(&Object { size: 99, ..object }).await;
    assert!(
        matches!(torn, Err(JobError::Objects(ObjectsError::Torn { .. }))),
        "{torn:?}"
    );
}
