//! Rows in the binary format of COPY, which knows no escapes (PostgreSQL's documentation, COPY,
//! "Binary Format"), sent as they are made.

use serde::Serialize;
use uuid::Uuid;

use crate::{StoreError, store::Tx, value::column};

/// Bytes that are sent to the server at a time.
const CHUNK: usize = 1 << 20;

/// Writes one row, and says whether it did: at the end there is none.
pub(crate) type Source<'a> = Box<dyn FnMut(&mut Rows) -> Result<bool, StoreError> + Send + 'a>;

/// Sends rows to a `COPY … FROM STDIN (FORMAT binary)`.
pub(crate) async fn copy_in(
    tx: &mut Tx,
    statement: &str,
    mut next: Source<'_>,
) -> Result<(), StoreError> {
    // An error below drops `copy`, which aborts it; the transaction then rolls back.
    let mut copy = tx.copy_in_raw(statement).await?;
    let mut rows = Rows::new();
    while next(&mut rows)? {
        if rows.0.len() >= CHUNK {
            copy.send(std::mem::take(&mut rows.0)).await?;
        }
    }
    rows.0.extend((-1_i16).to_be_bytes());
    copy.send(rows.0).await?;
    copy.finish().await?;
    Ok(())
}

/// Rows on their way.
pub(crate) struct Rows(Vec<u8>);

impl Rows {
    fn new() -> Self {
        let mut header = b"PGCOPY\n\xff\r\n\0".to_vec();
        // Flags, and the length of an extension: none.
        header.extend([0; 8]);
        Self(header)
    }

    /// Begins a row of so many fields.
    pub fn row(&mut self, fields: i16) -> &mut Self {
        self.0.extend(fields.to_be_bytes());
        self
    }

    pub fn int(&mut self, value: i32) -> &mut Self {
        self.short(&value.to_be_bytes())
    }

    pub fn bigint(&mut self, value: i64) -> &mut Self {
        self.short(&value.to_be_bytes())
    }

    pub fn uuid(&mut self, value: Uuid) -> &mut Self {
        self.short(value.as_bytes())
    }

    /// Text or bytes, which must be shorter than 2 GiB.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<&mut Self, StoreError> {
        let length: i32 = column(bytes.len(), "a value")?;
        self.0.extend(length.to_be_bytes());
        self.0.extend_from_slice(bytes);
        Ok(self)
    }

    pub fn jsonb(&mut self, value: &impl Serialize) -> Result<&mut Self, StoreError> {
        // The format's version comes first.
        let mut json = vec![1];
        serde_json::to_writer(&mut json, value)
            .map_err(|error| StoreError::corrupt("JSON value", &error))?;
        self.bytes(&json)
    }

    /// A value of a few bytes.
    fn short(&mut self, bytes: &[u8]) -> &mut Self {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "numbers and ids have at most 16 bytes"
        )]
        let length = bytes.len() as u32;
        self.0.extend(length.to_be_bytes());
        self.0.extend_from_slice(bytes);
        self
    }
}
