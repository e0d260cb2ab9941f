//! Tokens, what they may write to, and what is noted of them.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use temper_core::{
    Digest, ErrorKind,
    access::{Principal, Role, Standing},
    spec::{Precision, RESULT_VERSION},
};
use temper_store::{
    Actor, AuditQuery, Checkpoint, LeaseStatus, NewToken, NewWorker, StoreError, TokenCursor,
    WorkerRef,
};
use uuid::Uuid;

use crate::lab::{LEASE, Lab, TESTER, artifact, epoch, failure, refusal, spec, token, trained};

fn new_token(name: &str, lifetime: Option<Duration>) -> NewToken<'_> {
    NewToken {
        name,
        role: Role::Viewer,
        owner: Some("lab"),
        digest: Digest::of(name.as_bytes()),
        lifetime,
    }
}

#[tokio::test]
async fn token_is_good_until_it_is_revoked_or_its_time_is_over() -> Result<()> {
    let lab = Lab::new().await?;
    let store = lab.store();
    let standing = async |name: &str| store.token_standing(&Digest::of(name.as_bytes())).await;
    let hour = Some(Duration::from_hours(1));
    let made = store.token_create(&TESTER, new_token("ann", hour)).await?;
    let ann = Principal {
        token: made.id,
        name: "ann".into(),
        role: Role::Viewer,
        owner: "lab".into(),
    };
    assert_eq!(standing("ann").await?, Standing::Good(ann));
    assert_eq!(standing("bob").await?, Standing::Unknown);
    let brief = Some(Duration::from_nanos(1));
    store
        .token_create(&TESTER, new_token("brief", brief))
        .await?;
    assert_eq!(standing("brief").await?, Standing::Expired);
    let revoked = store.token_revoke(&TESTER, made.id).await?;
    assert!(revoked.revoked_at.is_some());
    assert_eq!(standing("ann").await?, Standing::Revoked);
    let again = store.token_revoke(&TESTER, made.id).await?;
    assert_eq!(again, revoked, "revoking twice changes nothing");
    let nobody = store.token_revoke(&TESTER, Uuid::nil()).await;
    refusal(nobody, ErrorKind::NotFound);
    // Whose workers these are was not asked, so it is their own name.
    let Standing::Good(workers) = standing("workers").await? else {
        panic!("the lab's own token")
    };
    assert_eq!(workers.owner, "workers");
    Ok(())
}

#[tokio::test]
async fn no_secret_is_stored_and_tokens_are_listed_newest_first() -> Result<()> {
    let lab = Lab::new().await?;
    for name in ["one", "two", "three"] {
        lab.store()
            .token_create(&TESTER, new_token(name, None))
            .await?;
    }
    let (mut names, mut after): (Vec<String>, Option<TokenCursor>) = (Vec::new(), None);
    loop {
        let page = lab.store().token_list(3, after).await?;
        names.extend(page.tokens.into_iter().map(|token| token.name));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(names, ["three", "two", "one", "workers"]);
    lab.store().token_used(lab.token).await?;
    let used = lab.store().token_list(10, None).await?.tokens;
    assert!(used[3].last_used_at.is_some() && used[0].last_used_at.is_none());
    // Of what an actor has made, all goes at once; what others made stays.
    let other = Actor::at_database("temper up");
    lab.store()
        .token_create(&other, new_token("four", None))
        .await?;
    assert_eq!(lab.store().tokens_revoke_made_by(&other).await?, 1);
    let good = lab.store().token_list(10, None).await?.tokens;
    assert!(good[0].revoked_at.is_some() && good[1].revoked_at.is_none());
    Ok(())
}

/// A worker under a token of its own.
async fn stranger(lab: &Lab) -> Result<WorkerRef> {
    Ok(WorkerRef {
        incarnation: Uuid::new_v4(),
        token: token(lab.store(), "others", Role::Worker).await?,
    })
}

fn introduction(worker: WorkerRef) -> NewWorker {
    NewWorker {
        worker,
        name: "w".into(),
        device: "cpu".into(),
        memory_bytes: None,
        result_versions: vec![RESULT_VERSION],
        precisions: vec![Precision::Fp32],
    }
}

#[tokio::test]
async fn lease_is_good_under_its_workers_own_token_alone() -> Result<()> {
    let lab = Lab::new().await?;
    lab.submit(&spec([0])).await?;
    let store = lab.store();
    let worker = lab.worker("w").await?;
    let claim = lab.claim(worker).await?;
    let thief = stranger(&lab).await?;
    store.worker_register(&introduction(thief)).await?;

    // It knows everything of the lease, but has another token.
    let mut stolen = claim.clone();
    stolen.lease.token = thief.token;
    let checkpoint = Checkpoint {
        step: 1,
        epochs: 0,
        path: "key/1/1".into(),
        sha256: Digest::of(b"state"),
        size: 5,
    };
    let class = temper_core::job::FailureClass::Code;
    let lease = &stolen.lease;
    let writes = [
        store.epochs_report(lease, &[epoch(0)]).await,
        store.checkpoint_register(lease, &checkpoint).await,
        store.train_complete(lease, &trained(&claim, 3)).await,
        store
            .attempt_fail(lease, failure(class, ""))
            .await
            .map(drop),
        store.lease_release(lease).await,
    ];
    for write in writes {
        let said = refusal(write, ErrorKind::LeaseLost);
        assert!(said.contains("never given to this worker"), "{said}");
    }
    // Its incarnation under another token is nobody.
    let borrowed = WorkerRef {
        token: thief.token,
        ..worker
    };
    let asked = [(claim.lease.job, claim.lease.fence)];
    let heartbeat = store.lease_heartbeat(borrowed, &asked, LEASE).await;
    refusal(heartbeat, ErrorKind::FailedPrecondition);
    refusal(
        store.lease_claim(borrowed, LEASE).await,
        ErrorKind::FailedPrecondition,
    );
    let taken = store.worker_register(&introduction(borrowed)).await;
    assert!(
        matches!(taken, Err(StoreError::WorkerTaken(_))),
        "{taken:?}"
    );

    let statuses = store.lease_heartbeat(worker, &asked, LEASE).await?;
    assert_eq!(statuses, [LeaseStatus::Continue]);
    lab.finish(&claim).await?;
    // Not even the repetition of what was accepted.
    refusal(
        store
            .train_complete(&stolen.lease, &trained(&claim, 3))
            .await,
        ErrorKind::LeaseLost,
    );
    let kept = store
        .artifact_get(claim.lease.job, temper_core::spec::Selection::Last)
        .await?;
    assert_eq!(kept, artifact(&claim));
    Ok(())
}

#[tokio::test]
async fn change_is_noted_once_with_who_made_it_and_a_failed_one_is_not() -> Result<()> {
    let lab = Lab::new().await?;
    let store = lab.store();
    let made = store.token_create(&TESTER, new_token("ann", None)).await?;
    let ann = Actor {
        name: "ann",
        token: Some(made.id),
        role: Some(Role::Submitter),
    };
    let sweep = lab.submit(&spec([0])).await?.id;
    for _ in 0..2 {
        store.sweep_cancel(&ann, sweep).await?;
    }
    refusal(
        store.sweep_cancel(&ann, Uuid::nil()).await,
        ErrorKind::NotFound,
    );
    let query = AuditQuery {
        sweep: Some(sweep),
        actor: None,
        before: None,
        limit: 10,
    };
    let page = store.audit_list(query).await?;
    let told: Vec<_> = page
        .entries
        .iter()
        .map(|entry| (entry.method.as_str(), entry.actor.as_str(), entry.role))
        .collect();
    assert_eq!(
        told,
        [
            ("SweepService/CancelSweep", "ann", Some(Role::Submitter)),
            ("SweepService/CreateSweep", "tester", None),
        ]
    );
    assert_eq!(page.entries[0].token, Some(made.id));
    let expected = json!({ "owner": "ann", "jobs_created": 2 });
    assert_eq!((&page.entries[1].detail, page.next), (&expected, None));

    let of_ann = AuditQuery {
        sweep: None,
        actor: Some("ann"),
        ..query
    };
    assert_eq!(store.audit_list(of_ann).await?.entries.len(), 1);
    // Two of the lab's own tokens, the sweep, its end.
    let (mut seen, mut before) = (Vec::new(), None);
    loop {
        let all = AuditQuery {
            sweep: None,
            before,
            limit: 3,
            ..query
        };
        let page = store.audit_list(all).await?;
        seen.extend(page.entries.into_iter().map(|entry| entry.id));
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 4);
    assert!(seen.is_sorted_by(|newer, older| newer > older), "{seen:?}");
    let view = "SELECT count(*) FROM reporting.audit WHERE sweep = 'a sweep' AND actor = 'ann'";
    assert_eq!(lab.count(view).await?, 1);
    Ok(())
}
