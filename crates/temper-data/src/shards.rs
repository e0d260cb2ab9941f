//! Parquet shards as the hub holds image datasets: a struct column with the encoded image in its
//! field `bytes`, and an integer column with the label.

use std::{
    error::Error,
    fs::File,
    ops::Range,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
};

use arrow_array::{Array, RecordBatch, cast::AsArray as _, downcast_integer_array};
use arrow_schema::DataType;
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{
            ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
            RowSelection,
        },
    },
    schema::types::SchemaDescriptor,
};

use crate::{
    DataError, ImageFault, Place,
    split::{self, RawImage, Sink, Split},
};

/// Encoded images that are in memory at once.
const IMAGE_ROWS: usize = 64;
/// Labels that are in memory at once as arrow has them.
const LABEL_ROWS: usize = 8_192;

/// A split in parquet shards.
#[derive(Debug)]
pub(crate) struct ShardedSplit {
    /// Each shard with the indices of its rows in the split.
    shards: Vec<(PathBuf, Range<usize>)>,
    image_column: String,
    labels: Vec<i64>,
}

impl ShardedSplit {
    /// Reads the labels of all shards; of the images, nothing.
    pub(crate) fn open(
        paths: Vec<PathBuf>,
        image_column: &str,
        label_column: &str,
        classes: u32,
    ) -> Result<Self, DataError> {
        let mut labels = Vec::new();
        let mut shards = Vec::with_capacity(paths.len());
        for path in paths {
            let start = labels.len();
            read_labels(&path, label_column, classes, &mut labels)?;
            shards.push((path, start..labels.len()));
        }
        Ok(Self {
            shards,
            image_column: image_column.to_owned(),
            labels,
        })
    }

    /// Hands out the `rows` (ascending) of one shard of `total` rows; the first of them is at
    /// `position` among the chosen ones.
    fn read_shard(
        &self,
        path: &Path,
        rows: &[usize],
        (position, total): (usize, usize),
        sink: &mut Sink<'_>,
    ) -> Result<(), DataError> {
        let wanted = [self.image_column.as_str(), "bytes"];
        let selection =
            RowSelection::from_consecutive_ranges(rows.iter().map(|&row| row..row + 1), total);
        let mut wanted_rows = (position..).zip(rows.iter().copied());
        for batch in Batches::open(path, &wanted, IMAGE_ROWS, Some(selection))? {
            let batch = batch?;
            let images = encoded_images(&batch, path, &self.image_column)?;
            for (encoded, (position, row)) in images.into_iter().zip(wanted_rows.by_ref()) {
                let encoded = encoded.ok_or_else(|| DataError::Image {
                    place: Place::Row(path.to_owned(), row),
                    source: ImageFault::Absent,
                })?;
                sink(position, RawImage::Encoded(encoded.to_owned()))?;
            }
        }
        match wanted_rows.next() {
            Some((_, row)) => Err(DataError::damaged(
                path,
                format!("its images end before row {row}"),
            )),
            None => Ok(()),
        }
    }
}

impl Split for ShardedSplit {
    fn labels(&self) -> &[i64] {
        &self.labels
    }

    fn read(&self, chosen: &[usize], sink: &mut Sink<'_>) -> Result<(), DataError> {
        for (path, range) in &self.shards {
            let first = chosen.partition_point(|&index| index < range.start);
            let last = chosen.partition_point(|&index| index < range.end);
            let rows: Vec<usize> = chosen[first..last]
                .iter()
                .map(|i| i - range.start)
                .collect();
            if !rows.is_empty() {
                self.read_shard(path, &rows, (first, range.len()), sink)?;
            }
        }
        Ok(())
    }

    fn place(&self, index: usize) -> Place {
        let shard = self.shards.partition_point(|(_, range)| range.end <= index);
        let (path, range) = &self.shards[shard];
        Place::Row(path.clone(), index - range.start)
    }
}

fn read_labels(
    path: &Path,
    column: &str,
    classes: u32,
    labels: &mut Vec<i64>,
) -> Result<(), DataError> {
    let start = labels.len();
    for batch in Batches::open(path, &[column], LABEL_ROWS, None)? {
        let batch = batch?;
        let values = integers(batch.column(0).as_ref()).ok_or_else(|| {
            let found = batch.column(0).data_type();
            DataError::layout(
                path,
                format!("its column `{column}` holds {found}, not integers"),
            )
        })?;
        for value in values {
            let row = labels.len() - start;
            let value = value
                .ok_or_else(|| DataError::layout(path, format!("row {row} has no `{column}`")))?;
            let place = || Place::Row(path.to_owned(), row);
            labels.push(split::label(value, classes, place)?);
        }
    }
    Ok(())
}

/// The batches of one leaf column.
struct Batches<'a> {
    path: &'a Path,
    reader: ParquetRecordBatchReader,
}

impl<'a> Batches<'a> {
    /// The column is named by its path; `rows` are the wanted ones, or all.
    fn open(
        path: &'a Path,
        column: &[&str],
        batch_rows: usize,
        rows: Option<RowSelection>,
    ) -> Result<Self, DataError> {
        let file = File::open(path).map_err(DataError::io(path))?;
        // Without arrow's own schema the columns have the types that parquet stores, whatever the
        // writer's memory layout was: dictionaries read as plain binary.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let builder = guarded(path, || {
            ParquetRecordBatchReaderBuilder::try_new_with_options(file, options)
        })?;
        let leaf = leaf(builder.parquet_schema(), column).ok_or_else(|| {
            let (wanted, found) = (column.join("."), names(builder.parquet_schema()));
            DataError::layout(path, format!("it has no column `{wanted}`, but {found}"))
        })?;
        let mask = ProjectionMask::leaves(builder.parquet_schema(), [leaf]);
        let builder = builder.with_projection(mask).with_batch_size(batch_rows);
        let builder = match rows {
            Some(rows) => builder.with_row_selection(rows),
            None => builder,
        };
        Ok(Self {
            path,
            reader: guarded(path, || builder.build())?,
        })
    }
}

impl Iterator for Batches<'_> {
    type Item = Result<RecordBatch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        guarded(self.path, || self.reader.next().transpose()).transpose()
    }
}

/// Calls the parquet crate, which panics on some damaged files (negative offsets in the metadata,
/// for one): whoever gets that error drops the reader.
fn guarded<T, E: Error + Send + Sync + 'static>(
    path: &Path,
    read: impl FnOnce() -> Result<T, E>,
) -> Result<T, DataError> {
    match panic::catch_unwind(AssertUnwindSafe(read)) {
        Ok(result) => result.map_err(DataError::undecodable(path, "it is no whole parquet file")),
        Err(_) => Err(DataError::damaged(path, "it is no whole parquet file")),
    }
}

fn leaf(schema: &SchemaDescriptor, column: &[&str]) -> Option<usize> {
    schema
        .columns()
        .iter()
        .position(|leaf| leaf.path().parts().iter().eq(column))
}

fn names(schema: &SchemaDescriptor) -> String {
    let names: Vec<String> = schema
        .columns()
        .iter()
        .map(|leaf| format!("`{}`", leaf.path().string()))
        .collect();
    names.join(", ")
}

/// The values of an integer column of any width; None if it is no such column.
fn integers(column: &dyn Array) -> Option<Vec<Option<i128>>> {
    downcast_integer_array!(
        column => Some(column.iter().map(|value| value.map(i128::from)).collect()),
        _ => None
    )
}

/// The field `bytes` of each row's image; None where it is null.
fn encoded_images<'a>(
    batch: &'a RecordBatch,
    path: &Path,
    column: &str,
) -> Result<Vec<Option<&'a [u8]>>, DataError> {
    let bytes = batch
        .column(0)
        .as_struct_opt()
        .and_then(|image| image.column_by_name("bytes"));
    let values = match bytes.map(|bytes| (bytes, bytes.data_type())) {
        Some((bytes, DataType::Binary)) => bytes.as_binary::<i32>().iter().collect(),
        Some((bytes, DataType::LargeBinary)) => bytes.as_binary::<i64>().iter().collect(),
        _ => {
            let found = batch.column(0).data_type();
            let reason = format!("its column `{column}` holds {found}, not images as bytes");
            return Err(DataError::layout(path, reason));
        }
    };
    Ok(values)
}
