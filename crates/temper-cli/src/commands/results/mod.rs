//! `temper results`.

mod comparison;
mod export;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use temper_proto::{
    SweepName,
    v1::{AggregateCurvesRequest, CurveGroup, Estimate, Selection},
};

use crate::{
    connection::{self, Results},
    names, output, plot, report,
};
use comparison::Comparison;

const COLUMNS: [&str; 8] = [
    "MODEL", "DATASET", "SCHEDULE", "TARGET", "CLEAN", "ROBUST", "EXPECTED", ">N",
];

/// Which sweep, and what to make of it.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// The sweep
    #[arg(value_parser = names::sweep, required = true)]
    sweep: Option<SweepName>,
    /// Also draw accuracy against epsilon, mean and standard deviation over seeds
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Print JSON, with the points of every curve and the comparisons
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    results: Results,
}

/// What to do with results besides showing them.
#[derive(clap::Subcommand)]
enum Command {
    /// Write a sweep's jobs, epochs, evaluations or curves to a file
    Export(export::Args),
}

/// Shows a sweep's results, or exports them.
pub async fn run(args: Args) -> anyhow::Result<()> {
    if let Some(Command::Export(args)) = args.command {
        return export::run(args).await;
    }
    let sweep = args.sweep.context("no sweep is named")?;
    let client = args.results.connect().await?;
    let answer = connection::call(|| {
        let mut client = client.clone();
        let request = AggregateCurvesRequest {
            sweep: sweep.to_string(),
            ..Default::default()
        };
        async move { client.aggregate_curves(request).await }
    })
    .await?;
    if let Some(path) = &args.svg {
        draw(&answer.groups, &sweep.to_string(), path)?;
    }
    let comparison = Comparison::ask(&client, &sweep.to_string(), &answer.groups).await?;
    if args.json {
        output::line(comparison.beside(&answer)?);
        return Ok(());
    }
    output::line("accuracy: mean ± standard deviation over seeds, n of the cells there are");
    let shown = Shown::of(&answer.groups);
    let table = output::table(
        &shown.columns(),
        answer.groups.iter().map(|group| shown.row(group)),
    );
    output::print_table(&table, "no results");
    for line in missing(&answer.groups)
        .into_iter()
        .chain(warnings(&answer.groups))
    {
        output::line(line);
    }
    comparison.print(&answer.groups);
    if let Some(path) = &args.svg {
        output::line(format_args!("curves: {}", path.display()));
    }
    Ok(())
}

/// Draws the groups that have points and writes the picture to `path`.
fn draw(groups: &[CurveGroup], title: &str, path: &Path) -> anyhow::Result<()> {
    let charts = report::curves::charts(groups)?;
    ensure!(
        !charts.is_empty(),
        "no cell has results yet: there is nothing to draw"
    );
    let svg = plot::lines::grid(&charts, title)?;
    std::fs::write(path, svg).with_context(|| format!("cannot write {}", path.display()))
}

/// The columns that tell groups apart: indices into settings only where there are several.
struct Shown {
    hyperparameters: bool,
    evaluation: bool,
    audit: bool,
}

impl Shown {
    fn of(groups: &[CurveGroup]) -> Self {
        Self {
            hyperparameters: groups.iter().any(|group| group.hyperparameters > 0),
            evaluation: groups.iter().any(|group| group.evaluation > 0),
            audit: groups.iter().any(|group| group.audit_gap.is_some()),
        }
    }

    fn columns(&self) -> Vec<&'static str> {
        let mut columns = COLUMNS.to_vec();
        columns.extend(self.hyperparameters.then_some(">HYPERPARAMETERS"));
        columns.extend(
            self.evaluation
                .then_some([">EVALUATION", "MEASURED BY"])
                .into_iter()
                .flatten(),
        );
        columns.extend(self.audit.then_some("AUDIT GAP"));
        columns
    }

    fn row(&self, group: &CurveGroup) -> Vec<String> {
        let mut row = vec![
            group.model.clone(),
            group.dataset.clone(),
            group.schedule.clone(),
            group.target_epsilon.clone(),
            estimate(group.clean_accuracy),
            estimate(group.robust_accuracy),
            estimate(group.expected_robustness),
            format!("{}/{}", group.count, group.expected_count),
        ];
        row.extend(
            self.hyperparameters
                .then(|| group.hyperparameters.to_string()),
        );
        if self.evaluation {
            row.push(group.evaluation.to_string());
            row.push(measured_by(group));
        }
        row.extend(self.audit.then(|| estimate(group.audit_gap)));
        row
    }
}

/// What tells evaluations apart: `apgd-ce-100, bisect`, and the model where it is not the last one.
fn measured_by(group: &CurveGroup) -> String {
    let best = match group.selection() {
        Selection::Best => ", best epoch",
        Selection::Last | Selection::Unspecified => "",
    };
    format!("{}, {}{best}", group.attack, group.mode)
}

fn estimate(estimate: Option<Estimate>) -> String {
    let Some(Estimate {
        mean,
        standard_deviation,
        ..
    }) = estimate
    else {
        return "-".to_owned();
    };
    standard_deviation.map_or_else(|| format!("{mean:.3}"), |sd| format!("{mean:.3} ± {sd:.3}"))
}

/// A line for each group that lacks cells: its means say less than they could.
fn missing(groups: &[CurveGroup]) -> Vec<String> {
    let lacking = groups
        .iter()
        .filter(|group| group.count < group.expected_count);
    lacking
        .map(|group| {
            format!(
                "missing: {} of {} cells of {}, {}, {}, {}",
                group.expected_count - group.count,
                group.expected_count,
                group.model,
                group.dataset,
                group.schedule,
                group.target_epsilon
            )
        })
        .collect()
}

/// A line for each group with a model that seems to hide its gradients.
fn warnings(groups: &[CurveGroup]) -> Vec<String> {
    let flagged = groups.iter().filter(|group| !group.flags.is_empty());
    flagged
        .map(|group| {
            let flags: Vec<_> = group.flags.iter().map(|f| output::masking_flag(*f)).collect();
            format!(
                "warning: {} of {} cells of {}, {}, {}, {}, measured by {}, may hide their gradients \
                ({}): their accuracy under attack may be too high",
                group.flagged_count,
                group.count,
                group.model,
                group.dataset,
                group.schedule,
                group.target_epsilon,
                group.attack,
                flags.join(", ")
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use temper_proto::v1::MaskingFlag;

    use super::*;

    fn group() -> CurveGroup {
        CurveGroup {
            model: "mobilenetv2".into(),
            dataset: "fashion-mnist".into(),
            schedule: "fixed".into(),
            target_epsilon: "4/255".into(),
            count: 2,
            expected_count: 2,
            clean_accuracy: Some(Estimate {
                mean: 0.72,
                standard_deviation: Some(0.0123),
                ..Estimate::default()
            }),
            robust_accuracy: Some(Estimate {
                mean: 0.27,
                standard_deviation: None,
                ..Estimate::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn row_holds_what_the_columns_name() {
        let shown = Shown::of(&[group()]);
        let row = shown.row(&group());
        assert_eq!(row.len(), shown.columns().len());
        assert_eq!(row[4..], ["0.720 ± 0.012", "0.270", "-", "2/2"]);
    }

    #[test]
    fn settings_with_several_entries_get_columns() {
        let second = CurveGroup {
            hyperparameters: 1,
            ..group()
        };
        let shown = Shown::of(&[group(), second.clone()]);
        assert_eq!(shown.columns().last(), Some(&">HYPERPARAMETERS"));
        assert_eq!(shown.row(&second).last().unwrap(), "1");
    }

    #[test]
    fn group_that_lacks_cells_is_named() {
        assert_eq!(missing(&[group()]), Vec::<String>::new());
        let lacking = CurveGroup {
            count: 1,
            ..group()
        };
        assert_eq!(
            missing(&[lacking]),
            ["missing: 1 of 2 cells of mobilenetv2, fashion-mnist, fixed, 4/255"]
        );
    }

    #[test]
    fn audit_gap_and_several_evaluations_get_columns() {
        let audited = CurveGroup {
            evaluation: 1,
            attack: "apgd-ce-10".into(),
            mode: "bisect".into(),
            selection: Selection::Best.into(),
            audit_gap: Some(Estimate {
                mean: 0.004,
                standard_deviation: Some(0.001),
                ..Estimate::default()
            }),
            ..group()
        };
        let shown = Shown::of(&[group(), audited.clone()]);
        assert_eq!(
            shown.columns()[8..],
            [">EVALUATION", "MEASURED BY", "AUDIT GAP"]
        );
        assert_eq!(
            shown.row(&audited)[8..],
            ["1", "apgd-ce-10, bisect, best epoch", "0.004 ± 0.001"]
        );
        assert_eq!(shown.row(&group()).last().unwrap(), "-");
    }

    #[test]
    fn models_that_may_hide_their_gradients_are_warned_of() {
        assert_eq!(warnings(&[group()]), Vec::<String>::new());
        let flagged = CurveGroup {
            attack: "pgd-10".into(),
            flags: vec![MaskingFlag::RisingCurve.into()],
            flagged_count: 1,
            ..group()
        };
        let lines = warnings(&[flagged]);
        assert!(lines[0].starts_with("warning: 1 of 2 cells"), "{lines:?}");
        assert!(lines[0].contains("(rising curve)"), "{lines:?}");
    }
}
