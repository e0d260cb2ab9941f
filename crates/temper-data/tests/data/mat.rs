//! The MAT files that the crate's builders write.

use std::path::Path;

use temper_data::testing::{MatArray, mat_file};

/// `parity/make_mat.py` asserts what scipy reads of this very file.
#[test]
fn written_file_is_the_one_that_scipy_reads() -> anyhow::Result<()> {
    let text = |text: &str| MatArray::Text(text.to_owned());
    let number = |number| MatArray::Doubles(vec![number]);
    let cars = vec![
        number(196.0),
        text("00001.jpg"),
        number(7.0),
        text("00002.jpg"),
    ];
    let file = mat_file(&[
        (
            "file_list",
            MatArray::Cells(vec![text("a.jpg"), text("b/ü.jpg"), text("c")]),
        ),
        ("labels", MatArray::Doubles(vec![1.0, 2.0, 120.0])),
        (
            "annotations",
            MatArray::Structs(vec!["class", "fname"], cars),
        ),
    ])?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/mat/written.mat");
    if std::env::var_os("TEMPER_WRITE_FIXTURES").is_some() {
        std::fs::write(&path, &file)?;
    }
    assert_eq!(file, std::fs::read(path)?);
    Ok(())
}
