//! `temper results`.

use std::path::PathBuf;

use temper_proto::{
    SweepName,
    v1::{AggregateCurvesRequest, CurveGroup, Estimate},
};

use crate::{
    connection::{self, Results},
    names, output, plot,
};

const COLUMNS: [&str; 8] = [
    "MODEL", "DATASET", "SCHEDULE", "TARGET", "CLEAN", "ROBUST", "EXPECTED", ">N",
];

/// Which sweep, and what to make of it.
#[derive(clap::Args)]
pub struct Args {
    /// The sweep
    #[arg(value_parser = names::sweep)]
    sweep: SweepName,
    /// Also draw accuracy against epsilon, mean and standard deviation over seeds
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Print JSON, with the points of every curve
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    results: Results,
}

/// Shows a sweep's results.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let client = args.results.connect().await?;
    let answer = connection::call(|| {
        let (mut client, sweep) = (client.clone(), args.sweep.to_string());
        async move {
            client
                .aggregate_curves(AggregateCurvesRequest { sweep })
                .await
        }
    })
    .await?;
    if let Some(path) = &args.svg {
        plot::write(&answer.groups, &args.sweep.to_string(), path)?;
    }
    if args.json {
        return output::print_json(&answer);
    }
    output::line("accuracy: mean ± standard deviation over seeds, n of the cells there are");
    let shown = Shown::of(&answer.groups);
    let table = output::table(
        &shown.columns(),
        answer.groups.iter().map(|group| shown.row(group)),
    );
    output::print_table(&table, "no results");
    for line in missing(&answer.groups) {
        output::line(line);
    }
    if let Some(path) = &args.svg {
        output::line(format_args!("curves: {}", path.display()));
    }
    Ok(())
}

/// The columns that tell groups apart: indices into settings only where there are several.
struct Shown {
    hyperparameters: bool,
    evaluation: bool,
}

impl Shown {
    fn of(groups: &[CurveGroup]) -> Self {
        Self {
            hyperparameters: groups.iter().any(|group| group.hyperparameters > 0),
            evaluation: groups.iter().any(|group| group.evaluation > 0),
        }
    }

    fn columns(&self) -> Vec<&'static str> {
        let mut columns = COLUMNS.to_vec();
        columns.extend(self.hyperparameters.then_some(">HYPERPARAMETERS"));
        columns.extend(self.evaluation.then_some(">EVALUATION"));
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
        row.extend(self.evaluation.then(|| group.evaluation.to_string()));
        row
    }
}

fn estimate(estimate: Option<Estimate>) -> String {
    let Some(Estimate {
        mean,
        standard_deviation,
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

#[cfg(test)]
mod tests {
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
            }),
            robust_accuracy: Some(Estimate {
                mean: 0.27,
                standard_deviation: None,
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
}
