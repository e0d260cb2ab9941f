//! A watched sweep on a terminal: one bar for the sweep, one for each running job.

use std::collections::BTreeMap;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use temper_proto::v1::{Job, JobState, WatchSweepResponse};

use super::progress::{self, Progress};

const SWEEP_TEMPLATE: &str = "{elapsed_precise} [{bar:32.green}] {msg}";
const JOB_TEMPLATE: &str = "         [{bar:32.cyan}] {prefix}: {msg}";

/// The bars that are drawn.
pub struct Bars {
    all: MultiProgress,
    sweep: ProgressBar,
    running: BTreeMap<String, ProgressBar>,
}

impl Bars {
    /// An empty bar.
    pub fn new() -> Self {
        let all = MultiProgress::new();
        let sweep = all.add(ProgressBar::new(0).with_style(style(SWEEP_TEMPLATE)));
        sweep.enable_steady_tick(std::time::Duration::from_secs(1));
        Self {
            all,
            sweep,
            running: BTreeMap::new(),
        }
    }

    /// Draws the newest state.
    pub fn draw(&mut self, progress: &Progress, change: &WatchSweepResponse) {
        if let Some(sweep) = &change.sweep {
            let jobs = sweep.jobs.unwrap_or_default();
            let ended = jobs.succeeded + jobs.failed + jobs.cancelled;
            self.sweep
                .set_length(count(ended + jobs.queued + jobs.leased));
            self.sweep.set_position(count(ended));
            self.sweep.set_message(progress::summary(sweep));
        }
        for job in &change.jobs {
            self.retire(job);
        }
        for job in progress.running() {
            let bar = self.running.entry(job.name.clone()).or_insert_with(|| {
                let bar = ProgressBar::new(0).with_style(style(JOB_TEMPLATE));
                self.all.add(bar).with_prefix(job.title.clone())
            });
            bar.set_length(count(job.epochs.max(1)));
            bar.set_position(count(job.epochs_done));
            bar.set_message(progress::position(job));
        }
    }

    /// Prints a line above the bars.
    pub fn print(&self, text: &str) {
        // A terminal that has gone away has nobody to tell.
        let _ = self.all.println(text);
    }

    /// Takes the bars away.
    pub fn clear(self) {
        self.sweep.finish_and_clear();
        let _ = self.all.clear();
    }

    fn retire(&mut self, job: &Job) {
        if job.state() == JobState::Leased {
            return;
        }
        if let Some(bar) = self.running.remove(&job.name) {
            self.all.remove(&bar);
        }
        if job.state() == JobState::Failed {
            self.print(&format!(
                "{} {}: failed ({})",
                job.name, job.title, job.message
            ));
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template);
    style
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

fn count(number: i32) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
