use temper_core::job::FailureClass;
use temper_service::objects::Objects;
use tonic::Status;

use super::*;
use crate::fake::{self, Call, Running, Script, Stuck, anywhere};

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
    let outcome = attempt(&host, &terms(&running), lease, task).await;
    assert_eq!(outcome, DISCARDED);
}
