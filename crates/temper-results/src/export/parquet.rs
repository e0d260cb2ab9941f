use std::sync::Arc;

use arrow_array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::{metadata::KeyValue, properties::WriterProperties},
};

use super::{
    EncodeError,
    table::{Column, Kind, Value},
};

/// Entry of the file's metadata that holds the provenance.
const PROVENANCE: &str = "temper.provenance";
/// Rows that are laid out in columns at a time.
const BATCH: usize = 8_192;
/// Rows of a row group, which is in memory until it is whole.
const ROW_GROUP: usize = 65_536;
const UTC: &str = "UTC";

/// Parquet, row group by row group.
pub struct Writer {
    schema: SchemaRef,
    columns: Vec<Values>,
    rows: usize,
    file: ArrowWriter<Vec<u8>>,
}

/// The values of a column that are not written yet.
enum Values {
    Int(Vec<Option<i64>>),
    Float(Vec<Option<f64>>),
    Text(Vec<Option<String>>),
    Time(Vec<Option<i64>>),
}

impl Writer {
    pub fn begin(columns: &[Column], provenance: &str) -> Result<Self, EncodeError> {
        let fields: Vec<Field> = columns
            .iter()
            .map(|column| Field::new(column.name, data_type(column.kind), true))
            .collect();
        let schema = Arc::new(Schema::new(fields));
        let entry = KeyValue::new(PROVENANCE.to_owned(), provenance.to_owned());
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(ROW_GROUP))
            .set_created_by(concat!("temper ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_key_value_metadata(Some(vec![entry]))
            .build();
        let file = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties))?;
        Ok(Self {
            schema,
            columns: columns
                .iter()
                .map(|column| Values::new(column.kind))
                .collect(),
            rows: 0,
            file,
        })
    }

    pub fn push(&mut self, values: Vec<Value>) -> Result<(), EncodeError> {
        for (column, value) in self.columns.iter_mut().zip(values) {
            column.push(value);
        }
        self.rows += 1;
        if self.rows < BATCH {
            return Ok(());
        }
        self.flush()
    }

    pub fn ready(&self) -> usize {
        self.file.inner().len()
    }

    pub fn take(&mut self) -> Vec<u8> {
        // Positions in the file are counted by the writer, not taken from what it writes to.
        std::mem::take(self.file.inner_mut())
    }

    pub fn finish(&mut self) -> Result<(), EncodeError> {
        self.flush()?;
        self.file.finish()?;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), EncodeError> {
        if self.rows == 0 {
            return Ok(());
        }
        let columns = self.columns.iter_mut().map(Values::take).collect();
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        self.rows = 0;
        Ok(self.file.write(&batch)?)
    }
}

fn data_type(kind: Kind) -> DataType {
    match kind {
        Kind::Int => DataType::Int64,
        Kind::Float => DataType::Float64,
        Kind::Text => DataType::Utf8,
        Kind::Time => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
    }
}

impl Values {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Int => Self::Int(Vec::new()),
            Kind::Float => Self::Float(Vec::new()),
            Kind::Text => Self::Text(Vec::new()),
            Kind::Time => Self::Time(Vec::new()),
        }
    }

    /// Adds a value; one of another kind than the column's, which there is not, would be absent.
    fn push(&mut self, value: Value) {
        match (self, value) {
            (Self::Int(values), Value::Int(value)) => values.push(value),
            (Self::Float(values), Value::Float(value)) => values.push(value),
            (Self::Text(values), Value::Text(value)) => values.push(value),
            (Self::Time(values), Value::Time(value)) => {
                values.push(value.map(|time| time.timestamp_micros()));
            }
            (Self::Int(values) | Self::Time(values), _) => values.push(None),
            (Self::Float(values), _) => values.push(None),
            (Self::Text(values), _) => values.push(None),
        }
    }

    fn take(&mut self) -> ArrayRef {
        match self {
            Self::Int(values) => Arc::new(Int64Array::from(std::mem::take(values))),
            Self::Float(values) => Arc::new(Float64Array::from(std::mem::take(values))),
            Self::Text(values) => Arc::new(StringArray::from(std::mem::take(values))),
            Self::Time(values) => {
                let times = TimestampMicrosecondArray::from(std::mem::take(values));
                Arc::new(times.with_timezone(UTC))
            }
        }
    }
}
