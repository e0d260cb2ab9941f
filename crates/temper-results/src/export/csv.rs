use super::{
    EncodeError,
    table::{Column, Value, written},
};

/// CSV by RFC 4180, after one line of provenance.
pub struct Writer(csv::Writer<Vec<u8>>);

impl Writer {
    pub fn begin(columns: &[Column], provenance: &str) -> Result<Self, EncodeError> {
        let start = format!("# {provenance}\n").into_bytes();
        let mut writer = csv::Writer::from_writer(start);
        writer.write_record(columns.iter().map(|column| column.name))?;
        writer.flush()?;
        Ok(Self(writer))
    }

    pub fn push(&mut self, values: &[Value]) -> Result<(), EncodeError> {
        for value in values {
            match value {
                Value::Int(Some(value)) => self.0.write_field(value.to_string())?,
                Value::Float(Some(value)) => self.0.write_field(value.to_string())?,
                Value::Text(Some(value)) => self.0.write_field(value)?,
                Value::Time(Some(value)) => self.0.write_field(written(value))?,
                Value::Int(None) | Value::Float(None) | Value::Text(None) | Value::Time(None) => {
                    self.0.write_field("")?;
                }
            }
        }
        Ok(self.0.write_record(None::<&[u8]>)?)
    }

    pub fn ready(&self) -> usize {
        self.0.get_ref().len()
    }

    pub fn take(&mut self) -> Vec<u8> {
        // The writer keeps what it has not handed on yet; a new one would write no more than this one.
        let mut next = csv::WriterBuilder::new()
            .has_headers(false)
            .from_writer(Vec::new());
        std::mem::swap(&mut self.0, &mut next);
        next.into_inner()
            .unwrap_or_else(|failed| failed.into_inner().get_ref().clone())
    }

    pub fn finish(&mut self) -> Result<(), EncodeError> {
        Ok(self.0.flush()?)
    }
}
