//! A watched sweep on a terminal: bars for what has ended, runs and waits, one for each running job.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use temper_proto::v1::{Job, JobState, WatchSweepResponse};

use super::{
    pace::{self, Pace},
    progress::{self, Progress},
};

const SWEEP_TEMPLATE: &str = "{elapsed_precise} [{bar:32.green}] {msg}";
const STATE_TEMPLATE: &str = "{prefix:>8} [{bar:32.yellow}] {msg}";
const JOB_TEMPLATE: &str = "         [{bar:32.cyan}] {prefix}: {msg}";

/// The bars that are drawn.
pub struct Bars {
    all: MultiProgress,
    sweep: ProgressBar,
    leased: ProgressBar,
    queued: ProgressBar,
    pace: Pace,
    since: Instant,
    running: BTreeMap<String, ProgressBar>,
}

impl Bars {
    /// An empty bar.
    pub fn new() -> Self {
        let all = MultiProgress::new();
        let sweep = all.add(ProgressBar::new(0).with_style(style(SWEEP_TEMPLATE)));
        sweep.enable_steady_tick(Duration::from_secs(1));
        let state = |name: &'static str| {
            let bar = ProgressBar::new(0).with_style(style(STATE_TEMPLATE));
            all.add(bar).with_prefix(name)
        };
        let (leased, queued) = (state("running"), state("queued"));
        Self {
            all,
            sweep,
            leased,
            queued,
            pace: Pace::default(),
            since: Instant::now(),
            running: BTreeMap::new(),
        }
    }

    /// Draws the newest state.
    pub fn draw(&mut self, progress: &Progress, change: &WatchSweepResponse) {
        if let Some(sweep) = &change.sweep {
            self.pace.take(sweep);
            self.draw_states(&progress::summary(sweep));
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

    /// Each state's share of the jobs, and when it will be empty.
    fn draw_states(&self, summary: &str) {
        let (jobs, left) = (
            self.pace.counts(),
            self.pace.estimates(self.since.elapsed()),
        );
        let ended = pace::ended(jobs);
        let (leased, queued) = (jobs.leased, jobs.queued);
        let states = [
            (
                &self.sweep,
                ended,
                format!("{summary}, done in {}", pace::short(left.all)),
            ),
            (
                &self.leased,
                leased,
                format!("{leased} jobs, done in {}", pace::short(left.running)),
            ),
            (
                &self.queued,
                queued,
                format!("{queued} jobs, begun in {}", pace::short(left.queued)),
            ),
        ];
        for (bar, jobs, message) in states {
            bar.set_length(count(ended + leased + queued));
            bar.set_position(count(jobs));
            bar.set_message(message);
        }
    }

    /// Prints a line above the bars.
    pub fn print(&self, text: &str) {
        // A terminal that has gone away has nobody to tell.
        let _ = self.all.println(text);
    }

    /// Takes the bars away.
    pub fn clear(self) {
        for bar in [self.sweep, self.leased, self.queued] {
            bar.finish_and_clear();
        }
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
