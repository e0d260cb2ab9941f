//! What commands print: tables for people, the protobuf JSON form for programs.

use std::{
    fmt::Display,
    io::{self, Write as _},
};

use comfy_table::{Cell, CellAlignment, Table, presets};
use temper_proto::v1::{
    AttemptOutcome, Constraint, EpochMetrics, FailureClass, JobKind, JobState, LogLevel,
    MaskingFlag, Role, SweepPreview, SweepState,
};

/// The exit status by which shells tell a death by SIGPIPE.
const BROKEN_PIPE: i32 = 128 + 13;

/// A table with these column names; a name that starts with `>` is of a column of numbers, set
/// to the right.
pub fn table(columns: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(columns.iter().map(|name| name.trim_start_matches('>')));
    table.add_rows(rows.into_iter().map(|row| {
        let cells = row.into_iter().zip(columns);
        cells
            .map(|(text, name)| Cell::new_owned(text).set_alignment(alignment(name)))
            .collect::<Vec<_>>()
    }));
    for (column, name) in table.column_iter_mut().zip(columns) {
        column.set_cell_alignment(alignment(name));
        column.set_padding((0, 2));
    }
    table
}

fn alignment(column: &str) -> CellAlignment {
    if column.starts_with('>') {
        CellAlignment::Right
    } else {
        CellAlignment::Left
    }
}

/// Prints a line. When nobody reads on (`temper jobs … | head`), the command ends there as if by SIGPIPE:
/// no command that prints has anything to clean up.
pub fn line(text: impl Display) {
    if writeln!(io::stdout(), "{text}").is_err() {
        std::process::exit(BROKEN_PIPE);
    }
}

/// Ends the command as [`line()`] does, where an error tells that nobody reads on.
pub fn end_unless_read(error: &anyhow::Error) {
    let source = error.downcast_ref::<io::Error>();
    if source.is_some_and(|source| source.kind() == io::ErrorKind::BrokenPipe) {
        std::process::exit(BROKEN_PIPE);
    }
}

/// Prints a table without trailing blanks, or what to say of an empty one.
pub fn print_table(table: &Table, empty: &str) {
    if table.is_empty() {
        line(empty);
    } else {
        line(table.trim_fmt());
    }
}

/// Prints a message in its JSON form.
pub fn print_json<M: prost::Message + prost::Name>(message: &M) -> anyhow::Result<()> {
    line(temper_proto::to_json(message)?);
    Ok(())
}

/// Prints a message of a stream in its JSON form, on a line of its own. One that has no such form is a defect: it is
/// told, and the stream goes on.
pub fn print_json_line<M: prost::Message + prost::Name>(message: &M) {
    match json_line(message) {
        Ok(text) => line(text),
        Err(error) => eprintln!("{error:#}"),
    }
}

/// A message in its JSON form, as one line.
pub fn json_line<M: prost::Message + prost::Name>(message: &M) -> anyhow::Result<String> {
    let value: serde_json::Value = serde_json::from_str(&temper_proto::to_json(message)?)?;
    Ok(value.to_string())
}

/// What a sweep would come to.
pub fn preview(preview: &SweepPreview) {
    let all = preview.trainings + preview.evaluations;
    let about = if preview.jobs_looked_up < all {
        "about "
    } else {
        ""
    };
    line(format_args!(
        "{} trainings, {} evaluations; {about}{} done already, {about}{} more shared with other sweeps",
        preview.trainings,
        preview.evaluations,
        preview.jobs_succeeded,
        preview.jobs_shared - preview.jobs_succeeded,
    ));
    let hours = preview.device_hours;
    match preview.jobs_without_estimate {
        0 => line(format_args!(
            "about {hours:.1} device-hours, by what such jobs took before"
        )),
        unknown => line(format_args!(
            "{about}{unknown} jobs are of kinds that never ran; the others take about {hours:.1} device-hours"
        )),
    }
}

/// A share as people read it, three decimals; `-` for none.
pub fn share(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"))
}

/// An epoch's validation accuracies, `clean/robust`.
pub fn validation(epoch: &EpochMetrics) -> String {
    let (clean, robust) = (epoch.validation_accuracy, epoch.validation_robust_accuracy);
    format!("{}/{}", share(clean), share(robust))
}

/// A state of a sweep, `running`.
pub fn sweep_state(state: i32) -> String {
    plain(
        SweepState::try_from(state)
            .unwrap_or_default()
            .as_str_name(),
        "SWEEP_STATE_",
    )
}

/// A state of a job, `leased`.
pub fn job_state(state: i32) -> String {
    plain(
        JobState::try_from(state).unwrap_or_default().as_str_name(),
        "JOB_STATE_",
    )
}

/// A kind of job, `train`.
pub fn job_kind(kind: i32) -> String {
    plain(
        JobKind::try_from(kind).unwrap_or_default().as_str_name(),
        "JOB_KIND_",
    )
}

/// How an attempt ended, with its class if it failed: `failed (out of memory)`.
pub fn outcome(outcome: i32, class: i32) -> String {
    let outcome = AttemptOutcome::try_from(outcome).unwrap_or_default();
    let class = FailureClass::try_from(class).unwrap_or_default();
    let outcome = plain(outcome.as_str_name(), "ATTEMPT_OUTCOME_");
    let class = match class {
        FailureClass::Unspecified => return outcome,
        class => plain(class.as_str_name(), "FAILURE_CLASS_"),
    };
    // An expired lease is both.
    if class == outcome {
        return outcome;
    }
    format!("{outcome} ({class})")
}

/// A sign of hidden gradients, `rising curve`.
pub fn masking_flag(flag: i32) -> String {
    plain(
        MaskingFlag::try_from(flag)
            .unwrap_or_default()
            .as_str_name(),
        "MASKING_FLAG_",
    )
}

/// A level of a line of a log, `WARN`.
pub fn log_level(level: i32) -> String {
    let level = LogLevel::try_from(level).unwrap_or_default();
    plain(level.as_str_name(), "LOG_LEVEL_").to_uppercase()
}

/// What keeps a worker from a job, `device-kind`.
pub fn constraint(constraint: i32) -> String {
    let constraint = Constraint::try_from(constraint).unwrap_or_default();
    plain(constraint.as_str_name(), "CONSTRAINT_")
}

/// What a token may, `submitter`; empty where there is no token.
pub fn role(role: i32) -> String {
    match Role::try_from(role).unwrap_or_default() {
        Role::Unspecified => String::new(),
        role => plain(role.as_str_name(), "ROLE_"),
    }
}

/// A time; `-` for none.
pub fn time(time: Option<prost_types::Timestamp>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| time.to_string())
}

/// Memory as people read it, `1.5 GiB`; `-` where it is not known.
pub fn memory(bytes: i64) -> String {
    // Two decimals of a gibibyte; a rounding of the last bit does not show.
    #[expect(clippy::cast_precision_loss, reason = "as said")]
    let gibibytes = bytes as f64 / f64::from(1 << 30);
    if bytes > 0 {
        format!("{gibibytes:.2} GiB")
    } else {
        "-".to_owned()
    }
}

fn plain(name: &str, prefix: &str) -> String {
    name.trim_start_matches(prefix)
        .replace('_', " ")
        .to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_at_the_right_and_lines_end_with_their_text() {
        let rows = [["a", "5"], ["long", "100"]];
        let table = table(
            &["NAME", ">COUNT"],
            rows.map(|row| row.map(String::from).to_vec()),
        );
        assert_eq!(table.trim_fmt(), "NAME  COUNT\na         5\nlong    100");
    }

    #[test]
    fn states_read_as_words() {
        assert_eq!(sweep_state(SweepState::Running.into()), "running");
        assert_eq!(job_state(JobState::Leased.into()), "leased");
        assert_eq!(job_kind(JobKind::Evaluate.into()), "evaluate");
        assert_eq!(role(Role::Submitter.into()), "submitter");
        assert_eq!(job_state(99), "unspecified");
        let failed = AttemptOutcome::Failed.into();
        assert_eq!(
            outcome(failed, FailureClass::OutOfMemory.into()),
            "failed (out of memory)"
        );
        let lost = AttemptOutcome::Lost.into();
        assert_eq!(outcome(lost, FailureClass::Lost.into()), "lost");
    }

    #[test]
    fn memory_and_flags_read_as_words() {
        assert_eq!(memory(3 << 29), "1.50 GiB");
        assert_eq!(memory(0), "-");
        assert_eq!(
            masking_flag(MaskingFlag::RisingCurve.into()),
            "rising curve"
        );
    }

    #[test]
    fn absent_accuracy_is_a_dash() {
        let epoch = EpochMetrics {
            validation_accuracy: Some(0.7251),
            ..EpochMetrics::default()
        };
        assert_eq!(validation(&epoch), "0.725/-");
    }
}
