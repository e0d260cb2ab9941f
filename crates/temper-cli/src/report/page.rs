//! The page: what the template shows, in its order.

use anyhow::Context as _;
use minijinja::{Environment, value::Serde};
use serde::Serialize;

use super::{
    Answers,
    figures::{self, Figure, LeftOut},
    looks::Looks,
    tables::{self, Table},
};
use crate::output;

const TEMPLATE: &str = include_str!("../../templates/report.html");

/// What a page shows.
#[derive(Debug, Serialize)]
pub struct Page {
    title: String,
    name: String,
    /// Whether no cell has a result.
    empty: bool,
    facts: Vec<Fact>,
    warnings: Vec<String>,
    results: Vec<Table>,
    /// The figures.
    pub figures: Vec<Figure>,
    left_out: Vec<LeftOut>,
    comparisons: Vec<Table>,
    published: Vec<Table>,
    transfer: Vec<Table>,
    costs: Vec<Table>,
    inputs: Vec<Table>,
    provenance: String,
}

/// A line of the summary.
#[derive(Debug, Serialize)]
pub struct Fact {
    name: &'static str,
    value: String,
}

impl Page {
    /// Of what was answered.
    pub fn of(answers: &Answers) -> anyhow::Result<Self> {
        let looks = Looks::of(&answers.groups);
        let (figures, left_out) = figures::draw(answers, &looks)?;
        Ok(Self {
            title: title(answers),
            name: answers.sweep.name.clone(),
            empty: answers.groups.iter().all(|group| group.count == 0),
            facts: facts(answers),
            warnings: warnings(answers),
            results: tables::results(answers, &looks),
            figures,
            left_out,
            comparisons: tables::comparisons(answers, &looks),
            published: tables::published(answers),
            transfer: tables::transfer(answers, &looks),
            costs: tables::costs(answers),
            inputs: tables::inputs(answers),
            provenance: indented(&answers.provenance),
        })
    }
}

/// The page in HTML. Whatever is not a picture of ours is escaped.
pub fn render(page: &Page) -> anyhow::Result<String> {
    let mut environment = Environment::new();
    // The name's ending turns escaping on.
    environment
        .add_template("report.html", TEMPLATE)
        .context("the report's template is broken")?;
    let template = environment.get_template("report.html")?;
    template
        .render(Serde(page))
        .context("cannot write the report")
}

fn title(answers: &Answers) -> String {
    match answers.sweep.display_name.as_str() {
        "" => answers.sweep.name.clone(),
        name => name.to_owned(),
    }
}

fn facts(answers: &Answers) -> Vec<Fact> {
    let sweep = &answers.sweep;
    let jobs = sweep.jobs.unwrap_or_default();
    let spec = sweep.spec.clone().unwrap_or_default();
    let schedules = Looks::of(&answers.groups).schedules().join(", ");
    let seeds: Vec<_> = spec.seeds.iter().map(u64::to_string).collect();
    let mut facts = vec![
        fact("Sweep", sweep.name.clone()),
        fact("State", output::sweep_state(sweep.state)),
        fact("Owner", sweep.owner.clone()),
        fact("Submitted", output::time(sweep.create_time)),
        fact(
            "Cells",
            format!("{} of {} finished", sweep.cells_succeeded, sweep.cells),
        ),
        fact(
            "Jobs",
            format!(
                "{} succeeded, {} running, {} queued, {} failed, {} cancelled",
                jobs.succeeded, jobs.leased, jobs.queued, jobs.failed, jobs.cancelled
            ),
        ),
        fact("Models", spec.models.join(", ")),
        fact("Datasets", spec.datasets.join(", ")),
        fact("Schedules", schedules),
        fact("Target strengths (l_inf)", spec.target_epsilons.join(", ")),
        fact("Seeds", seeds.join(", ")),
    ];
    facts.extend(origin(&answers.provenance));
    facts.retain(|fact| !fact.value.is_empty());
    facts
}

/// From the provenance: by what it was measured, and when that was read.
fn origin(provenance: &str) -> Vec<Fact> {
    let Ok(value) = serde_json::from_str::<serde_json::Value>(provenance) else {
        return Vec::new();
    };
    let texts = |list: &serde_json::Value, field: Option<&str>| {
        let items = list.as_array().into_iter().flatten();
        let items = items.map(|item| field.map_or(item, |field| &item[field]));
        let mut texts: Vec<_> = items
            .map(|item| {
                item.as_str()
                    .map_or_else(|| item.to_string(), str::to_owned)
            })
            .collect();
        texts.sort();
        texts.dedup();
        texts.join(", ")
    };
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    vec![
        fact("Result versions", texts(&value["result_versions"], None)),
        fact("Devices", texts(&value["ran"], Some("device"))),
        fact("Read", text("exported_at")),
        fact("By", text("exported_by")),
    ]
}

fn fact(name: &'static str, value: String) -> Fact {
    Fact { name, value }
}

/// What a reader must not overlook.
fn warnings(answers: &Answers) -> Vec<String> {
    let lacking = answers.groups.iter();
    let lacking = lacking.filter(|group| group.count < group.expected_count);
    let lacking = lacking.count();
    let mut warnings = Vec::new();
    if lacking > 0 {
        let all = answers.groups.len();
        warnings.push(format!(
            "{lacking} of {all} groups lack results: their means are over fewer cells than there are \
            to be, as their n says, and none of them is marked as the best."
        ));
    }
    for group in answers
        .groups
        .iter()
        .filter(|group| !group.flags.is_empty())
    {
        let flags: Vec<_> = group
            .flags
            .iter()
            .map(|f| output::masking_flag(*f))
            .collect();
        warnings.push(format!(
            "{} of {} cells of {}, {}, {}, {} may hide their gradients ({}): their accuracy under \
            attack may be too high.",
            group.flagged_count,
            group.count,
            group.model,
            group.dataset,
            group.schedule,
            group.target_epsilon,
            flags.join(", ")
        ));
    }
    warnings
}

/// JSON as people read it; as it is where it is none.
fn indented(json: &str) -> String {
    let value = serde_json::from_str::<serde_json::Value>(json);
    let indented = value.and_then(|value| serde_json::to_string_pretty(&value));
    indented.unwrap_or_else(|_| json.to_owned())
}
