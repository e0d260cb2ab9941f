//! What attempts logged.

use anyhow::Result;
use chrono::{DateTime, Utc};
use temper_core::{ErrorKind, report::LogLevel};
use temper_store::{JobId, LogLine, LogPage, LogQuery, MAX_LOG_LINES, MAX_LOG_MESSAGE};

use crate::lab::{Lab, refusal, spec};

fn line(number: u32, message: &str) -> LogLine {
    LogLine {
        number,
        at: DateTime::<Utc>::UNIX_EPOCH,
        level: LogLevel::Warn,
        target: "temper_worker::train".to_owned(),
        message: message.to_owned(),
    }
}

async fn read(lab: &Lab, job: JobId, after: u32) -> Result<LogPage> {
    let query = LogQuery {
        job,
        attempt: 1,
        after,
        limit: MAX_LOG_LINES + 1,
    };
    Ok(lab.store().logs_read(query).await?)
}

#[tokio::test]
async fn lines_come_back_as_they_were_and_repeating_them_changes_nothing() -> Result<()> {
    let lab = Lab::new().await?;
    lab.submit(&spec([0])).await?;
    let worker = lab.worker("w").await?;
    let lease = lab.claim(worker).await?.lease;
    let first = [line(1, "one"), line(2, "two")];
    lab.store().logs_report(&lease, &first).await?;
    lab.store().logs_report(&lease, &first).await?;
    // Its reply was lost, and more was logged since.
    let more = [line(2, "another two"), line(3, "three")];
    lab.store().logs_report(&lease, &more).await?;
    lab.store().logs_report(&lease, &[]).await?;
    let page = read(&lab, lease.job, 0).await?;
    assert_eq!(
        page.lines,
        [line(1, "one"), line(2, "two"), line(3, "three")]
    );
    assert_eq!((page.dropped, page.ended), (0, false));
    assert_eq!(read(&lab, lease.job, 2).await?.lines, [line(3, "three")]);
    assert_eq!(lab.store().attempt_newest(lease.job).await?, 1);
    Ok(())
}

#[tokio::test]
async fn newest_lines_are_kept_and_the_others_counted() -> Result<()> {
    let lab = Lab::new().await?;
    lab.submit(&spec([0])).await?;
    let worker = lab.worker("w").await?;
    let lease = lab.claim(worker).await?.lease;
    // Twenty lines were dropped by the worker itself.
    let numbers: Vec<u32> = (1..=10).chain(31..=MAX_LOG_LINES + 15).collect();
    for batch in numbers.chunks(1000) {
        let lines: Vec<_> = batch.iter().map(|number| line(*number, "x")).collect();
        lab.store().logs_report(&lease, &lines).await?;
    }
    let page = read(&lab, lease.job, 0).await?;
    assert_eq!(page.lines.first().map(|line| line.number), Some(31));
    assert_eq!(page.lines.len(), 9985);
    assert_eq!(page.dropped, 30, "ten too old, twenty never sent");
    // What is too old does not come back by being repeated.
    lab.store().logs_report(&lease, &[line(5, "x")]).await?;
    assert_eq!(read(&lab, lease.job, 0).await?, page);
    Ok(())
}

#[tokio::test]
async fn line_is_cut_and_freed_of_what_the_database_cannot_hold() -> Result<()> {
    let lab = Lab::new().await?;
    lab.submit(&spec([0])).await?;
    let worker = lab.worker("w").await?;
    let lease = lab.claim(worker).await?.lease;
    let long = "ä".repeat(MAX_LOG_MESSAGE + 5);
    let lines = [line(1, "a\0b"), line(2, &long)];
    lab.store().logs_report(&lease, &lines).await?;
    let stored = read(&lab, lease.job, 0).await?.lines;
    assert_eq!(stored[0].message, "a\u{fffd}b");
    assert_eq!(stored[1].message, "ä".repeat(MAX_LOG_MESSAGE));
    Ok(())
}

#[tokio::test]
async fn each_attempt_has_a_log_of_its_own_that_is_closed_with_it() -> Result<()> {
    let lab = Lab::new().await?;
    let sweep = lab.submit(&spec([0])).await?.id;
    let worker = lab.worker("w").await?;
    let claim = lab.claim(worker).await?;
    let job = claim.lease.job;
    lab.store()
        .logs_report(&claim.lease, &[line(1, "first")])
        .await?;
    lab.store().lease_release(&claim.lease).await?;
    let late = lab
        .store()
        .logs_report(&claim.lease, &[line(2, "late")])
        .await;
    refusal(late, ErrorKind::LeaseLost);
    let second = lab.claim(worker).await?;
    lab.store()
        .logs_report(&second.lease, &[line(1, "second")])
        .await?;

    let page = read(&lab, job, 0).await?;
    assert_eq!((page.lines, page.ended), (vec![line(1, "first")], true));
    assert_eq!(lab.store().attempt_newest(job).await?, 2);
    let query = LogQuery {
        job,
        attempt: 2,
        after: 0,
        limit: 10,
    };
    let page = lab.store().logs_read(query).await?;
    assert_eq!((page.lines, page.ended), (vec![line(1, "second")], false));

    let absent = LogQuery {
        attempt: 3,
        ..query
    };
    refusal(lab.store().logs_read(absent).await, ErrorKind::NotFound);
    let evaluation = lab.jobs(sweep).await?[1].id;
    let untried = lab.store().attempt_newest(evaluation).await;
    assert!(refusal(untried, ErrorKind::FailedPrecondition).contains("has no attempt"));
    refusal(
        lab.store().attempt_newest(JobId(99)).await,
        ErrorKind::NotFound,
    );
    Ok(())
}
