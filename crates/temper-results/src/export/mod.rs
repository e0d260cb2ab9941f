//! Exports: rows as CSV, JSON lines or Parquet, written piece by piece.

mod csv;
mod json;
mod parquet;
mod provenance;
mod rows;
mod table;

pub use provenance::provenance;
pub use rows::{CurveRow, Row};

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated, the provenance as a comment ahead of the columns' names.
    Csv,
    /// A JSON object a line, the provenance first.
    Json,
    /// Apache Parquet, the provenance in its metadata.
    Parquet,
}

/// Why rows cannot be written: a defect, since they are written to memory.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The CSV writer's.
    #[error("cannot write CSV")]
    Csv(#[from] ::csv::Error),
    /// The JSON writer's.
    #[error("cannot write JSON")]
    Json(#[from] serde_json::Error),
    /// The Parquet writer's.
    #[error("cannot write Parquet")]
    Parquet(#[from] ::parquet::errors::ParquetError),
    /// A batch of columns that do not fit each other.
    #[error("cannot lay rows out in columns")]
    Arrow(#[from] arrow_schema::ArrowError),
    /// What `std::io` says of a write to memory.
    #[error("cannot write")]
    Io(#[from] std::io::Error),
}

impl Format {
    /// What follows the dot of a file's name.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Json => "jsonl",
            Self::Parquet => "parquet",
        }
    }

    /// The media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv",
            Self::Json => "application/jsonl",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }
}

/// Writes the rows of a kind.
pub enum Encoder {
    Csv(Box<csv::Writer>),
    Json(json::Writer),
    Parquet(Box<parquet::Writer>),
}

impl Encoder {
    /// Begins a file of such rows.
    pub fn begin<R: Row>(format: Format, provenance: &str) -> Result<Self, EncodeError> {
        let columns = R::COLUMNS;
        Ok(match format {
            Format::Csv => Self::Csv(Box::new(csv::Writer::begin(columns, provenance)?)),
            Format::Json => Self::Json(json::Writer::begin(columns, provenance)?),
            Format::Parquet => {
                Self::Parquet(Box::new(parquet::Writer::begin(columns, provenance)?))
            }
        })
    }

    /// Adds a row.
    pub fn push(&mut self, row: impl Row) -> Result<(), EncodeError> {
        let values = row.values();
        match self {
            Self::Csv(writer) => writer.push(&values),
            Self::Json(writer) => writer.push(values),
            Self::Parquet(writer) => writer.push(values),
        }
    }

    /// Bytes that are ready.
    pub fn ready(&mut self) -> usize {
        match self {
            Self::Csv(writer) => writer.ready(),
            Self::Json(writer) => writer.ready(),
            Self::Parquet(writer) => writer.ready(),
        }
    }

    /// Takes them.
    pub fn take(&mut self) -> Vec<u8> {
        match self {
            Self::Csv(writer) => writer.take(),
            Self::Json(writer) => writer.take(),
            Self::Parquet(writer) => writer.take(),
        }
    }

    /// Ends the file, whose last bytes are ready then.
    pub fn finish(&mut self) -> Result<(), EncodeError> {
        match self {
            Self::Csv(writer) => writer.finish(),
            Self::Json(_) => Ok(()),
            Self::Parquet(writer) => writer.finish(),
        }
    }
}

#[cfg(test)]
mod tests;
