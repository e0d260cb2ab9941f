//! MATLAB's MAT files of version 5, as datasets' authors ship their lists in them: numbers, texts,
//! cell arrays and struct arrays, compressed or not, of either byte order.
//!
//! Format: "MAT-File Format" (MATLAB's documentation), chapter 1. What no list has (sparse and complex
//! matrices, objects, function handles) is passed over where it is not asked for.

mod elements;

use std::path::PathBuf;

use self::elements::Fault;
use crate::DataError;

/// A MAT file's variables.
#[derive(Debug)]
pub(super) struct Mat {
    path: PathBuf,
    variables: Vec<(String, Value)>,
}

/// An array. Of more than one dimension the first varies fastest.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// Real numbers of any stored width, exactly: whole ones beyond 2^53 are refused.
    Numbers(Vec<f64>),
    /// One line of text.
    Text(String),
    /// A cell array.
    Cells(Vec<Value>),
    /// A struct array: the fields' names, and all fields of the first element, then of the next.
    Structs(Vec<String>, Vec<Value>),
    /// Something else.
    Other(&'static str),
}

impl Mat {
    /// Reads the variables of a file, whose bytes are these.
    pub(super) fn read(path: PathBuf, bytes: &[u8]) -> Result<Self, DataError> {
        match elements::variables(bytes) {
            Ok(variables) => Ok(Self { path, variables }),
            Err(Fault(reason)) => Err(DataError::damaged(
                path,
                format!("it is no whole MAT file of version 5: {reason}"),
            )),
        }
    }

    /// A cell array of texts.
    pub(super) fn texts(&self, variable: &str) -> Result<Vec<&str>, DataError> {
        match self.variable(variable)? {
            Value::Cells(cells) => self.all(cells.iter(), text, variable, "texts"),
            other => Err(self.misfit(variable, other, "a cell array of texts")),
        }
    }

    /// An array of whole numbers.
    pub(super) fn integers(&self, variable: &str) -> Result<Vec<i128>, DataError> {
        match self.variable(variable)? {
            Value::Numbers(numbers) => {
                let whole: Option<Vec<i128>> =
                    numbers.iter().map(|&number| whole(number)).collect();
                whole.ok_or_else(|| self.mixed(variable, "whole numbers"))
            }
            other => Err(self.misfit(variable, other, "an array of numbers")),
        }
    }

    /// A field, text, of each element of a struct array.
    pub(super) fn field_texts(&self, variable: &str, field: &str) -> Result<Vec<&str>, DataError> {
        let values = self.field(variable, field)?;
        self.all(values, text, &format!("{variable}.{field}"), "texts")
    }

    /// A field, a whole number, of each element of a struct array.
    pub(super) fn field_integers(
        &self,
        variable: &str,
        field: &str,
    ) -> Result<Vec<i128>, DataError> {
        let values = self.field(variable, field)?;
        self.all(values, one, &format!("{variable}.{field}"), "whole numbers")
    }

    fn field(
        &self,
        variable: &str,
        field: &str,
    ) -> Result<impl Iterator<Item = &Value>, DataError> {
        let (fields, values) = match self.variable(variable)? {
            Value::Structs(fields, values) => (fields, values),
            other => return Err(self.misfit(variable, other, "a struct array")),
        };
        let position = fields
            .iter()
            .position(|name| name == field)
            .ok_or_else(|| {
                let fields = fields.join("`, `");
                let reason = format!("its `{variable}` has no field `{field}`, but `{fields}`");
                DataError::layout(&self.path, reason)
            })?;
        Ok(values.iter().skip(position).step_by(fields.len()))
    }

    fn variable(&self, name: &str) -> Result<&Value, DataError> {
        let found = self.variables.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| value).ok_or_else(|| {
            let names: Vec<&str> = self
                .variables
                .iter()
                .map(|(name, _)| name.as_str())
                .collect();
            let reason = format!("it has no variable `{name}`, but `{}`", names.join("`, `"));
            DataError::layout(&self.path, reason)
        })
    }

    fn all<'a, T>(
        &self,
        values: impl Iterator<Item = &'a Value>,
        each: impl Fn(&'a Value) -> Option<T>,
        name: &str,
        wanted: &str,
    ) -> Result<Vec<T>, DataError> {
        let all: Option<Vec<T>> = values.map(each).collect();
        all.ok_or_else(|| self.mixed(name, wanted))
    }

    fn mixed(&self, name: &str, wanted: &str) -> DataError {
        DataError::layout(&self.path, format!("its `{name}` are not all {wanted}"))
    }

    fn misfit(&self, name: &str, found: &Value, wanted: &str) -> DataError {
        let found = match found {
            Value::Numbers(_) => "an array of numbers",
            Value::Text(_) => "a text",
            Value::Cells(_) => "a cell array",
            Value::Structs(..) => "a struct array",
            Value::Other(what) => what,
        };
        DataError::layout(&self.path, format!("its `{name}` is {found}, not {wanted}"))
    }
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

/// An array of one whole number.
fn one(value: &Value) -> Option<i128> {
    match value {
        Value::Numbers(numbers) => match numbers.as_slice() {
            [number] => whole(*number),
            _ => None,
        },
        _ => None,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "it is whole and below 2^53"
)]
fn whole(number: f64) -> Option<i128> {
    (number.fract() == 0.0 && number.abs() <= elements::EXACT).then_some(number as i128)
}

#[cfg(test)]
mod tests;
