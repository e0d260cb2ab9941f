//! `temper watch`.

mod bars;
mod pace;
mod progress;

use std::{io::IsTerminal as _, process::ExitCode, time::Duration};

use temper_proto::{
    SweepName,
    v1::{
        Sweep, SweepState, WatchSweepRequest, WatchSweepResponse,
        sweep_service_client::SweepServiceClient,
    },
};
use temper_service::client::{self, Channel};
use tonic::Status;

use crate::{
    connection::{self, Coordinator},
    names, output,
};
use bars::Bars;
use progress::Progress;

const RECONNECT_WAIT: Duration = Duration::from_secs(1);

/// Which sweep.
#[derive(clap::Args)]
pub struct Args {
    /// The sweep
    #[arg(value_parser = names::sweep)]
    sweep: SweepName,
    /// Print each change as a line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    coordinator: Coordinator,
}

/// Follows the sweep until it ends.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    follow_by(args.sweep, &args.coordinator, View::new(args.json)).await
}

/// Follows a sweep until it ends: bars on a terminal, else a line for each change. Success means
/// that the sweep succeeded.
pub async fn follow(sweep: SweepName, coordinator: &Coordinator) -> anyhow::Result<ExitCode> {
    follow_by(sweep, coordinator, View::new(false)).await
}

async fn follow_by(
    sweep: SweepName,
    coordinator: &Coordinator,
    mut view: View,
) -> anyhow::Result<ExitCode> {
    let mut client = coordinator.sweeps().await?;
    let end = loop {
        // A fresh stream begins with all there is, so that nothing is missed in between.
        match stream_to_end(&mut client, sweep, &mut view).await {
            Ok(Some(end)) => break end,
            Ok(None) => view.note("the coordinator closed the stream; connecting again"),
            Err(status) if client::is_transient(&status) => {
                tracing::debug!(%status, "stream broke");
                view.note("no connection to the coordinator; trying again");
            }
            Err(status) => return Err(connection::failure(&status)),
        }
        tokio::time::sleep(RECONNECT_WAIT).await;
    };
    view.finish(&end);
    if end.state() == SweepState::Succeeded {
        return Ok(ExitCode::SUCCESS);
    }
    if end.jobs.is_some_and(|jobs| jobs.failed > 0) {
        eprintln!("`temper jobs {} --state failed` says why", end.name);
    }
    Ok(ExitCode::FAILURE)
}

/// The sweep as it ended, or none when the stream did so first.
async fn stream_to_end(
    client: &mut SweepServiceClient<Channel>,
    sweep: SweepName,
    view: &mut View,
) -> Result<Option<Sweep>, Status> {
    let request = WatchSweepRequest {
        name: sweep.to_string(),
    };
    let mut stream = client.watch_sweep(request).await?.into_inner();
    while let Some(change) = stream.message().await? {
        view.show(&change);
        let ended = |sweep: &Sweep| {
            !matches!(
                sweep.state(),
                SweepState::Running | SweepState::Paused | SweepState::Unspecified
            )
        };
        if let Some(end) = change.sweep.filter(ended) {
            return Ok(Some(end));
        }
    }
    Ok(None)
}

/// What has been shown, and how.
struct View {
    progress: Progress,
    bars: Option<Bars>,
    json: bool,
    noted: bool,
}

impl View {
    fn new(json: bool) -> Self {
        let terminal = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
        Self {
            progress: Progress::default(),
            bars: (terminal && !json).then(Bars::new),
            json,
            noted: false,
        }
    }

    fn show(&mut self, change: &WatchSweepResponse) {
        self.noted = false;
        if self.json {
            output::print_json_line(change);
            return;
        }
        let lines = self.progress.take(change);
        match &mut self.bars {
            Some(bars) => bars.draw(&self.progress, change),
            None => lines.iter().for_each(output::line),
        }
    }

    /// Says something once until the next change.
    fn note(&mut self, text: &str) {
        if std::mem::replace(&mut self.noted, true) {
            return;
        }
        match &self.bars {
            Some(bars) => bars.print(text),
            None => eprintln!("{text}"),
        }
    }

    /// Says how it ended; as JSON the last change has told that.
    fn finish(&mut self, end: &Sweep) {
        if let Some(bars) = self.bars.take() {
            bars.clear();
        }
        if !self.json {
            output::line(progress::verdict(end));
        }
    }
}
