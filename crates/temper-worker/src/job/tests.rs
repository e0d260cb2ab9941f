use temper_core::job::FailureClass;
use temper_service::objects::Objects;
use tonic::Status;

use super::*;
use crate::{
    fake::{self, Call, Running, Script, Stuck, anywhere},
    lease::Ended,
};

fn terms(running: &Running) -> Terms {
    let seconds = Duration::from_secs;
    Terms {
        coordinator: Coordinator::new(&running.url(), &Running::credentials()).unwrap(),
        incarnation: "i".to_owned(),
        timing: Timing {
            duration: seconds(60),
            interval: seconds(20),
        },
        objects: Objects::open(&running.objects()).unwrap(),
    }
}

fn reports(running: &Running) -> Reports {
    let Terms {
        coordinator,
        objects,
        ..
    } = terms(running);
    let lease = fake::training().lease.unwrap();
    Reports::new(coordinator, objects, Arc::new(Lease::new(lease)))
}

#[tokio::test]
async fn end_that_the_coordinator_refuses_counts_as_refused() {
    let refusal = || Status::invalid_argument("no");
    let script = Script {
        ends: [refusal(), refusal()].into(),
        ..Script::default()
    };
    let mut running = Running::start(anywhere(), script).await;
    let failure = || JobError::Assignment("no spec".to_owned());
    let reports = reports(&running);
    assert_eq!(conclude(&reports, Ok(Done::Drained)).await, REFUSED);
    assert_eq!(running.call().await, Call::Release);
    assert_eq!(conclude(&reports, Err(failure())).await, REFUSED);
    let Call::Fail(class, _) = running.call().await else {
        panic!("no failure")
    };
    assert_eq!(class, FailureClass::Code.into());
    // What is taken counts as what it is.
    assert_eq!(conclude(&reports, Ok(Done::Drained)).await, "released");
    assert_eq!(conclude(&reports, Err(failure())).await, "failed");
}

#[tokio::test]
async fn job_whose_lease_is_over_before_it_begins_counts_as_discarded() {
    let script = Script {
        beats: [v1::LeaseStatus::Lost].into(),
        ..Script::default()
    };
    let running = Running::start(anywhere(), script).await;
    let host = fake::host(Arc::new(Stuck::new().0));
    let assignment = fake::training();
    let task = Task::read(&assignment);
    let lease = assignment.lease.unwrap();
    let (outcome, device) = attempt(&host, &terms(&running), lease, task).await;
    assert_eq!((outcome, device), (DISCARDED, Ok(())));
}

#[tokio::test]
async fn job_that_is_not_ready_is_left_as_soon_as_it_is_not_wanted() {
    let running = Running::start(anywhere(), Script::default()).await;
    let host = fake::host(Arc::new(Stuck::new().0));
    let reports = reports(&running);
    let lease = Arc::clone(reports.lease());
    let attempt = Attempt {
        host: &host,
        switch: Switch::new(&lease, &host.stop),
        reports,
    };
    let never = || std::future::pending::<Result<(), JobError>>();
    lease.release().cancel();
    assert!(matches!(attempt.ready(never()).await, Ok(None)));
    lease.end(Ended::Cancelled);
    let over = attempt.ready(never()).await;
    assert!(
        matches!(&over, Err(JobError::Report(ReportError::LeaseOver))),
        "{over:?}"
    );
    let over = over.map(|_| Done::Drained);
    assert_eq!(conclude(&attempt.reports, over).await, DISCARDED);
}
