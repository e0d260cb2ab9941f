//! The lease: kept by heartbeats, and over by this process's own clock when they get no answer.
//!
//! The coordinator extends a lease when it serves a heartbeat, which is after the heartbeat was
//! sent. So a lease that is counted from the sending is over here before it is over there.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use temper_proto::v1::{LeaseRef, LeaseStatus};
use temper_service::client::is_transient;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::metrics;

/// Between heartbeats that got no answer.
const RETRY: Duration = Duration::from_millis(250);
/// How long one heartbeat may take at least before the next one is sent.
const PATIENCE: Duration = Duration::from_secs(1);

/// How the coordinator wants leases to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timing {
    /// How long a lease lasts without a heartbeat.
    pub duration: Duration,
    /// How often to heartbeat.
    pub interval: Duration,
}

/// Why a lease is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// No live sweep wants the job.
    Cancelled,
    /// Somebody else may hold the job.
    Lost,
    /// No heartbeat was answered for as long as a lease lasts.
    Silent,
}

/// A lease that this process holds.
#[derive(Debug)]
pub(crate) struct Lease {
    reference: LeaseRef,
    over: CancellationToken,
    ended: OnceLock<Ended>,
    release: CancellationToken,
}

/// What came of a heartbeat.
enum Beat {
    /// The lease lasts from when the heartbeat was sent.
    Extended(Instant),
    /// The same, but the job is to be given back.
    Unwanted(Instant),
    /// Nobody answered.
    Unanswered,
    Over(Ended),
}

impl Lease {
    /// A lease as it was given.
    #[must_use]
    pub(crate) fn new(reference: LeaseRef) -> Self {
        Self {
            reference,
            over: CancellationToken::new(),
            ended: OnceLock::new(),
            release: CancellationToken::new(),
        }
    }

    /// What every write names.
    #[must_use]
    pub(crate) fn reference(&self) -> &LeaseRef {
        &self.reference
    }

    /// Cancelled once the lease is over: nothing may be written any more.
    #[must_use]
    pub(crate) fn over(&self) -> &CancellationToken {
        &self.over
    }

    /// Why it is over; the first reason stays.
    #[must_use]
    pub(crate) fn ended(&self) -> Option<Ended> {
        self.ended.get().copied()
    }

    /// Cancelled once the job is to be given back, with a checkpoint.
    #[must_use]
    pub(crate) fn release(&self) -> &CancellationToken {
        &self.release
    }

    /// Ends it.
    pub(crate) fn end(&self, why: Ended) {
        // The reason is set before the token, so that whoever sees the token finds it.
        self.ended.get_or_init(|| why);
        self.over.cancel();
    }
}

/// Heartbeats until the first answer, and says from when the lease is known to last: how long the
/// coordinator's answer to Lease was under way is not known. None when the lease is over.
pub(crate) async fn confirm<B, F>(lease: &Lease, timing: Timing, beat: &mut B) -> Option<Instant>
where
    B: FnMut() -> F,
    F: Future<Output = Result<LeaseStatus, Status>>,
{
    let deadline = Instant::now() + timing.duration;
    loop {
        let retry = Instant::now() + RETRY;
        match one(beat, timing, deadline).await {
            Beat::Extended(sent) => return Some(sent),
            Beat::Unwanted(sent) => {
                lease.release.cancel();
                return Some(sent);
            }
            Beat::Over(why) => lease.end(why),
            Beat::Unanswered if retry >= deadline => lease.end(Ended::Silent),
            Beat::Unanswered => sleep_until(retry).await,
        }
        if lease.ended().is_some() {
            return None;
        }
    }
}

/// Heartbeats from `since` on, at the interval, and sooner after one that got no answer. Ends with
/// the lease, which it ends itself when no heartbeat of the last [`Timing::duration`] was answered;
/// or when dropped.
pub(crate) async fn keep<B, F>(lease: Arc<Lease>, timing: Timing, since: Instant, mut beat: B)
where
    B: FnMut() -> F,
    F: Future<Output = Result<LeaseStatus, Status>>,
{
    let (mut deadline, mut next) = (since + timing.duration, since + timing.interval);
    while lease.ended().is_none() {
        sleep_until(next.min(deadline)).await;
        let started = Instant::now();
        if started >= deadline {
            tracing::warn!("no heartbeat was answered for a whole lease: giving the job up");
            return lease.end(Ended::Silent);
        }
        match one(&mut beat, timing, deadline).await {
            Beat::Extended(sent) => {
                (deadline, next) = (sent + timing.duration, sent + timing.interval);
            }
            Beat::Unwanted(sent) => {
                lease.release.cancel();
                (deadline, next) = (sent + timing.duration, sent + timing.interval);
            }
            Beat::Over(why) => lease.end(why),
            Beat::Unanswered => next = started + RETRY,
        }
    }
}

async fn one<B, F>(beat: &mut B, timing: Timing, deadline: Instant) -> Beat
where
    B: FnMut() -> F,
    F: Future<Output = Result<LeaseStatus, Status>>,
{
    let sent = Instant::now();
    let patience = sent + timing.interval.max(PATIENCE);
    let answer = timeout_at(deadline.min(patience), beat()).await;
    if matches!(answer, Ok(Ok(_))) {
        metrics::heartbeat_answered();
    }
    match answer {
        Ok(Ok(LeaseStatus::Continue)) => Beat::Extended(sent),
        Ok(Ok(LeaseStatus::Release)) => Beat::Unwanted(sent),
        Ok(Ok(LeaseStatus::Cancel)) => Beat::Over(Ended::Cancelled),
        Ok(Ok(LeaseStatus::Lost | LeaseStatus::Unspecified)) => Beat::Over(Ended::Lost),
        Ok(Err(status)) if !is_transient(&status) => {
            tracing::warn!(%status, "the heartbeat was refused");
            Beat::Over(Ended::Lost)
        }
        Ok(Err(status)) => {
            tracing::debug!(%status, "the heartbeat was not answered");
            Beat::Unanswered
        }
        Err(_elapsed) => Beat::Unanswered,
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, sync::Mutex};

    use super::*;

    const TIMING: Timing = Timing {
        duration: Duration::from_secs(30),
        interval: Duration::from_secs(10),
    };

    type Answer = Result<LeaseStatus, Status>;

    /// Heartbeats that are answered in order, after a delay; then never.
    struct Script {
        answers: Mutex<VecDeque<(Duration, Answer)>>,
        sent: Mutex<Vec<Duration>>,
        start: Instant,
    }

    impl Script {
        fn new(answers: impl IntoIterator<Item = (u64, Answer)>) -> Arc<Self> {
            let answers = answers.into_iter();
            let answers = answers.map(|(delay, answer)| (Duration::from_millis(delay), answer));
            Arc::new(Self {
                answers: Mutex::new(answers.collect()),
                sent: Mutex::default(),
                start: Instant::now(),
            })
        }

        async fn beat(self: Arc<Self>) -> Answer {
            self.sent.lock().unwrap().push(self.start.elapsed());
            let next = self.answers.lock().unwrap().pop_front();
            let Some((delay, answer)) = next else {
                return std::future::pending().await;
            };
            tokio::time::sleep(delay).await;
            answer
        }

        fn sent_seconds(&self) -> Vec<u64> {
            self.sent
                .lock()
                .unwrap()
                .iter()
                .map(Duration::as_secs)
                .collect()
        }
    }

    fn lease() -> Arc<Lease> {
        let reference = LeaseRef {
            job: "jobs/1".into(),
            incarnation: "i".into(),
            fence: 7,
        };
        Arc::new(Lease::new(reference))
    }

    async fn keep_to_the_end(script: &Arc<Script>) -> (Option<Ended>, Duration) {
        let (lease, start) = (lease(), Instant::now());
        let beat = || Arc::clone(script).beat();
        keep(Arc::clone(&lease), TIMING, start, beat).await;
        assert!(lease.over().is_cancelled());
        (lease.ended(), start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_the_lease_counted_from_before_the_last_answered_heartbeat() {
        // The answer takes 1.5 s: a clock that starts at the answer would end at 41.5 s.
        let script = Script::new([(1500, Ok(LeaseStatus::Continue))]);
        let (ended, after) = keep_to_the_end(&script).await;
        assert_eq!(ended, Some(Ended::Silent));
        assert_eq!(after.as_secs(), 40, "{after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn unreachable_coordinator_is_asked_again_soon_and_forgiven() {
        let down = || Err(Status::unavailable("connection refused"));
        let script = Script::new([
            (0, down()),
            (0, down()),
            (0, Ok(LeaseStatus::Continue)),
            (0, Ok(LeaseStatus::Continue)),
            (0, Ok(LeaseStatus::Cancel)),
        ]);
        let (ended, _) = keep_to_the_end(&script).await;
        assert_eq!(ended, Some(Ended::Cancelled));
        assert_eq!(script.sent_seconds(), [10, 10, 10, 20, 30]);
    }

    #[tokio::test(start_paused = true)]
    async fn refusal_and_loss_end_the_lease_at_once() {
        for (answer, why) in [
            (Ok(LeaseStatus::Lost), Ended::Lost),
            (Err(Status::not_found("unknown incarnation")), Ended::Lost),
        ] {
            let (ended, after) = keep_to_the_end(&Script::new([(0, answer)])).await;
            assert_eq!((ended, after.as_secs()), (Some(why), 10));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn job_that_is_not_wanted_now_is_given_back_under_its_lease() {
        let script = Script::new([
            (0, Ok(LeaseStatus::Release)),
            (0, Ok(LeaseStatus::Release)),
            (0, Ok(LeaseStatus::Lost)),
        ]);
        let held = lease();
        let beat = || Arc::clone(&script).beat();
        let kept = keep(Arc::clone(&held), TIMING, Instant::now(), beat);
        tokio::select! {
            () = kept => panic!("the lease ended before the job could be given back"),
            () = held.release().cancelled() => {}
        }
        assert_eq!(held.ended(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn lease_is_confirmed_by_an_answer_and_given_up_without_one() {
        let script = Script::new([
            (0, Err(Status::unavailable(""))),
            (900, Ok(LeaseStatus::Continue)),
        ]);
        let (held, start) = (lease(), Instant::now());
        let since = confirm(&held, TIMING, &mut || Arc::clone(&script).beat())
            .await
            .unwrap();
        assert_eq!(since - start, RETRY, "counted from the sending");

        let script = Script::new([]);
        let since = confirm(&held, TIMING, &mut || Arc::clone(&script).beat()).await;
        assert_eq!((since, held.ended()), (None, Some(Ended::Silent)));
    }
}
