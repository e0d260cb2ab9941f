//! Every statement, and what the panel needs of its answer.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Column as _, PgPool, Row as _, TypeInfo as _};
use temper_store::testing::{
    Database,
    grafana::{self, Panel, Scope},
    tables,
};

use super::seed::Seeded;

/// Columns that may have nothing in any row: what workers need not tell, and the spread of one value.
const UNKNOWN: [&str; 2] = ["free memory", "ends"];

struct Answer {
    /// Names and types, in order.
    columns: Vec<(String, String)>,
    /// Objects by column.
    rows: Vec<Value>,
}

impl Answer {
    async fn to(reader: &PgPool, sql: &str) -> Result<Self> {
        let rows = sqlx::query(AssertSqlSafe(sql.to_owned()))
            .fetch_all(reader)
            .await?;
        let first = rows.first().context("no row")?;
        let column = |column: &sqlx::postgres::PgColumn| {
            (
                column.name().to_owned(),
                column.type_info().name().to_owned(),
            )
        };
        let columns = first.columns().iter().map(column).collect();
        let objects = AssertSqlSafe(format!("SELECT to_jsonb(answer) FROM ({sql}) AS answer"));
        let rows = sqlx::query_scalar(objects).fetch_all(reader).await?;
        Ok(Self { columns, rows })
    }

    fn kind(&self, name: &str) -> Option<&str> {
        let found = self.columns.iter().find(|(column, _)| column == name);
        found.map(|(_, kind)| kind.as_str())
    }

    /// Columns of numbers, less the time of a time series.
    fn numbers(&self) -> impl Iterator<Item = &str> {
        let numbers = self.columns.iter().filter(|(_, kind)| is_number(kind));
        let names = numbers.map(|(name, _)| name.as_str());
        names.filter(|name| *name != "time")
    }

    /// What a column has, less what is null.
    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Value> {
        self.rows
            .iter()
            .map(move |row| &row[name])
            .filter(|value| !value.is_null())
    }
}

fn is_number(kind: &str) -> bool {
    ["INT2", "INT4", "INT8", "FLOAT4", "FLOAT8", "NUMERIC"].contains(&kind)
}

/// The scopes that a panel is drawn in: as chosen, and where it is repeated with each value alone.
fn scopes(panel: &Panel, scope: &Scope) -> Vec<Scope> {
    let Some(name) = &panel.repeat else {
        return vec![scope.clone()];
    };
    let alone = |value: &String| {
        let mut scope = scope.clone();
        scope.values.insert(name.clone(), vec![value.clone()]);
        scope
    };
    scope.values[name].iter().map(alone).collect()
}

#[tokio::test]
async fn every_panel_has_an_answer_that_it_can_draw() -> Result<()> {
    let seeded = Seeded::new().await?;
    let mut asked = 0;
    for board in grafana::boards()? {
        let scope = seeded.scope(&board).await?;
        for panel in &board.panels {
            let name = format!("{}: {}", board.name, panel.title);
            for scope in scopes(panel, &scope) {
                let sql = scope.expand(&panel.sql).context(name.clone())?;
                let answer = Answer::to(&seeded.reader, &sql)
                    .await
                    .context(name.clone())?;
                require_drawable(panel, &answer, &name);
                require_units(panel, &answer, &name);
                require_counts(panel, &answer, &name);
                asked += 1;
            }
        }
    }
    assert!(asked >= 30, "{asked}");
    Ok(())
}

#[tokio::test]
async fn every_alert_has_a_number_a_row_and_names_for_it() -> Result<()> {
    let seeded = Seeded::new().await?;
    let alerts = grafana::alerts()?;
    let titles: Vec<_> = alerts.iter().map(|(title, _)| title.as_str()).collect();
    assert_eq!(titles, ["No progress", "Failure rate", "Queue stalled"]);
    for (title, sql) in &alerts {
        let answer = Answer::to(&seeded.reader, sql)
            .await
            .context(title.clone())?;
        assert_eq!(answer.numbers().count(), 1, "{title}: {:?}", answer.columns);
        for (column, kind) in &answer.columns {
            assert!(
                is_number(kind) || kind == "TEXT",
                "{title}: {column} is {kind}"
            );
        }
        let labels = answer.rows.iter().map(|row| {
            let mut row = row.clone();
            if let Some(fields) = row.as_object_mut() {
                fields.retain(|_, value| !value.is_number());
            }
            row.to_string()
        });
        let labels: BTreeSet<_> = labels.collect();
        assert_eq!(
            labels.len(),
            answer.rows.len(),
            "{title}: rows that nothing tells apart"
        );
    }
    Ok(())
}

#[tokio::test]
async fn before_the_first_sweep_every_statement_is_still_good() -> Result<()> {
    let database = Database::new().await?;
    let reader = database.reader(1).await?;
    for board in grafana::boards()? {
        let now = tables::now(database.store()).await?;
        let mut scope = Scope {
            values: BTreeMap::new(),
            range: (now, now),
        };
        for variable in &board.variables {
            let sql = AssertSqlSafe(scope.expand(&variable.sql)?);
            let rows = sqlx::query(sql).fetch_all(&reader).await?;
            // Of an empty choice Grafana makes an empty text.
            let value = if variable.name == "sweep" {
                rows[0].try_get("__value")?
            } else {
                String::new()
            };
            scope.values.insert(variable.name.clone(), vec![value]);
        }
        for panel in &board.panels {
            let sql = AssertSqlSafe(scope.expand(&panel.sql)?);
            let asked = sqlx::query(sql).fetch_all(&reader).await;
            asked.with_context(|| format!("{}: {}", board.name, panel.title))?;
        }
    }
    Ok(())
}

/// Columns by what the kind of panel draws.
fn require_drawable(panel: &Panel, answer: &Answer, name: &str) {
    let columns = &answer.columns;
    let x_field = panel.json["options"]["xField"].as_str();
    match panel.kind.as_str() {
        "timeseries" => {
            assert_eq!(panel.json["targets"][0]["format"], "time_series", "{name}");
            let time = answer.kind("time").unwrap_or_default();
            assert!(
                ["FLOAT8", "NUMERIC", "TIMESTAMPTZ"].contains(&time),
                "{name}: time is {time}"
            );
            assert_eq!(answer.kind("metric"), Some("TEXT"), "{name}");
            assert!(
                answer.kind("value").is_some_and(is_number),
                "{name}: {columns:?}"
            );
            assert_eq!(columns.len(), 3, "{name}: {columns:?}");
            require_ascending(answer, "time", false, name);
        }
        "trend" => {
            let x = x_field.unwrap_or_default();
            assert!(
                answer.kind(x).is_some_and(is_number),
                "{name}: {x} of {columns:?}"
            );
            assert!(
                columns.iter().all(|(_, kind)| is_number(kind)),
                "{name}: {columns:?}"
            );
            assert!(columns.len() > 1, "{name}");
            require_ascending(answer, x, true, name);
        }
        "barchart" => {
            assert_eq!(
                x_field.and_then(|x| answer.kind(x)),
                Some("TEXT"),
                "{name}: {columns:?}"
            );
            assert!(answer.numbers().count() > 0, "{name}: {columns:?}");
        }
        "stat" => assert_eq!(answer.rows.len(), 1, "{name}"),
        "table" => {
            for wanted in matrix_fields(panel) {
                assert!(
                    answer.kind(&wanted).is_some(),
                    "{name}: no {wanted} in {columns:?}"
                );
            }
        }
        kind => panic!("{name}: nobody says what a {kind} needs"),
    }
    assert_ne!(panel.json["targets"][0]["rawQuery"], false, "{name}");
    for (column, _) in columns {
        let told = answer.values(column).next().is_some();
        assert!(
            told || UNKNOWN.contains(&column.as_str()),
            "{name}: {column} is null in every row"
        );
    }
}

fn require_ascending(answer: &Answer, column: &str, strictly: bool, name: &str) {
    let numbers: Vec<f64> = answer.values(column).filter_map(Value::as_f64).collect();
    assert_eq!(numbers.len(), answer.rows.len(), "{name}: {column}");
    let ascending = numbers.is_sorted_by(|a, b| if strictly { a < b } else { a <= b });
    assert!(ascending, "{name}: {column} {numbers:?}");
}

/// Every number has a unit, and whatever the panel says of a field, there is such a field.
fn require_units(panel: &Panel, answer: &Answer, name: &str) {
    let config = &panel.json["fieldConfig"];
    let mut with_unit: BTreeSet<&str> = BTreeSet::new();
    for each in config["overrides"].as_array().into_iter().flatten() {
        let field = each["matcher"]["options"].as_str().unwrap_or_default();
        let made = panel.json["transformations"].is_array();
        assert!(
            made || answer.kind(field).is_some(),
            "{name}: there is no {field}"
        );
        let mut properties = each["properties"].as_array().into_iter().flatten();
        if properties.any(|property| property["id"] == "unit") {
            with_unit.insert(field);
        }
    }
    let unit = config["defaults"]["unit"].as_str().unwrap_or_default();
    for number in answer.numbers() {
        assert!(
            with_unit.contains(number) || !["", "string"].contains(&unit),
            "{name}: {number} has no unit"
        );
    }
    if unit == "percentunit" {
        let shares = answer
            .numbers()
            .filter(|number| !with_unit.contains(number));
        for share in shares {
            let outside = answer
                .values(share)
                .filter_map(Value::as_f64)
                .find(|value| !(-1.0..=1.0).contains(value));
            assert_eq!(outside, None, "{name}: {share} is no share");
        }
    }
}

/// Views of results, of which a sweep may lack some.
const MEASURED: [&str; 3] = [
    "reporting.curve",
    "reporting.robustness",
    "reporting.comparison",
];

/// A mean of results says n of expected: in columns, or in the name of what it is of.
fn require_counts(panel: &Panel, answer: &Answer, name: &str) {
    let measured = MEASURED.iter().any(|view| panel.sql.contains(*view));
    if !measured || !panel.sql.contains("avg(") {
        return;
    }
    if panel.kind == "barchart" {
        require_counts_in_names(panel, answer, name);
        return;
    }
    let called = |what: &str| {
        let columns = answer.columns.iter().map(|(column, _)| column.as_str());
        let behind = format!(", {what}");
        let found = columns.filter(|column| *column == what || column.ends_with(&behind));
        found.collect::<Vec<_>>()
    };
    let (counts, expected) = (called("n"), called("expected"));
    let columns = &answer.columns;
    assert!(!counts.is_empty(), "{name}: how many? {columns:?}");
    assert_eq!(counts.len(), expected.len(), "{name}: {columns:?}");
    for (count, expected) in counts.into_iter().zip(expected) {
        for row in &answer.rows {
            let (count, expected) = (row[count].as_f64(), row[expected].as_f64());
            // Where only something published stands, nothing was averaged.
            assert!(expected.is_some() && count <= expected, "{name}: {row}");
        }
    }
}

/// `resnet50 (12 of 30, 30 of 30)`, a pair for each of the two schedules.
fn require_counts_in_names(panel: &Panel, answer: &Answer, name: &str) {
    let field = panel.json["options"]["xField"].as_str().unwrap_or_default();
    for label in answer.values(field).filter_map(Value::as_str) {
        let counts = label.trim_end_matches(')').rsplit(" (").next();
        let pairs: Vec<_> = counts.unwrap_or_default().split(", ").collect();
        let counted = pairs.iter().filter(|pair| {
            let (count, expected) = pair.split_once(" of ").unwrap_or_default();
            let number = |text: &str| text.parse::<u32>().ok();
            let both = number(count).zip(number(expected));
            both.is_some_and(|(count, expected)| count <= expected)
        });
        assert_eq!((pairs.len(), counted.count()), (2, 2), "{name}: {label}");
    }
}

/// What a matrix is made of.
fn matrix_fields(panel: &Panel) -> Vec<String> {
    let transformations = panel.json["transformations"]
        .as_array()
        .into_iter()
        .flatten();
    let matrices = transformations.filter(|each| each["id"] == "groupingToMatrix");
    let fields = matrices.flat_map(|each| {
        ["columnField", "rowField", "valueField"].map(|field| &each["options"][field])
    });
    fields
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}
