use serde::{
    Serialize,
    ser::{SerializeMap as _, Serializer},
};

use super::{
    EncodeError,
    table::{Column, Value, written},
};

/// A JSON object a line; absent values are null.
pub struct Writer {
    columns: &'static [Column],
    bytes: Vec<u8>,
}

/// A row under its columns' names, in their order.
struct Line<'a> {
    columns: &'static [Column],
    values: &'a [Value],
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.columns.len()))?;
        for (column, value) in self.columns.iter().zip(self.values) {
            match value {
                Value::Int(value) => map.serialize_entry(column.name, value)?,
                Value::Float(value) => map.serialize_entry(column.name, value)?,
                Value::Text(value) => map.serialize_entry(column.name, value)?,
                Value::Time(value) => {
                    map.serialize_entry(column.name, &value.as_ref().map(written))?;
                }
            }
        }
        map.end()
    }
}

impl Writer {
    pub fn begin(columns: &'static [Column], provenance: &str) -> Result<Self, EncodeError> {
        // Read again, so that what is written is one line of valid JSON.
        let provenance: serde_json::Value = serde_json::from_str(provenance)?;
        let mut bytes = serde_json::to_vec(&serde_json::json!({ "provenance": provenance }))?;
        bytes.push(b'\n');
        Ok(Self { columns, bytes })
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "as the other writers take rows"
    )]
    pub fn push(&mut self, values: Vec<Value>) -> Result<(), EncodeError> {
        let line = Line {
            columns: self.columns,
            values: &values,
        };
        serde_json::to_writer(&mut self.bytes, &line)?;
        self.bytes.push(b'\n');
        Ok(())
    }

    pub fn ready(&self) -> usize {
        self.bytes.len()
    }

    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }
}
