//! `temper schedule`.

use anyhow::{bail, ensure};
use clap::Subcommand;
use serde_json::json;
use temper_core::{
    Epsilon,
    schedule::{Moment, Plateau, Ramp, Schedule},
};

use crate::{
    output,
    plot::terminal::{self, Line},
};

/// Rows of the table, less one.
const TENTHS: u32 = 10;

/// What to do.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Draw the strength of the training attack over a run
    Plot(Plot),
}

/// Which schedules, over which run.
#[derive(clap::Args)]
struct Plot {
    /// Schedules: standard, fixed, two-hinge(1/4,3/4), linear, warm-up(1/2), step(12ep), uniform,
    /// auto(5,1/50), cosine
    #[arg(required = true, value_name = "SCHEDULE")]
    schedules: Vec<Schedule>,
    /// Epochs of the run
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    epochs: u32,
    /// Strength that is ramped up to
    #[arg(long, default_value = "4/255")]
    target: Epsilon,
    /// Seed of the run: `uniform` draws by it
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Validation accuracy by epoch, which `auto` waits for: 0.31,0.52,0.53
    #[arg(long, value_name = "SHARE,…", value_delimiter = ',', value_parser = share)]
    validation: Vec<f64>,
    /// Print JSON, with the strength at the start of each epoch and at the end
    #[arg(long)]
    json: bool,
}

/// Runs what was asked for.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let Action::Plot(plot) = &args.action;
    output::line(shown(plot)?.trim_end());
    Ok(())
}

fn shown(plot: &Plot) -> anyhow::Result<String> {
    let runs: Vec<Run> = plot
        .schedules
        .iter()
        .map(|schedule| Run::of(*schedule, plot))
        .collect::<anyhow::Result<_>>()?;
    if plot.json {
        return Ok(document(plot, &runs).to_string());
    }
    let lines: Vec<Line> = runs.iter().map(Run::line).collect();
    let drawing = terminal::draw(
        &lines,
        &plot.target.to_string(),
        &format!("{} epochs", plot.epochs),
    );
    let mut columns = vec![">EPOCHS DONE".to_owned()];
    columns.extend(runs.iter().map(|run| format!(">{}", run.name)));
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let mut places: Vec<u32> = (0..=TENTHS).map(|i| plot.epochs * i / TENTHS).collect();
    places.dedup();
    let rows = places.into_iter().map(|done| {
        let strengths = runs.iter().map(|run| run.epsilon_after(done) * 255.0);
        let strengths = strengths.map(|strength| format!("{strength:.2}"));
        std::iter::once(done.to_string()).chain(strengths).collect()
    });
    let table = output::table(&columns, rows);
    Ok(format!("{drawing}\nepsilon x255\n{}", table.trim_fmt()))
}

fn document(plot: &Plot, runs: &[Run]) -> serde_json::Value {
    let schedules = runs.iter().map(|run| {
        let epsilons = (0..=plot.epochs).map(|done| run.epsilon_after(done));
        json!({ "schedule": run.name, "epsilons": epsilons.collect::<Vec<_>>() })
    });
    json!({
        "epochs": plot.epochs,
        "target": plot.target.to_string(),
        "seed": plot.seed,
        "schedules": schedules.collect::<Vec<_>>(),
    })
}

/// A schedule over a run.
struct Run {
    name: String,
    ramp: Ramp,
    seed: u64,
    epochs: u32,
    /// Where in the run a wait ends, of `auto`.
    plateau: Plateau,
}

impl Run {
    fn of(schedule: Schedule, plot: &Plot) -> anyhow::Result<Self> {
        check(schedule, plot.epochs)?;
        let ramp = schedule.ramp(plot.target, plot.epochs);
        let plateau = match schedule {
            Schedule::Auto { .. } => plateau(schedule, &ramp, plot)?,
            _ => Plateau::default(),
        };
        Ok(Self {
            name: schedule.to_string(),
            ramp,
            seed: plot.seed,
            epochs: plot.epochs,
            plateau,
        })
    }

    fn moment(&self, progress: f64, epoch: u32) -> Moment {
        Moment {
            progress,
            // The run's end belongs to its last epoch.
            epoch: epoch.min(self.epochs - 1),
            seed: self.seed,
            plateau: self.plateau,
        }
    }

    /// The strength once so many epochs are done.
    fn epsilon_after(&self, epochs: u32) -> f64 {
        let progress = f64::from(epochs) / f64::from(self.epochs);
        self.ramp.epsilon(&self.moment(progress, epochs))
    }

    fn line(&self) -> Line {
        let last = u32::try_from(terminal::WIDTH - 1).unwrap_or(u32::MAX);
        let height = |column: u32| {
            let progress = f64::from(column) / f64::from(last);
            let epoch = u64::from(column) * u64::from(self.epochs) / u64::from(last);
            let epoch = u32::try_from(epoch).unwrap_or(u32::MAX);
            self.ramp.alpha(&self.moment(progress, epoch))
        };
        Line {
            label: self.name.clone(),
            heights: (0..=last).map(height).collect(),
        }
    }
}

/// A sweep with such a schedule would be refused.
fn check(schedule: Schedule, epochs: u32) -> anyhow::Result<()> {
    let mut before = None;
    for (_, hinge) in schedule.hinges() {
        let Some(share) = hinge.share(epochs) else {
            bail!("{schedule}: {hinge} is after the end of a run of {epochs} epochs");
        };
        ensure!(
            before.is_none_or(|before| before <= share),
            "{schedule}: {hinge} comes before the hinge in front of it"
        );
        before = Some(share);
    }
    if let Schedule::Auto { patience, .. } = schedule {
        ensure!(patience > 0, "{schedule}: the patience must be at least 1");
    }
    Ok(())
}

/// What `auto` has seen when its wait ends, or at the end of the run.
fn plateau(schedule: Schedule, ramp: &Ramp, plot: &Plot) -> anyhow::Result<Plateau> {
    let (accuracies, epochs) = (&plot.validation, plot.epochs);
    ensure!(
        !accuracies.is_empty(),
        "{schedule} follows the validation accuracy: say what it is, epoch by epoch, \
        by --validation 0.1,0.3,…"
    );
    ensure!(
        accuracies.len() <= epochs as usize,
        "--validation has {} accuracies for {epochs} epochs",
        accuracies.len()
    );
    let mut seen = Plateau::default();
    for (epoch, accuracy) in (0..).zip(accuracies) {
        seen = ramp.observe(seen, *accuracy, epoch, epochs);
    }
    ensure!(
        seen.onset().is_some() || accuracies.len() == epochs as usize,
        "{schedule} still waits after the {} accuracies of --validation: what follows depends on \
        the others of its {epochs} epochs",
        accuracies.len()
    );
    Ok(seen)
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text
        .trim()
        .parse()
        .map_err(|_| format!("`{text}` is no number"))?;
    if (0.0..=1.0).contains(&share) {
        Ok(share)
    } else {
        Err(format!("{share} is outside [0, 1]"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(schedules: &[&str]) -> Plot {
        Plot {
            schedules: schedules.iter().map(|s| s.parse().unwrap()).collect(),
            epochs: 20,
            target: "8/255".parse().unwrap(),
            seed: 0,
            validation: Vec::new(),
            json: false,
        }
    }

    /// The last column of the table, the name left out.
    fn column(text: &str) -> Vec<String> {
        let table = text.lines().skip_while(|line| *line != "epsilon x255");
        let rows = table.skip(2);
        rows.map(|row| row.split_whitespace().last().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn table_follows_the_hinges() {
        let text = shown(&plot(&["two-hinge(1/4,3/4)"])).unwrap();
        assert_eq!(
            column(&text),
            [
                "0.00", "0.00", "0.00", "0.80", "2.40", "4.00", "5.60", "7.20", "8.00", "8.00",
                "8.00"
            ]
        );
        assert!(text.starts_with("8/255 |"), "{text}");
        assert!(text.contains("* two-hinge"), "{text}");
        assert!(text.contains("20 epochs"), "{text}");
    }

    #[test]
    fn every_schedule_has_a_mark_and_a_column() {
        let text = shown(&plot(&["fixed", "linear", "cosine"])).unwrap();
        for mark in ["* fixed", "+ linear", "o cosine"] {
            assert!(text.contains(mark), "{text}");
        }
        assert!(text.contains("fixed  linear  cosine"), "{text}");
    }

    #[test]
    fn short_run_has_a_row_an_epoch() {
        let mut short = plot(&["linear"]);
        short.epochs = 2;
        assert_eq!(column(&shown(&short).unwrap()), ["0.00", "4.00", "8.00"]);
    }

    #[test]
    fn uniform_is_drawn_by_the_seed() {
        let text = |seed| {
            let mut wanted = plot(&["uniform"]);
            wanted.seed = seed;
            column(&shown(&wanted).unwrap())
        };
        assert_eq!(text(1), text(1));
        assert_ne!(text(1), text(2));
    }

    #[test]
    fn auto_waits_for_the_accuracies_that_it_is_told() {
        let mut wanted = plot(&["auto(2,1/50)"]);
        let error = shown(&wanted).unwrap_err().to_string();
        assert!(error.contains("--validation"), "{error}");

        // No improvement in the third and fourth epoch: the ramp starts after the fourth.
        wanted.validation = vec![0.3, 0.5, 0.51, 0.5];
        let strengths = column(&shown(&wanted).unwrap());
        assert_eq!(strengths[..4], ["0.00", "0.00", "0.00", "1.00"]);
        assert_eq!(strengths.last().unwrap(), "8.00");

        wanted.validation = vec![0.3, 0.5];
        let error = shown(&wanted).unwrap_err().to_string();
        assert!(error.contains("still waits after the 2"), "{error}");
    }

    #[test]
    fn schedule_that_a_sweep_may_not_have_is_refused() {
        for (schedule, reason) in [
            ("two-hinge(3/4,1/4)", "comes before"),
            ("step(21ep)", "after the end of a run of 20"),
            ("auto(0,1/50)", "at least 1"),
        ] {
            let error = shown(&plot(&[schedule])).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        assert!(share("1.5").is_err() && share("x").is_err());
    }

    #[test]
    fn json_has_the_start_of_every_epoch_and_the_end() {
        let mut wanted = plot(&["linear"]);
        wanted.json = true;
        let document: serde_json::Value = serde_json::from_str(&shown(&wanted).unwrap()).unwrap();
        assert_eq!(document["target"], "8/255");
        let run = &document["schedules"][0];
        assert_eq!(run["schedule"], "linear");
        let epsilons = run["epsilons"].as_array().unwrap();
        assert_eq!(epsilons.len(), 21);
        let middle = epsilons[10].as_f64().unwrap();
        assert!((middle - 4.0 / 255.0).abs() < 1e-12);
    }
}
