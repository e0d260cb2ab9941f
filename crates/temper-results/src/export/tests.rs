use ::parquet::{
    arrow::arrow_reader::ParquetRecordBatchReaderBuilder,
    file::reader::{FileReader as _, SerializedFileReader},
};
use arrow_array::{Array as _, cast::AsArray as _, types::Int64Type};
use temper_core::Epsilon;
use temper_store::{CellAxes, ExportedEpoch, JobId};

use super::*;

const PROVENANCE: &str = r#"{"sweep":"sweeps/1","spec":{"models":["a,b"]}}"#;

fn epoch(number: u32) -> ExportedEpoch {
    ExportedEpoch {
        axes: CellAxes {
            cell: 0,
            model: "vit-base".into(),
            dataset: "cub200".into(),
            schedule: "two-hinge(1/4,1/2)".into(),
            target: Epsilon::new(4, 255).unwrap(),
            hyperparameters: 0,
            seed: 7,
        },
        job: JobId(17),
        epoch: number,
        epsilon: 0.1,
        learning_rate: 1e-5,
        train_loss: f64::from(number) + 0.5,
        validation_accuracy: Some(0.25),
        validation_robust_accuracy: None,
        images_per_second: 512.0,
        loading_share: 0.0,
    }
}

/// A file of so many epochs, taken in pieces.
fn written(format: Format, epochs: u32) -> Vec<u8> {
    let mut encoder = Encoder::begin::<ExportedEpoch>(format, PROVENANCE).unwrap();
    let mut bytes = Vec::new();
    for number in 0..epochs {
        encoder.push(epoch(number)).unwrap();
        if number % 3 == 0 && encoder.ready() > 0 {
            bytes.extend(encoder.take());
        }
    }
    encoder.finish().unwrap();
    bytes.extend(encoder.take());
    bytes
}

#[test]
fn csv_has_provenance_columns_and_rows() {
    let text = String::from_utf8(written(Format::Csv, 4)).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next().unwrap(), format!("# {PROVENANCE}"));
    assert_eq!(
        lines.next().unwrap(),
        "cell,model,dataset,schedule,target_epsilon,hyperparameters,seed,job,epoch,epsilon,\
         learning_rate,train_loss,validation_accuracy,validation_robust_accuracy,\
         images_per_second,loading_share"
    );
    let rest: Vec<_> = lines.collect();
    assert_eq!(rest.len(), 4);
    assert_eq!(
        rest[1],
        "0,vit-base,cub200,\"two-hinge(1/4,1/2)\",4/255,0,7,17,1,0.1,0.00001,1.5,0.25,,512,0"
    );
}

#[test]
fn json_lines_begin_with_the_provenance_and_keep_what_is_absent() {
    let text = String::from_utf8(written(Format::Json, 2)).unwrap();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["provenance"]["sweep"], "sweeps/1");
    assert_eq!(lines[2]["epoch"], 1);
    assert_eq!(lines[2]["learning_rate"], 1e-5);
    assert!(lines[2]["validation_robust_accuracy"].is_null());
    assert_eq!(
        lines[2].as_object().unwrap().len(),
        ExportedEpoch::COLUMNS.len()
    );
}

#[test]
fn parquet_of_several_row_groups_is_read_back() {
    let epochs = 150_000;
    let bytes = bytes::Bytes::from(written(Format::Parquet, epochs));
    let file = SerializedFileReader::new(bytes.clone()).unwrap();
    let metadata = file.metadata().file_metadata();
    let entries = metadata.key_value_metadata().unwrap();
    let provenance = entries
        .iter()
        .find(|entry| entry.key == "temper.provenance");
    assert_eq!(provenance.unwrap().value.as_deref(), Some(PROVENANCE));
    assert!(file.num_row_groups() > 1);
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
    let (mut rows, mut next) = (0, 0_i64);
    for batch in reader.build().unwrap() {
        let batch = batch.unwrap();
        rows += batch.num_rows();
        let numbers = batch
            .column_by_name("epoch")
            .unwrap()
            .as_primitive::<Int64Type>();
        for number in numbers.values() {
            assert_eq!(*number, next);
            next += 1;
        }
        let absent = batch.column_by_name("validation_robust_accuracy").unwrap();
        assert_eq!(absent.null_count(), batch.num_rows());
        let schedules = batch.column_by_name("schedule").unwrap().as_string::<i32>();
        assert_eq!(schedules.value(0), "two-hinge(1/4,1/2)");
    }
    assert_eq!(rows, epochs as usize);
}

#[test]
fn export_of_nothing_is_a_file_without_rows() {
    for format in [Format::Csv, Format::Json, Format::Parquet] {
        assert!(!written(format, 0).is_empty(), "{format:?}");
    }
    let bytes = bytes::Bytes::from(written(Format::Parquet, 0));
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
    assert_eq!(reader.schema().fields().len(), ExportedEpoch::COLUMNS.len());
    assert_eq!(reader.build().unwrap().count(), 0);
}
