//! What a coordinator tells Prometheus of what happens to jobs.

use std::{
    io::Write as _,
    net::SocketAddr,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use temper_coordinator::METRICS;
use temper_proto::v1;
use temper_service::{
    metrics::{DATABASE, MetricsArgs, PROCESS},
    testing::{scrape, value},
};
use temper_store::testing::tables;

use crate::house::{Hand, House, LEASE, SHORT_LEASE};

async fn house(lease: Duration) -> anyhow::Result<(House, SocketAddr)> {
    let arguments = MetricsArgs {
        metrics: Some("127.0.0.1:0".parse()?),
        metrics_token_file: None,
    };
    let bound = arguments.bind("1.2.3", &[DATABASE, METRICS]).await?;
    let address = bound.as_ref().context("not bound")?.address();
    Ok((House::open_measured(lease, bound).await?, address))
}

fn attempts(told: &str, outcome: &str, class: &str) -> Option<f64> {
    let labels = format!(r#"{{outcome="{outcome}",failure_class="{class}"}}"#);
    value(told, &format!("temper_attempts_total{labels}"))
}

fn jobs(told: &str, state: &str) -> Option<f64> {
    let labels = format!(r#"{{device_class="any",state="{state}"}}"#);
    value(told, &format!("temper_queue_jobs{labels}"))
}

#[tokio::test]
async fn loss_rescue_failure_and_success_are_counted() -> anyhow::Result<()> {
    let (house, address) = house(SHORT_LEASE).await?;
    house.submit("").await?;
    let mut late = Hand::register(&house, "late").await?;
    let mut rescuer = Hand::register(&house, "rescuer").await?;
    late.lease().await?;
    let told = scrape(address).await?;
    ensure!(value(&told, "temper_rescues_total") == Some(0.0), "{told}");
    // No heartbeat: the lease runs out.
    let second = rescuer.lease().await?;
    let lease = second.lease.clone().context("a lease")?;
    rescuer.report(&lease, &[0, 1]).await?;
    rescuer.complete(&second, b"model").await?;
    let evaluation = rescuer.lease().await?;
    let request = v1::FailRequest {
        lease: evaluation.lease,
        failure_class: v1::FailureClass::BadInput.into(),
        ..v1::FailRequest::default()
    };
    rescuer.client.fail(request).await?;

    let told = scrape(address).await?;
    ensure!(
        value(&told, "temper_leases_lost_total") == Some(1.0),
        "{told}"
    );
    ensure!(value(&told, "temper_rescues_total") == Some(1.0), "{told}");
    for (outcome, class, times) in [
        ("lost", "lost", 1.0),
        ("succeeded", "none", 1.0),
        ("failed", "bad-input", 1.0),
        ("failed", "code", 0.0),
        ("released", "none", 0.0),
    ] {
        ensure!(
            attempts(&told, outcome, class) == Some(times),
            "{outcome}: {told}"
        );
    }
    house.close().await
}

#[tokio::test]
async fn queue_and_connections_are_told_as_they_are_now() -> anyhow::Result<()> {
    let (house, address) = house(LEASE).await?;
    house.submit("").await?;
    house.submit_seed("", 1).await?;
    let told = scrape(address).await?;
    ensure!(jobs(&told, "queued") == Some(2.0), "{told}");
    ensure!(jobs(&told, "leased") == Some(0.0), "{told}");
    ensure!(
        value(&told, "temper_database_connections_max") == Some(4.0),
        "{told}"
    );
    let kinds = ["any", "cpu", "cuda"].map(|kind| {
        format!(r#"temper_queue_oldest_age_seconds{{device_class="{kind}",state="queued"}}"#)
    });
    ensure!(
        kinds.iter().all(|series| value(&told, series).is_some()),
        "{told}"
    );
    house.close().await
}

#[tokio::test]
async fn queue_that_cannot_be_read_is_not_told_as_it_was_once() -> anyhow::Result<()> {
    let (house, address) = house(LEASE).await?;
    house.submit("").await?;
    let held = tables::lock(house.store()).await?;
    let told = scrape(address).await?;
    ensure!(jobs(&told, "queued").is_some_and(f64::is_nan), "{told}");
    drop(held);
    house.close().await
}

/// Asks Prometheus's own tool, where it is installed (`scripts/setup --deploy`).
#[tokio::test]
async fn promtool_finds_nothing_to_say_of_what_is_told() -> anyhow::Result<()> {
    let (house, address) = house(LEASE).await?;
    house.submit("").await?;
    Hand::register(&house, "worker").await?.lease().await?;
    let told = scrape(address).await?;
    house.close().await?;
    for metric in [PROCESS, DATABASE, METRICS].concat() {
        let help = format!("# HELP {} {}", metric.name, metric.help);
        ensure!(told.contains(&help), "{help} is not in {told}");
    }
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = promtool else {
        eprintln!("no promtool here: what it would say is not known");
        return Ok(());
    };
    let mut stdin = promtool.stdin.take().context("no standard input")?;
    stdin.write_all(told.as_bytes())?;
    drop(stdin);
    let answer = promtool.wait_with_output()?;
    let said = [answer.stdout, answer.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    ensure!(answer.status.success() && said.is_empty(), "{said}\n{told}");
    Ok(())
}
