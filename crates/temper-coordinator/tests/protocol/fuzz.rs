//! Every method with any bytes: it answers, with a refusal that says why or with what was asked for,
//! stores nothing of what it refuses, and the next call is served. `make fuzz` runs it at length.

use std::{cell::Cell, collections::BTreeSet, time::Duration};

use anyhow::{Context as _, anyhow, ensure};
use temper_core::{Digest, access::Role};
use temper_proto::v1::{
    self, admin_service_client::AdminServiceClient, complete_request::Result as Outcome,
    job_spec::Kind, sweep_service_client::SweepServiceClient,
};
use temper_service::{
    client::Channel,
    testing::{
        Answer, Encoded, Method, Panics, Plan, Words, call, methods, objection, one, requests,
    },
};
use temper_store::testing::tables::{Tally, tally};
use tokio::{runtime::Runtime, time::sleep};
use tonic::Code;

use crate::house::{Hand, House};

const SHORT: u64 = 300;
/// Requests after which another database is taken, so that what piles up does not slow the rest.
const ROUND: u64 = 3000;
/// Requests after which there is a fresh sweep and a job held by the worker.
const SETTLED: u64 = 25;
/// A call that has not answered by then hangs.
const PATIENCE: Duration = Duration::from_secs(30);
/// Calls that may wait are left after this.
const GLANCE: Duration = Duration::from_millis(100);
/// Between two looks whether what a call that was left had begun is over.
const PAUSE: Duration = Duration::from_millis(50);
const SERVED: [&str; 5] = [
    "SweepService",
    "JobService",
    "WorkerService",
    "AdminService",
    "ExternalScaler",
];

/// A coordinator, and callers of every kind.
struct World {
    house: House,
    hand: Hand,
    admin: Channel,
    worker: Channel,
    /// A job that has succeeded.
    finished: String,
    words: Words,
    tally: Cell<Tally>,
}

#[test]
fn any_bytes_are_answered_and_what_is_refused_leaves_no_trace() -> anyhow::Result<()> {
    let (plan, runtime, panics) = (Plan::read(SHORT)?, Runtime::new()?, Panics::noted());
    let mut runner = plan.runner();
    let methods = methods(&SERVED)?;
    ensure!(methods.len() >= 30, "{} methods", methods.len());
    let (mut done, mut seen) = (0, BTreeSet::new());
    while plan.goes_on(done) {
        let mut world = runtime.block_on(World::open())?;
        let before = done;
        while plan.goes_on(done) && done - before < ROUND {
            runtime.block_on(world.settle(done))?;
            let requests = requests(&methods, &world.words);
            for _ in 0..SETTLED {
                let answered = one(&mut runner, &requests, |method, request| {
                    let judged = runtime.block_on(world.judge(&methods[method], request));
                    judged.map_err(|error| format!("{error:#}"))
                });
                if let Some(panic) = panics.first() {
                    return Err(anyhow!("{answered:?}: {panic}"));
                }
                seen.insert(answered.map_err(|found| anyhow!(found))?);
                done += 1;
            }
        }
        runtime.block_on(world.house.close())?;
    }
    plan.tell("requests", done);
    // Were none of a method taken, or none refused, nobody would have looked at it.
    let both = |method| seen.contains(&(method, true)) && seen.contains(&(method, false));
    let missed = (0..methods.len()).filter(|method| !both(*method));
    let missed: Vec<_> = missed.map(|method| &methods[method].path).collect();
    ensure!(
        missed.len() < methods.len() / 2,
        "not done or not refused: {missed:?}"
    );
    ensure!(
        !plan.is_long() || missed.is_empty(),
        "not done or not refused: {missed:?}"
    );
    Ok(())
}

impl World {
    async fn open() -> anyhow::Result<Self> {
        let house = House::open().await?;
        let mut hand = Hand::register(&house, "hand").await?;
        Ok(Self {
            finished: finish(&house, &mut hand).await?,
            admin: house.channel_of(Role::Admin, "root").await?,
            worker: hand.channel.clone(),
            words: Words::default(),
            tally: Cell::new(tally(house.store()).await?),
            hand,
            house,
        })
    }

    /// Sees to it that there is a sweep, and a job that the worker holds: requests may have ended
    /// what there was. Their names are what the next requests are made of.
    async fn settle(&mut self, seed: u64) -> anyhow::Result<()> {
        self.hand.register_again("hand").await?;
        let sweep = self.house.submit_seed("", 1 + seed).await?;
        let job = self.hand.ask(true, 20).await?.context("no job")?;
        let lease = job.lease.clone().context("a lease")?;
        if let Some(v1::JobSpec {
            kind: Some(Kind::Train(_)),
        }) = job.spec
        {
            self.hand.report(&lease, &[0, 1]).await?;
        }
        let given_up = self.house.submit_seed("", 1_000_000 + seed).await?.name;
        let mut sweeps = SweepServiceClient::new(self.house.channel.clone());
        let cancel = v1::CancelSweepRequest {
            name: given_up.clone(),
        };
        let given_up_etag = sweeps.cancel_sweep(cancel).await?.into_inner().etag;
        let mut admin = AdminServiceClient::new(self.admin.clone());
        let made = admin.create_token(v1::CreateTokenRequest {
            display_name: "spare".to_owned(),
            role: v1::Role::Viewer.into(),
            ..v1::CreateTokenRequest::default()
        });
        let token = made.await?.into_inner().token.context("no token")?;
        let page = v1::ListSweepsRequest {
            page_size: 1,
            ..v1::ListSweepsRequest::default()
        };
        let page_token = sweeps.list_sweeps(page).await?.into_inner().next_page_token;
        let path = format!("{}/{}/file", job.key, lease.fence);
        let fence = lease.fence.to_string();
        self.words = axes()
            .with("name", &[&sweep.name, &given_up, &token.name])
            .with("name", &[&lease.job, &self.finished])
            .with("parent", &[&sweep.name, &lease.job])
            .with("sweep", &[&sweep.name])
            .with("etag", &[&sweep.etag, &given_up_etag])
            .with("page_token", &["", &page_token])
            .with("job", &[&lease.job])
            .with("jobs", &[&lease.job])
            .with("incarnation", &[&self.hand.incarnation])
            .with("fence", &[&fence])
            .with("path", &[&path])
            .with("sha256", &[&Digest::of(b"state").to_string()]);
        self.tally.set(tally(self.house.store()).await?);
        Ok(())
    }

    /// Sends a request, and says whether it was done; fails when the answer, or what it left, is not
    /// right.
    async fn judge(&self, method: &Method, request: Encoded) -> anyhow::Result<bool> {
        let channel = match method.path.as_str() {
            path if path.contains("Worker") => &self.worker,
            path if path.contains("Admin") => &self.admin,
            _ => &self.house.channel,
        };
        let waits = method.streams || method.name == "Lease";
        let patience = if waits { GLANCE } else { PATIENCE };
        let answer = call(channel.clone(), method, request.0, patience).await;
        let path = &method.path;
        if let Some(objection) = objection(&answer, waits) {
            return Err(anyhow!("{path}: {objection}"));
        }
        let now = match answer {
            // It may be written yet, and the next one that is refused would be blamed.
            Answer::Silence => self.settled_tally().await?,
            Answer::Done | Answer::Refused(_) => tally(self.house.store()).await?,
        };
        let before = self.tally.replace(now);
        let refused = matches!(answer, Answer::Refused(_));
        ensure!(
            !refused || now == before,
            "{path}: {answer:?} left {now:?} of {before:?}"
        );
        self.serves()
            .await
            .with_context(|| format!("after {path}"))?;
        Ok(!refused)
    }

    /// What there is once two looks agree.
    async fn settled_tally(&self) -> anyhow::Result<Tally> {
        let mut last = tally(self.house.store()).await?;
        loop {
            sleep(PAUSE).await;
            let now = tally(self.house.store()).await?;
            if now == last {
                return Ok(now);
            }
            last = now;
        }
    }

    async fn serves(&self) -> anyhow::Result<()> {
        let request = v1::ListSweepsRequest {
            page_size: 1,
            ..v1::ListSweepsRequest::default()
        };
        let mut sweeps = SweepServiceClient::new(self.house.channel.clone());
        sweeps.list_sweeps(request).await?;
        Ok(())
    }
}

/// Sees a sweep through, and gives its training.
async fn finish(house: &House, hand: &mut Hand) -> anyhow::Result<String> {
    house.submit("").await?;
    let training = hand.lease().await?;
    let lease = training.lease.clone().context("a lease")?;
    hand.report(&lease, &[0, 1]).await?;
    hand.complete(&training, b"model").await?;
    let evaluation = hand.lease().await?.lease.context("a lease")?;
    let point = |epsilon: &str| v1::CurvePoint {
        epsilon: epsilon.to_owned(),
        correct: 1,
        samples: 2,
    };
    let result = v1::EvaluateResult {
        points: ["0", "1/255", "2/255"].map(point).to_vec(),
        ..v1::EvaluateResult::default()
    };
    hand.hand_in(&evaluation, Outcome::Evaluate(result)).await?;
    Ok(lease.job)
}

/// What a sweep is made of, and what a worker says of its job, as they may be.
fn axes() -> Words {
    Words::default()
        .with("sweep", &[])
        .with("spec", &[])
        .with("lease", &[])
        .with("checkpoint", &[])
        .with("artifact", &[])
        .with("points", &[])
        .with("epsilon", &["0", "1/255", "2/255"])
        .with("scaled_object_ref", &[])
        .with("scaler_metadata", &["deviceKind=cpu", "labels=class=a100"])
        .with("metric_name", &["jobs"])
        .with("correct", &["0", "1"])
        .with("samples", &["2"])
        .with("lines", &[])
        .with("epochs", &["2"])
        .with("models", &["mobilenetv2", "efficientnet-lite0"])
        .with("datasets", &["fashion-mnist"])
        .with("schedules", &["fixed", "two-hinge"])
        .with("start", &["1/4"])
        .with("end", &["3/4"])
        .with("at", &["1/2"])
        .with("target_epsilons", &["2/255", "4/255"])
        .with("seeds", &["0", "1", "2"])
        .with("paths", &["priority", "labels"])
        .with("display_name", &["a sweep"])
        .with("owner", &["ann"])
        .with("worker", &["hand"])
        .with("device", &["cpu"])
        .with(
            "result_versions",
            &[&temper_core::spec::RESULT_VERSION.to_string()],
        )
        .with("step", &["1", "2"])
        .with("size", &["5"])
        .with("first_line", &["1"])
        .with("seconds", &["1", "60"])
        .with("failure_class", &[])
        .with("role", &[])
        .with("message", &["it broke"])
}

#[tokio::test]
async fn requests_beyond_the_limit_are_refused_as_such() -> anyhow::Result<()> {
    let house = House::open().await?;
    let all = methods(&SERVED)?;
    let create = all.iter().find(|method| method.name == "CreateSweep");
    let create = create.context("no CreateSweep")?;
    let answer = call(house.channel.clone(), create, vec![0; 17 << 20], PATIENCE).await;
    let Answer::Refused(status) = answer else {
        return Err(anyhow!("{answer:?}"));
    };
    ensure!(status.code() == Code::OutOfRange, "{status:?}");
    house.submit("").await?;
    house.close().await
}
