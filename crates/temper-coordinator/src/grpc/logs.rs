//! Lines that attempts logged: taken from workers, told to people.

use std::{pin::Pin, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use futures::{Stream, StreamExt as _, stream};
use temper_core::{ErrorKind, report::LogLevel};
use temper_proto::{JobName, v1};
use temper_service::status::{self, bad_field, field};
use temper_store::{JobId, LogLine, LogQuery};
use tokio::time;
use tonic::Status;

use super::{count, encode, refused, storable};
use crate::Shared;

/// How often the database is asked for new lines.
const INTERVAL: Duration = Duration::from_millis(500);
/// Lines of one message: the longest fit what clients take, 4 MiB, in any script.
const PAGE: u32 = 200;
/// Lines that a worker may report at a time.
const MAX_REPORTED: usize = 1000;

/// What a stream of lines tells, in order.
pub type Messages =
    Pin<Box<dyn Stream<Item = Result<v1::GetLogsResponse, Status>> + Send + 'static>>;

/// The stream is cut because its coordinator stops.
#[derive(Debug, thiserror::Error)]
#[error("this coordinator is stopping: ask again for what comes after the last line")]
struct Stopping;

/// Reads lines that a worker reports, of which the first has the number `first`.
pub fn reported(first: i32, lines: Vec<v1::LogLine>) -> Result<Vec<LogLine>, Status> {
    if lines.len() > MAX_REPORTED {
        let wanted = format!("{} are more than {MAX_REPORTED} lines", lines.len());
        return Err(bad_field("lines", wanted));
    }
    let first = u32::try_from(first).ok().filter(|first| *first > 0);
    let first = first.ok_or_else(|| bad_field("first_line", "must be above 0"))?;
    let lines = (first..).zip(lines).enumerate();
    lines
        .map(|(i, (number, line))| {
            let level = LogLevel::try_from(line.level())
                .map_err(|_| bad_field(&format!("lines[{i}].level"), "must be given"))?;
            let at = line.time.and_then(timestamp);
            let at = at.ok_or_else(|| bad_field(&format!("lines[{i}].time"), "must be given"))?;
            Ok(LogLine {
                number,
                at,
                level,
                target: line.target,
                message: line.message,
            })
        })
        .collect()
}

fn timestamp(time: prost_types::Timestamp) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time.seconds, u32::try_from(time.nanos).ok()?).and_then(storable)
}

/// Where a stream stands.
struct Tail {
    shared: Arc<Shared>,
    query: LogQuery,
    follow: bool,
    /// Whether what there was has been told: lines to come are waited for.
    caught_up: bool,
    over: bool,
}

/// A stream that ends with what there is, or when it follows with the attempt; or with the client,
/// or with the coordinator.
pub async fn stream(shared: Arc<Shared>, request: &v1::GetLogsRequest) -> Result<Messages, Status> {
    let JobName(job) = field("name", &request.name)?;
    let job = JobId(job);
    let attempt = match unsigned("attempt", request.attempt)? {
        0 => shared.store.attempt_newest(job).await.map_err(refused)?,
        number => number,
    };
    let mut tail = Tail {
        shared,
        query: LogQuery {
            job,
            attempt,
            after: unsigned("after_line", request.after_line)?,
            limit: PAGE,
        },
        follow: request.follow,
        caught_up: false,
        over: false,
    };
    // An unknown attempt is refused before the stream starts.
    let first = tail.read().await?;
    let rest = stream::try_unfold(tail, |mut tail| async move {
        let message = tail.next().await?;
        Ok(message.map(|message| (message, tail)))
    });
    Ok(Box::pin(stream::iter([Ok(first)]).chain(rest)))
}

impl Tail {
    /// Waits for lines; none when there will be no others.
    async fn next(&mut self) -> Result<Option<v1::GetLogsResponse>, Status> {
        while !self.over {
            if self.caught_up {
                tokio::select! {
                    () = self.shared.stop.graceful.cancelled() => {
                        return Err(status::of(ErrorKind::Unavailable, &Stopping));
                    }
                    () = time::sleep(INTERVAL) => {}
                }
            }
            let message = self.read().await?;
            if !message.lines.is_empty() {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    /// Reads on from where it stands.
    async fn read(&mut self) -> Result<v1::GetLogsResponse, Status> {
        let page = self.shared.store.logs_read(self.query).await;
        let page = page.map_err(refused)?;
        if let Some(last) = page.lines.last() {
            self.query.after = last.number;
        }
        self.caught_up = page.lines.len() < PAGE as usize;
        self.over = self.caught_up && (page.ended || !self.follow);
        Ok(v1::GetLogsResponse {
            attempt: count(self.query.attempt),
            lines: page.lines.into_iter().map(line).collect(),
            dropped_lines: count(page.dropped),
        })
    }
}

fn line(line: LogLine) -> v1::LogLine {
    v1::LogLine {
        number: count(line.number),
        time: Some(encode::timestamp(line.at)),
        level: v1::LogLevel::from(line.level).into(),
        target: line.target,
        message: line.message,
    }
}

fn unsigned(name: &str, number: i32) -> Result<u32, Status> {
    u32::try_from(number).map_err(|_| bad_field(name, format!("{number} is negative")))
}
