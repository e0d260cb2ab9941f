//! `temper logs`.

use std::time::Duration;

use temper_proto::{
    JobName,
    v1::{GetLogsRequest, GetLogsResponse, LogLine, job_service_client::JobServiceClient},
};
use temper_service::client::{self, Channel};
use tonic::Status;

use crate::{
    connection::{self, Coordinator},
    names, output,
};

const RECONNECT_WAIT: Duration = Duration::from_secs(1);

/// Which log.
#[derive(clap::Args)]
pub struct Args {
    /// The job
    #[arg(value_parser = names::job)]
    job: JobName,
    /// Number of the attempt [default: the newest]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    attempt: Option<i32>,
    /// Go on until the attempt has ended
    #[arg(long, short)]
    follow: bool,
    /// Print each message, the next lines with the number of their attempt, as a line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    coordinator: Coordinator,
}

/// Prints an attempt's log.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let mut client = args.coordinator.jobs().await?;
    let mut tail = Tail {
        request: GetLogsRequest {
            name: args.job.to_string(),
            attempt: args.attempt.unwrap_or(0),
            follow: args.follow,
            after_line: 0,
        },
        dropped: 0,
        json: args.json,
    };
    loop {
        match tail.follow_to_end(&mut client).await {
            Ok(()) => break,
            // The next stream goes on after the last line that was printed.
            Err(status) if args.follow && client::is_transient(&status) => {
                tracing::debug!(%status, "stream broke");
                tokio::time::sleep(RECONNECT_WAIT).await;
            }
            Err(status) => return Err(connection::failure(&status)),
        }
    }
    if tail.dropped > 0 {
        eprintln!("{} of the attempt's lines are not kept", tail.dropped);
    }
    Ok(())
}

/// What is left to print.
struct Tail {
    request: GetLogsRequest,
    dropped: i32,
    json: bool,
}

impl Tail {
    async fn follow_to_end(
        &mut self,
        client: &mut JobServiceClient<Channel>,
    ) -> Result<(), Status> {
        let mut stream = client.get_logs(self.request.clone()).await?.into_inner();
        while let Some(message) = stream.message().await? {
            // The newest attempt may be another one by the next stream.
            self.request.attempt = message.attempt;
            self.dropped = message.dropped_lines;
            self.show(&message);
            if let Some(line) = message.lines.last() {
                self.request.after_line = line.number;
            }
        }
        Ok(())
    }

    fn show(&self, message: &GetLogsResponse) {
        if self.json {
            output::print_json_line(message);
        } else {
            message.lines.iter().map(text).for_each(output::line);
        }
    }
}

/// A line as a log shows it.
fn text(line: &LogLine) -> String {
    let time = line.time.map(|time| time.to_string()).unwrap_or_default();
    let level = output::log_level(line.level);
    format!("{time} {level:>5} {}: {}", line.target, line.message)
}

#[cfg(test)]
mod tests {
    use temper_proto::v1::LogLevel;

    use super::*;

    #[test]
    fn line_reads_as_in_a_log() {
        let line = LogLine {
            number: 3,
            time: "2026-01-02T03:04:05.25Z".parse().ok(),
            level: LogLevel::Warn.into(),
            target: "temper_worker::train".to_owned(),
            message: "trying again".to_owned(),
        };
        assert_eq!(
            text(&line),
            "2026-01-02T03:04:05.250Z  WARN temper_worker::train: trying again"
        );
    }
}
