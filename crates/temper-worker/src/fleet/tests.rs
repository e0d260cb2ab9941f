//! With children that are a shell's.

use std::{fs, path::Path};

use tokio::time::sleep;

use super::*;

/// Longer than any of these tests.
const LONG: Duration = Duration::from_mins(10);

/// Seats whose children are a shell that runs `script`; in it `$*` has what they are called with.
fn seats_of(script: &str, number: usize, first_pause: Duration) -> (Vec<Seat>, Arc<Health>) {
    let program = Arc::new(Program {
        path: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.into()],
    });
    let health = Arc::new(Health::new(number));
    let seat = |index| Seat {
        index,
        own: Own {
            device: "cpu".to_owned(),
            name: format!("child-{index}"),
            share: 1,
            metrics: None,
        },
        program: Arc::clone(&program),
        leaves_at: None,
        grace: Duration::from_secs(30),
        first_pause,
        health: Arc::clone(&health),
    };
    ((0..number).map(seat).collect(), health)
}

async fn ended(script: &str, number: usize) -> Result<FleetEnd, FleetError> {
    let (seats, health) = seats_of(script, number, Duration::from_millis(1));
    fill(seats, &health, &Stop::new()).await
}

/// Waits until a child has said its process in `file`, and is gone.
async fn is_gone(file: &Path) {
    let process = loop {
        let said = fs::read_to_string(file).unwrap_or_default();
        if let Some(process) = said.strip_suffix('\n') {
            break format!("/proc/{process}");
        }
        sleep(Duration::from_millis(5)).await;
    };
    while fs::exists(&process).unwrap() {
        sleep(Duration::from_millis(5)).await;
    }
}

/// What becomes of a fleet that is told to stop while its child is dead and the next is not yet due.
async fn stopped_after(ending: &str) -> FleetEnd {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("process");
    let script = format!("echo $$ > '{}'; {ending}", file.display());
    let (seats, health) = seats_of(&script, 1, LONG);
    let stop = Stop::new();
    let filled = async { fill(seats, &health, &stop).await.unwrap() };
    let told = async {
        is_gone(&file).await;
        stop.gracefully();
    };
    tokio::join!(filled, told).0
}

#[tokio::test]
async fn time_of_a_fleet_is_over_when_that_of_one_child_is() {
    let script = "case \"$*\" in *child-1*) exit 76;; *) exit 0;; esac";
    let end = ended(script, 3).await.unwrap();
    assert_eq!(end, FleetEnd::Well(Left::TimeOver));
    let end = ended("exit 0", 2).await.unwrap();
    assert_eq!(end, FleetEnd::Well(Left::Idle));
}

#[tokio::test]
async fn broken_device_beside_a_good_one_leaves_the_end_as_the_good_one_has_it() {
    for breaks in ["exit 1", "kill -KILL $$"] {
        let script = format!("case \"$*\" in *child-0*) exit 76;; *) {breaks};; esac");
        let end = ended(&script, 2).await.unwrap();
        assert_eq!(end, FleetEnd::Well(Left::TimeOver), "{breaks}");
    }
}

#[tokio::test]
async fn fleet_all_of_whose_children_die_fails() {
    let failed = ended("exit 1", 2).await;
    assert!(matches!(failed, Err(FleetError::Hopeless)), "{failed:?}");
}

#[tokio::test]
async fn child_that_somebody_else_told_to_stop_is_followed_by_another() {
    let folder = tempfile::tempdir().unwrap();
    let second = folder.path().join("second");
    let file = second.display();
    let script = format!("test -e '{file}' && exit 0; : > '{file}'; exit 77");
    let end = ended(&script, 1).await.unwrap();
    assert_eq!(end, FleetEnd::Well(Left::Idle));
}

#[tokio::test]
async fn child_that_was_cut_just_before_the_stop_counts_as_cut() {
    assert_eq!(stopped_after("kill -KILL $$").await, FleetEnd::Cut);
    assert_eq!(stopped_after("exit 75").await, FleetEnd::Cut);
    let told = FleetEnd::Well(Left::Told);
    assert_eq!(stopped_after("exit 1").await, told, "nothing was held");
}

/// What becomes of a fleet whose child ends so when it is told to.
async fn drained_by(ending: &str) -> FleetEnd {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ready");
    let script = format!(": > '{}'; read told; {ending}", file.display());
    let (seats, health) = seats_of(&script, 1, LONG);
    let stop = Stop::new();
    let filled = async { fill(seats, &health, &stop).await.unwrap() };
    let told = async {
        while !fs::exists(&file).unwrap() {
            sleep(Duration::from_millis(5)).await;
        }
        stop.gracefully();
    };
    tokio::join!(filled, told).0
}

#[tokio::test]
async fn drain_is_cut_by_status_and_signal_alone() {
    assert_eq!(drained_by("exit 77").await, FleetEnd::Well(Left::Told));
    assert_eq!(drained_by("exit 75").await, FleetEnd::Cut);
    assert_eq!(drained_by("kill -KILL $$").await, FleetEnd::Cut);
    assert_eq!(drained_by("exit 1").await, FleetEnd::Failed);
}
