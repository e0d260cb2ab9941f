//! What `deploy/grafana` asks of the database, as Grafana would send it.
//!
//! In the browser `${name:sqlstring}` becomes the chosen values, quoted, with commas between; `$__interval` the
//! width of a point. In the server macros follow: a name, and what stands up to the *first* closing
//! bracket. `$__timeGroup(…)` directly before a comma names its column `time` (an old form).

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result, bail, ensure};
use chrono::{DateTime, Utc};
use serde_json::Value;

/// A dashboard.
#[derive(Debug, Clone)]
pub struct Board {
    /// Name of its file.
    pub name: String,
    /// Its choices, each narrowed by those before it.
    pub variables: Vec<Variable>,
    /// What it shows, less its headings.
    pub panels: Vec<Panel>,
}

/// A choice.
#[derive(Debug, Clone)]
pub struct Variable {
    /// By which statements name it.
    pub name: String,
    /// Several values may be chosen, which at first are all.
    pub multi: bool,
    /// What there is to choose from.
    pub sql: String,
}

/// A panel.
#[derive(Debug, Clone)]
pub struct Panel {
    /// What stands above it.
    pub title: String,
    /// How it draws.
    pub kind: String,
    /// The choice for each value of which it is drawn once.
    pub repeat: Option<String>,
    /// What it draws.
    pub sql: String,
    /// The whole of it.
    pub json: Value,
}

/// What is chosen.
#[derive(Debug, Clone)]
pub struct Scope {
    /// Values by the choice's name.
    pub values: BTreeMap<String, Vec<String>>,
    /// The range of times.
    pub range: (DateTime<Utc>, DateTime<Utc>),
}

/// Width of a point in time: `1m`.
const INTERVAL: (&str, u32) = ("1m", 60);

/// The committed dashboards, by name.
///
/// # Errors
/// When a file cannot be read, or lacks what every dashboard has.
pub fn boards() -> Result<Vec<Board>> {
    let mut files: Vec<_> = fs::read_dir(home().join("dashboards"))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.sort();
    files.iter().map(|path| board(path)).collect()
}

/// Titles and statements of the committed alert rules.
///
/// # Errors
/// When the file cannot be read, or a rule has no statement.
pub fn alerts() -> Result<Vec<(String, String)>> {
    let file = fs::read_to_string(home().join("provisioning/alerting/temper.json"))?;
    let file: Value = serde_json::from_str(&file)?;
    let rules = list(&file["groups"][0]["rules"])?;
    let alert = |rule: &Value| {
        let sql = text(&rule["data"][0]["model"]["rawSql"])?;
        // Provisioning would put the environment's values in place of what follows a dollar.
        ensure!(!rule.to_string().contains('$'), "a dollar in {rule}");
        Ok((text(&rule["title"])?, sql))
    };
    rules.iter().map(alert).collect()
}

impl Scope {
    /// The statement as PostgreSQL gets it.
    ///
    /// # Errors
    /// When it names what is not there.
    pub fn expand(&self, sql: &str) -> Result<String> {
        let mut sent = sql.to_owned();
        for (name, values) in &self.values {
            let quoted: Vec<_> = values
                .iter()
                .map(|value| format!("'{}'", value.replace('\'', "''")))
                .collect();
            sent = sent.replace(&format!("${{{name}:sqlstring}}"), &quoted.join(","));
        }
        let (interval, seconds) = INTERVAL;
        sent = sent.replace("$__interval_ms", &(1000 * seconds).to_string());
        sent = sent.replace("$__interval", interval);
        while let Some(start) = sent.find('$') {
            let (end, expansion) = self.macro_at(&sent[start..])?;
            sent.replace_range(start..start + end, &expansion);
        }
        Ok(sent)
    }

    /// How long the macro is that stands at the beginning, and what it becomes.
    fn macro_at(&self, sql: &str) -> Result<(usize, String)> {
        let (call, rest) = sql
            .split_once(')')
            .with_context(|| format!("what is {sql}?"))?;
        let (name, arguments) = call
            .split_once('(')
            .with_context(|| format!("what is {call}?"))?;
        let arguments: Vec<_> = arguments.split(',').map(str::trim).collect();
        let time = |time: DateTime<Utc>| time.to_rfc3339();
        let expansion = match (name, arguments.as_slice()) {
            ("$__timeFilter", [column]) => format!(
                "{column} BETWEEN '{}' AND '{}'",
                time(self.range.0),
                time(self.range.1)
            ),
            ("$__timeGroup", [column, width]) => {
                let seconds = seconds(width.trim_matches('\''))?;
                let alias = if rest.starts_with(',') {
                    " AS \"time\""
                } else {
                    ""
                };
                format!("floor(extract(epoch from {column})/{seconds})*{seconds}{alias}")
            }
            _ => bail!("no macro of Grafana's that is known here: {call})"),
        };
        Ok((call.len() + 1, expansion))
    }
}

fn home() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/grafana")
}

fn board(path: &Path) -> Result<Board> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let file = fs::read_to_string(path)?;
    let json: Value = serde_json::from_str(&file).with_context(|| format!("{name} is no JSON"))?;
    let variable = |json: &Value| {
        Ok(Variable {
            name: text(&json["name"])?,
            multi: json["multi"] == true,
            sql: text(&json["query"])?,
        })
    };
    let variables = list(&json["templating"]["list"])?.iter().map(variable);
    let variables = variables.collect::<Result<_>>()?;
    let (mut panels, mut repeat) = (Vec::new(), None);
    for json in list(&json["panels"])? {
        let own = json["repeat"].as_str().map(str::to_owned);
        if json["type"] == "row" {
            repeat = own;
            continue;
        }
        panels.push(Panel {
            title: text(&json["title"])?,
            kind: text(&json["type"])?,
            repeat: own.or_else(|| repeat.clone()),
            sql: text(&json["targets"][0]["rawSql"])?,
            json: json.clone(),
        });
    }
    Ok(Board {
        name: name.into_owned(),
        variables,
        panels,
    })
}

fn list(json: &Value) -> Result<&Vec<Value>> {
    json.as_array().context("a list is missing")
}

fn text(json: &Value) -> Result<String> {
    Ok(json.as_str().context("a text is missing")?.to_owned())
}

fn seconds(width: &str) -> Result<u32> {
    let (count, unit) = width.split_at(width.len().saturating_sub(1));
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => bail!("no width of a point: {width}"),
    };
    Ok(count.parse::<u32>()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(sql: &str) -> Result<String> {
        let time = |text: &str| text.parse::<DateTime<Utc>>();
        let values = [("name", vec!["it's", "b"]), ("one", vec!["a"])];
        let values = values.map(|(name, values)| {
            let values = values.into_iter().map(str::to_owned).collect();
            (name.to_owned(), values)
        });
        let range = (time("2026-01-01T00:00:00Z")?, time("2026-01-02T00:00:00Z")?);
        let values = values.into_iter().collect();
        Scope { values, range }.expand(sql)
    }

    #[test]
    fn statements_are_sent_as_grafana_sends_them() {
        for (written, sent) in [
            ("a IN (${name:sqlstring})", "a IN ('it''s','b')"),
            ("a = ${one:sqlstring}", "a = 'a'"),
            ("$__interval_ms", "60000"),
            (
                "$__timeGroup(t,'$__interval') AS \"time\"",
                "floor(extract(epoch from t)/60)*60 AS \"time\"",
            ),
            // The old form, into which a comma behind the macro turns it.
            (
                "$__timeGroup(t, '10s'), x",
                "floor(extract(epoch from t)/10)*10 AS \"time\", x",
            ),
            (
                "$__timeFilter(t)",
                "t BETWEEN '2026-01-01T00:00:00+00:00' AND '2026-01-02T00:00:00+00:00'",
            ),
            // The pattern of a macro ends at the first bracket.
            (
                "$__timeFilter(f(t))",
                "f(t BETWEEN '2026-01-01T00:00:00+00:00' AND '2026-01-02T00:00:00+00:00')",
            ),
        ] {
            assert_eq!(expand(written).unwrap(), sent);
        }
        for wrong in [
            "${nobody:sqlstring}",
            "$__timeShift(t)",
            "$__timeGroup(t)",
            "$name",
        ] {
            assert!(expand(wrong).is_err(), "{wrong}");
        }
    }
}
