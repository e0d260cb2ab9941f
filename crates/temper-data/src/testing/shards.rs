//! The hub's parquet form.

use std::{fs, io, path::Path, sync::Arc};

use arrow_array::{ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray, StructArray};
use arrow_schema::{DataType, Field};
use parquet::arrow::ArrowWriter;

use super::{Item, Plan, item_picture};
use crate::split::Part;

/// What the column `label` holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelColumn {
    /// Numbers from 0.
    Numbers,
    /// Names, whose byte order is that of the classes' numbers: `class-000`, `class-001`, …
    Names,
}

/// Writes the planned images as the hub holds them below a repository's folder:
/// `data/<split>-<shard>-of-<shards>.parquet`, two shards of the training split and one of each
/// other, with the columns `image` (bytes and path) and `label`. A split without images has no
/// shard.
///
/// # Errors
/// When a file cannot be written.
pub fn write_parquet(repository: &Path, plan: Plan, labels: LabelColumn) -> io::Result<()> {
    fs::create_dir_all(repository.join("data"))?;
    for part in Part::ALL {
        let items: Vec<Item> = plan.items(part).collect();
        let shards = if part == Part::Train { 2 } else { 1 };
        for (shard, items) in items
            .chunks(items.len().div_ceil(shards).max(1))
            .enumerate()
        {
            let name = format!("data/{}-{shard:05}-of-{shards:05}.parquet", part.name());
            write_shard(&repository.join(name), items, plan.side, labels)?;
        }
    }
    Ok(())
}

fn write_shard(path: &Path, items: &[Item], side: u32, labels: LabelColumn) -> io::Result<()> {
    let pictures: io::Result<Vec<Vec<u8>>> =
        items.iter().map(|item| item_picture(*item, side)).collect();
    let bytes: ArrayRef = Arc::new(pictures?.iter().map(Some).collect::<BinaryArray>());
    let paths = items
        .iter()
        .map(|item| Some(format!("{:03}_{:04}.jpg", item.class, item.index)));
    let paths: ArrayRef = Arc::new(paths.collect::<StringArray>());
    let image: ArrayRef = Arc::new(StructArray::from(vec![
        (Arc::new(Field::new("bytes", DataType::Binary, true)), bytes),
        (Arc::new(Field::new("path", DataType::Utf8, true)), paths),
    ]));
    let classes = items.iter().map(|item| item.class);
    let label: ArrayRef = match labels {
        LabelColumn::Numbers => Arc::new(
            classes
                .map(|class| Some(i64::from(class)))
                .collect::<Int64Array>(),
        ),
        LabelColumn::Names => {
            let names = classes.map(|class| Some(format!("class-{class:03}")));
            Arc::new(names.collect::<StringArray>())
        }
    };
    let columns = [("image", image, true), ("label", label, true)];
    let batch = RecordBatch::try_from_iter_with_nullable(columns).map_err(io::Error::other)?;
    let file = fs::File::create(path)?;
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).map_err(io::Error::other)?;
    writer.write(&batch).map_err(io::Error::other)?;
    writer.close().map_err(io::Error::other)?;
    Ok(())
}
