//! Pages of lists while others write: every row that was there is told once, and none twice.

use std::{collections::HashSet, fmt::Debug, hash::Hash, sync::Arc};

use anyhow::Result;
use proptest::prelude::*;
use temper_core::access::Role;
use temper_store::{
    AttemptsQuery, AuditQuery, JobsQuery, SweepExtension, SweepFilter, TokenCursor,
};
use tokio::{
    runtime::Runtime,
    sync::watch,
    task::{JoinHandle, JoinSet},
};
use uuid::Uuid;

use crate::lab::{LEASE, Lab, TESTER, expansion, inputs, spec, token};

/// Writes of each kind that come in between.
const WRITES: u64 = 12;

/// What others do while a list is read, told one by one.
type Written = watch::Receiver<u64>;

/// A list read to its end, in pages. Others write between any two of them, until they are done.
async fn told<I, C>(
    mut written: Written,
    mut page: impl AsyncFnMut(Option<C>) -> Result<(Vec<I>, Option<C>)>,
) -> Result<Vec<I>> {
    let (mut told, mut after) = (Vec::new(), None);
    loop {
        let (rows, next) = page(after).await?;
        told.extend(rows);
        let Some(next) = next else { return Ok(told) };
        after = Some(next);
        // An error says that all is written.
        let _ = written.changed().await;
    }
}

/// Each of what was there once and in its order, and nothing twice.
fn check<I: Debug + Eq + Hash>(told: &[I], before: &[I]) {
    let once: HashSet<&I> = told.iter().collect();
    assert_eq!(once.len(), told.len(), "told twice: {told:?}");
    let known: HashSet<&I> = before.iter().collect();
    let old: Vec<&I> = told.iter().filter(|row| known.contains(row)).collect();
    assert_eq!(old, before.iter().collect::<Vec<_>>());
}

/// Starts a task that writes, and says after each time that it did.
fn writer<F>(write: impl Fn(u64) -> F + Send + 'static) -> (JoinHandle<Result<()>>, Written)
where
    F: Future<Output = Result<()>> + Send,
{
    let (tell, written) = watch::channel(0);
    let task = tokio::spawn(async move {
        for i in 1..=WRITES {
            write(i).await?;
            let _ = tell.send(i);
        }
        Ok(())
    });
    (task, written)
}

/// Three at once, so that some that began earlier end later.
async fn submit_three(lab: Arc<Lab>, seed: u64) -> Result<()> {
    let mut tasks = JoinSet::new();
    for i in 0..3 {
        let lab = Arc::clone(&lab);
        tasks.spawn(async move { lab.submit(&spec([1000 * seed + i])).await });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// Reads the list of sweeps, and that of what was done to them, while others submit.
async fn sweeps(lab: Arc<Lab>, rows: u64, size: u32) -> Result<()> {
    let mut newest_first = Vec::new();
    for seed in 0..rows {
        newest_first.insert(0, lab.submit(&spec([seed])).await?.id);
    }
    let entries = audit(&lab, None, 1000).await?.0;
    let submitter = Arc::clone(&lab);
    let (task, written) = writer(move |i| submit_three(Arc::clone(&submitter), i));
    let listed = told(written.clone(), async |after| {
        let all = SweepFilter::default();
        let page = lab.store().sweep_list(&all, size, after).await?;
        assert!(page.sweeps.len() <= size as usize);
        Ok((page.sweeps.iter().map(|row| row.id).collect(), page.next))
    });
    let noted = told(written, async |before| audit(&lab, before, size).await);
    let (listed, noted) = tokio::try_join!(listed, noted)?;
    task.await??;
    check(&listed, &newest_first);
    check(&noted, &entries);
    Ok(())
}

async fn audit(lab: &Lab, before: Option<i64>, limit: u32) -> Result<(Vec<i64>, Option<i64>)> {
    let query = AuditQuery {
        sweep: None,
        actor: None,
        before,
        limit,
    };
    let page = lab.store().audit_list(query).await?;
    Ok((
        page.entries.iter().map(|entry| entry.id).collect(),
        page.next,
    ))
}

/// Reads a sweep's jobs while it is extended.
async fn jobs(lab: Arc<Lab>, rows: u64, size: u32) -> Result<()> {
    let sweep = lab.submit(&spec(0..rows)).await?.id;
    let before: Vec<_> = lab.jobs(sweep).await?.iter().map(|job| job.id).collect();
    let extender = Arc::clone(&lab);
    let (task, written) = writer(move |i| extend(Arc::clone(&extender), sweep, rows + i));
    let listed = told(written, async |after| {
        let query = JobsQuery {
            sweep,
            state: None,
            after,
            limit: size,
        };
        let page = lab.store().job_list(query).await?;
        Ok((page.jobs.iter().map(|job| job.id).collect(), page.next))
    });
    let listed = listed.await?;
    task.await??;
    check(&listed, &before);
    Ok(())
}

async fn extend(lab: Arc<Lab>, sweep: Uuid, seeds: u64) -> Result<()> {
    let wider = spec(0..seeds);
    let extension = SweepExtension {
        sweep,
        revision: lab.store().sweep_get(sweep).await?.revision,
        spec: &wider,
        expansion: &expansion(&wider),
        inputs: &inputs(),
        evaluations: wider.evaluations.len(),
        trace: None,
    };
    lab.store().sweep_extend(&TESTER, extension).await?;
    Ok(())
}

/// Reads the list of tokens while others are made.
async fn tokens(lab: Arc<Lab>, rows: u64, size: u32) -> Result<()> {
    for i in 0..rows {
        token(lab.store(), &format!("old {i}"), Role::Viewer).await?;
    }
    let page = |after: Option<TokenCursor>, size| {
        let lab = Arc::clone(&lab);
        async move {
            let page = lab.store().token_list(size, after).await?;
            let ids: Vec<_> = page.tokens.iter().map(|token| token.id).collect();
            anyhow::Ok((ids, page.next))
        }
    };
    let before = page(None, 1000).await?.0;
    let maker = Arc::clone(&lab);
    let (task, written) = writer(move |i| {
        let lab = Arc::clone(&maker);
        async move {
            let name = format!("new {i}");
            token(lab.store(), &name, Role::Viewer).await.map(drop)
        }
    });
    let listed = told(written, async |after| page(after, size).await).await?;
    task.await??;
    check(&listed, &before);
    Ok(())
}

/// Reads a job's attempts while it is tried again and again.
async fn attempts(lab: Arc<Lab>, rows: u64, size: u32) -> Result<()> {
    lab.submit(&spec([1])).await?;
    let worker = lab.worker("w").await?;
    let mut job = None;
    for _ in 0..rows {
        let claim = lab.claim(worker).await?;
        lab.store().lease_release(&claim.lease).await?;
        job = Some(claim.lease.job);
    }
    let Some(job) = job else { return Ok(()) };
    let tried = Arc::clone(&lab);
    let (task, written) = writer(move |_| {
        let lab = Arc::clone(&tried);
        async move {
            let claim = lab.store().lease_claim(worker, LEASE).await?;
            if let Some(claim) = claim {
                lab.store().lease_release(&claim.lease).await?;
            }
            Ok(())
        }
    });
    let listed = told(written, async |after| {
        let query = AttemptsQuery {
            job,
            after,
            limit: size,
        };
        let page = lab.store().attempt_list(query).await?;
        let numbers: Vec<_> = page.attempts.iter().map(|attempt| attempt.number).collect();
        Ok((numbers, page.next))
    });
    let listed = listed.await?;
    task.await??;
    let before: Vec<u32> = (1..).take(usize::try_from(rows)?).collect();
    check(&listed, &before);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    #[test]
    fn pages_tell_every_row_once_while_others_write(rows in 1_u64..9, size in 1_u32..5) {
        let outcome = Runtime::new().unwrap().block_on(async {
            let lab = Arc::new(Lab::new().await?);
            sweeps(Arc::clone(&lab), rows, size).await?;
            jobs(Arc::new(Lab::new().await?), rows, size).await?;
            tokens(Arc::clone(&lab), rows, size).await?;
            attempts(Arc::new(Lab::new().await?), rows, size).await
        });
        prop_assert!(outcome.is_ok(), "{outcome:?}");
    }
}
