//! Parquet shards as the hub holds image datasets: a struct column with the encoded image in its
//! field `bytes`, or a column of the bytes themselves; and a label column, of integers or of class
//! names. Names are numbered in the byte order of all that occur in any split.

use std::{
    collections::BTreeSet,
    error::Error,
    fs::File,
    ops::Range,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
};

use arrow_array::{
    Array, RecordBatch, RecordBatchReader as _, cast::AsArray as _, downcast_integer_array,
};
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

/// What to read of a shard.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Columns<'a> {
    pub(crate) image: &'a str,
    pub(crate) label: &'a str,
    /// Of a label column that holds names.
    pub(crate) names: Option<&'a ClassNames>,
    pub(crate) classes: u32,
}

/// The names of all classes in byte order.
#[derive(Debug)]
pub(crate) struct ClassNames(Vec<String>);

/// Whether a shard's label column holds names, not numbers.
pub(crate) fn has_names(path: &Path, column: &str) -> Result<bool, DataError> {
    let batches = Batches::open(path, &[&[column]], 1, None)?;
    let schema = batches.reader.schema();
    Ok(schema
        .fields()
        .iter()
        .any(|field| *field.data_type() == DataType::Utf8))
}

impl ClassNames {
    /// Those that occur in any of the shards, which must be as many as there are classes: a split
    /// may lack some, but not all splits.
    pub(crate) fn collect(
        shards: &[PathBuf],
        column: &str,
        classes: u32,
    ) -> Result<Self, DataError> {
        let mut names = BTreeSet::new();
        for path in shards {
            for batch in Batches::open(path, &[&[column]], LABEL_ROWS, None)? {
                let batch = batch?;
                for name in texts(&batch, path, column)?.into_iter().flatten() {
                    if !names.contains(name) {
                        names.insert(name.to_owned());
                    }
                }
            }
        }
        if u32::try_from(names.len()) != Ok(classes) {
            let reason = format!(
                "the column `{column}` has {} different names in all splits, not {classes}",
                names.len()
            );
            let path = shards.first().cloned().unwrap_or_default();
            return Err(DataError::layout(path, reason));
        }
        Ok(Self(names.into_iter().collect()))
    }

    fn number(&self, name: &str) -> Option<i128> {
        let found = self.0.binary_search_by(|known| known.as_str().cmp(name));
        found.ok().map(|index| index as i128)
    }
}

impl ShardedSplit {
    /// Reads the labels of all shards; of the images, nothing.
    pub(crate) fn open(paths: Vec<PathBuf>, columns: &Columns<'_>) -> Result<Self, DataError> {
        let mut labels = Vec::new();
        let mut shards = Vec::with_capacity(paths.len());
        for path in paths {
            let start = labels.len();
            read_labels(&path, columns, &mut labels)?;
            shards.push((path, start..labels.len()));
        }
        Ok(Self {
            shards,
            image_column: columns.image.to_owned(),
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
        let column = self.image_column.as_str();
        let wanted: [&[&str]; 2] = [&[column, "bytes"], &[column]];
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

fn read_labels(path: &Path, columns: &Columns<'_>, labels: &mut Vec<i64>) -> Result<(), DataError> {
    let (start, column) = (labels.len(), columns.label);
    for batch in Batches::open(path, &[&[column]], LABEL_ROWS, None)? {
        let batch = batch?;
        for value in label_values(&batch, path, columns)? {
            let row = labels.len() - start;
            let value = value
                .ok_or_else(|| DataError::layout(path, format!("row {row} has no `{column}`")))?;
            let place = || Place::Row(path.to_owned(), row);
            labels.push(split::label(value, columns.classes, place)?);
        }
    }
    Ok(())
}

/// The labels of a batch as numbers; None where there is none.
fn label_values(
    batch: &RecordBatch,
    path: &Path,
    columns: &Columns<'_>,
) -> Result<Vec<Option<i128>>, DataError> {
    let column = columns.label;
    if let Some(names) = columns.names {
        let texts = texts(batch, path, column)?.into_iter();
        return Ok(texts.map(|text| names.number(text?)).collect());
    }
    integers(batch.column(0).as_ref()).ok_or_else(|| misfit(batch, path, column, "integers"))
}

/// The values of a column of texts.
fn texts<'a>(
    batch: &'a RecordBatch,
    path: &Path,
    column: &str,
) -> Result<Vec<Option<&'a str>>, DataError> {
    let texts = batch.column(0).as_string_opt::<i32>();
    let texts = texts.ok_or_else(|| misfit(batch, path, column, "class names"))?;
    Ok(texts.iter().collect())
}

fn misfit(batch: &RecordBatch, path: &Path, column: &str, wanted: &str) -> DataError {
    let found = batch.column(0).data_type();
    let reason = format!("its column `{column}` holds {found}, not {wanted}");
    DataError::layout(path, reason)
}

/// The batches of one leaf column.
struct Batches<'a> {
    path: &'a Path,
    reader: ParquetRecordBatchReader,
}

impl<'a> Batches<'a> {
    /// The column is the first of these paths that there is; `rows` are the wanted ones, or all.
    fn open(
        path: &'a Path,
        columns: &[&[&str]],
        batch_rows: usize,
        rows: Option<RowSelection>,
    ) -> Result<Self, DataError> {
        let file = File::open(path).map_err(DataError::io(path))?;
        // Without arrow's own schema the columns have the types that parquet stores, whatever the
        // writer's memory layout was: dictionaries and large arrays read as plain ones.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let builder = guarded(path, || {
            ParquetRecordBatchReaderBuilder::try_new_with_options(file, options)
        })?;
        let schema = builder.parquet_schema();
        let leaf = columns.iter().find_map(|column| leaf(schema, column));
        let leaf = leaf.ok_or_else(|| {
            let wanted: Vec<String> = columns.iter().map(|column| column.join(".")).collect();
            let (wanted, found) = (wanted.join("` or `"), names(schema));
            DataError::layout(path, format!("it has no column `{wanted}`, but {found}"))
        })?;
        let mask = ProjectionMask::leaves(schema, [leaf]);
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

/// The bytes of each row's image; None where they are null.
fn encoded_images<'a>(
    batch: &'a RecordBatch,
    path: &Path,
    column: &str,
) -> Result<Vec<Option<&'a [u8]>>, DataError> {
    let bytes = match batch.column(0).as_struct_opt() {
        Some(image) => image.column_by_name("bytes"),
        None => Some(batch.column(0)),
    };
    let bytes = bytes.and_then(|bytes| bytes.as_binary_opt::<i32>());
    let bytes = bytes.ok_or_else(|| misfit(batch, path, column, "images as bytes"))?;
    Ok(bytes.iter().collect())
}
