//! The MAT files that the crate's builders write.

use std::{io::Read as _, path::Path};

use anyhow::Context as _;
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
    assert_eq!(unfolded(&file)?, unfolded(&std::fs::read(path)?)?);
    Ok(())
}

/// The header and the elements of a file, unfolded: how well they are compressed is not ours.
fn unfolded(file: &[u8]) -> anyhow::Result<Vec<Vec<u8>>> {
    let (header, mut rest) = file.split_at_checked(128).context("no header")?;
    let mut parts = vec![header.to_vec()];
    while let Some((tag, elements)) = rest.split_first_chunk::<8>() {
        let [15, 0, 0, 0, length @ ..] = *tag else {
            anyhow::bail!("not compressed: {tag:?}")
        };
        let length = usize::try_from(u32::from_le_bytes(length))?;
        let (element, left) = elements.split_at_checked(length).context("cut off")?;
        let mut bytes = Vec::new();
        flate2::read::ZlibDecoder::new(element).read_to_end(&mut bytes)?;
        parts.push(bytes);
        rest = left;
    }
    Ok(parts)
}
