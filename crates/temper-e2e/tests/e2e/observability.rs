//! The table of docs/observability.md and the metrics that code describes are the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use anyhow::{Context as _, ensure};
use temper_e2e::checkout;
use temper_service::{
    metrics::{DATABASE, Metric, PROCESS},
    testing::CALLS,
};

/// Names of metrics and their kinds, by the processes that tell them.
type Metrics = BTreeMap<String, BTreeSet<(String, String)>>;

/// What code describes, by the headings that the document has for it.
fn described() -> Metrics {
    let tables = [
        ("every process", PROCESS.to_vec()),
        ("coordinator, results service", [CALLS, DATABASE].concat()),
        ("coordinator", temper_coordinator::METRICS.to_vec()),
        ("worker", temper_worker::METRICS.to_vec()),
    ];
    let named = |metric: &Metric| {
        let kind = format!("{:?}", metric.kind).to_lowercase();
        (metric.name.to_owned(), kind)
    };
    let of_them = tables.iter().map(|(who, metrics)| {
        let metrics: BTreeSet<_> = metrics.iter().map(named).collect();
        ((*who).to_owned(), metrics)
    });
    of_them.collect()
}

/// What a table of the document holds: rows of metrics below rows that say whose they are.
fn documented(page: &str) -> Metrics {
    let (mut metrics, mut who) = (Metrics::new(), "");
    for row in page.lines().filter_map(|line| line.strip_prefix('|')) {
        let mut cells = row.split('|').map(str::trim);
        let (Some(name), Some(kind)) = (cells.next(), cells.next()) else {
            continue;
        };
        if let Some(heading) = between(name, "**") {
            who = heading;
        } else if let Some(name) = between(name, "`") {
            let of_them = metrics.entry(who.to_owned()).or_default();
            of_them.insert((name.to_owned(), kind.to_owned()));
        }
    }
    metrics
}

/// What stands between two marks.
fn between<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    text.strip_prefix(mark)?.strip_suffix(mark)
}

/// Holds what a process tells against what is described: nobody finds a metric that no document names.
pub fn all_is_described(told: &str) -> anyhow::Result<()> {
    let described = described();
    let names = described.values().flatten().map(|(name, _)| name.as_str());
    let names: BTreeSet<_> = names.collect();
    let types = told.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    for line in types {
        let name = line.split(' ').next().context("no name")?;
        ensure!(names.contains(name), "{name} is not described");
    }
    Ok(())
}

#[test]
fn every_metric_stands_in_the_document_under_who_tells_it_and_no_other_does() -> anyhow::Result<()>
{
    let page = fs::read_to_string(checkout().join("docs/observability.md"))?;
    let (documented, described) = (documented(&page), described());
    ensure!(
        documented == described,
        "the document says {documented:#?}, code {described:#?}"
    );
    Ok(())
}
