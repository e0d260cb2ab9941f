//! Any order of what workers and people do: no job takes a step that its life does not have.

use std::collections::HashMap;

use anyhow::{Result, ensure};
use proptest::{collection::vec, prelude::*, sample::Index};
use temper_core::{
    ErrorKind,
    job::{FailureClass, JobEvent, JobFilter, JobState},
};
use temper_store::{
    Claim, JobId, StoreError, WorkerRef,
    testing::tables::{JobRecord, Tables},
};
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::lab::{LEASE, Lab, Submission, TESTER, failure, spec};

/// What somebody does. Claims are taken from all that there ever were: a worker may be late.
#[derive(Debug, Clone)]
enum Step {
    Submit(u64),
    Claim(Index),
    Finish(Index),
    Fail(Index, FailureClass),
    Release(Index),
    RunOut,
    Pause(Index),
    Resume(Index),
    CancelSweep(Index),
    DeleteSweep(Index),
    CancelJob(Index),
    Retry(Index),
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<Index>;
    let class = prop::sample::select(&FailureClass::ALL[..]);
    prop_oneof![
        2 => (0_u64..3).prop_map(Step::Submit),
        6 => index().prop_map(Step::Claim),
        4 => index().prop_map(Step::Finish),
        3 => (index(), class).prop_map(|(claim, class)| Step::Fail(claim, class)),
        1 => index().prop_map(Step::Release),
        1 => Just(Step::RunOut),
        1 => index().prop_map(Step::Pause),
        1 => index().prop_map(Step::Resume),
        1 => index().prop_map(Step::CancelSweep),
        1 => index().prop_map(Step::DeleteSweep),
        1 => index().prop_map(Step::CancelJob),
        2 => index().prop_map(Step::Retry),
    ]
}

/// A laboratory, and all that ever was in it.
struct Walk {
    lab: Lab,
    workers: [WorkerRef; 2],
    sweeps: Vec<Uuid>,
    claims: Vec<Claim>,
    jobs: HashMap<i64, JobRecord>,
}

impl Walk {
    async fn begin() -> Result<Self> {
        let lab = Lab::new().await?;
        let workers = [lab.worker("one").await?, lab.worker("two").await?];
        let mut walk = Self {
            lab,
            workers,
            sweeps: Vec::new(),
            claims: Vec::new(),
            jobs: HashMap::new(),
        };
        walk.take(&Step::Submit(0)).await?;
        Ok(walk)
    }

    /// Takes a step, and looks at every job.
    async fn take(&mut self, step: &Step) -> Result<()> {
        match self.act(step).await {
            Err(error) if error.kind() == ErrorKind::Internal => return Err(error.into()),
            // Late, or not in this state: the more such are tried the better.
            _ => {}
        }
        self.lab.let_backoff_pass().await?;
        let tables = Tables::read(self.lab.store()).await?;
        ensure!(tables.dangling.is_empty(), "{:?}", tables.dangling);
        for job in tables.jobs {
            if let Some(before) = self.jobs.get(&job.id) {
                follow(before, &job)?;
            }
            let state = state(&job)?;
            ensure!((state == JobState::Leased) == (job.leases == 1), "{job:?}");
            ensure!(
                (state == JobState::Succeeded) == (job.summaries == 1),
                "{job:?}"
            );
            self.jobs.insert(job.id, job);
        }
        Ok(())
    }

    async fn act(&mut self, step: &Step) -> Result<(), StoreError> {
        let store = self.lab.store();
        match step {
            Step::Submit(seed) => {
                let wanted = spec(*seed..seed + 2);
                let created = Submission::of(&wanted).send(store).await?;
                self.sweeps.push(created.id);
            }
            Step::Claim(worker) => {
                let claim = store.lease_claim(*worker.get(&self.workers), LEASE).await?;
                self.claims.extend(claim);
            }
            Step::Finish(claim) => {
                if let Some(claim) = some(&self.claims, *claim) {
                    self.lab.finish(claim).await?;
                }
            }
            Step::Fail(claim, class) => {
                if let Some(claim) = some(&self.claims, *claim) {
                    store
                        .attempt_fail(&claim.lease, failure(*class, "it broke"))
                        .await?;
                }
            }
            Step::Release(claim) => {
                if let Some(claim) = some(&self.claims, *claim) {
                    store.lease_release(&claim.lease).await?;
                }
            }
            Step::RunOut => {
                self.lab.let_leases_run_out().await.ok();
                store.lease_expire().await?;
            }
            Step::Pause(sweep) => {
                let sweep = *sweep.get(&self.sweeps);
                store.sweep_pause(&TESTER, sweep, None, "").await?;
            }
            Step::Resume(sweep) => {
                store
                    .sweep_resume(&TESTER, *sweep.get(&self.sweeps), None)
                    .await?;
            }
            Step::CancelSweep(sweep) => {
                store
                    .sweep_cancel(&TESTER, *sweep.get(&self.sweeps))
                    .await?;
            }
            Step::DeleteSweep(sweep) => {
                store
                    .sweep_delete(&TESTER, *sweep.get(&self.sweeps), None)
                    .await?;
            }
            Step::CancelJob(job) => {
                let mut jobs: Vec<i64> = self.jobs.keys().copied().collect();
                jobs.sort_unstable();
                store.job_cancel(&TESTER, JobId(*job.get(&jobs))).await?;
            }
            Step::Retry(sweep) => {
                let sweep = *sweep.get(&self.sweeps);
                store
                    .jobs_retry(&TESTER, sweep, &JobFilter::default())
                    .await?;
            }
        }
        Ok(())
    }
}

fn some<T>(all: &[T], index: Index) -> Option<&T> {
    (!all.is_empty()).then(|| index.get(all))
}

fn state(job: &JobRecord) -> Result<JobState> {
    JobState::from_name(&job.state).ok_or_else(|| anyhow::anyhow!("{job:?}"))
}

/// From what a job was to what it is: one arrow of its life, or none.
fn follow(before: &JobRecord, now: &JobRecord) -> Result<()> {
    let (from, to) = (state(before)?, state(now)?);
    let leads = |event: &JobEvent| from.after(*event) == Ok(to);
    ensure!(
        from == to || JobEvent::ALL.iter().any(leads),
        "{before:?} became {now:?}"
    );
    // A fence only grows, and by a lease alone.
    let leased = from != to && to == JobState::Leased;
    ensure!(
        now.fence == before.fence + i64::from(leased),
        "{before:?} became {now:?}"
    );
    ensure!(
        now.key == before.key && now.spec == before.spec,
        "{before:?} became {now:?}"
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 60, ..ProptestConfig::with_cases(6) })]

    #[test]
    fn no_order_of_steps_leads_a_job_where_it_may_not_go(steps in vec(step(), 10..50)) {
        let outcome = Runtime::new().unwrap().block_on(async {
            let mut walk = Walk::begin().await?;
            for step in &steps {
                walk.take(step).await?;
            }
            anyhow::Ok(())
        });
        prop_assert!(outcome.is_ok(), "{outcome:?}");
    }
}
