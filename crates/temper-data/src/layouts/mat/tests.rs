//! The reader against files that scipy wrote (`parity/make_mat.py`), and against nonsense.

use std::{fs, path::Path};

use proptest::prelude::*;

use super::*;

fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/mat");
    fs::read(folder.join(name)).unwrap()
}

fn read(bytes: &[u8]) -> Result<Mat, DataError> {
    Mat::read("list.mat".into(), bytes)
}

fn reason<T: std::fmt::Debug>(result: Result<T, DataError>) -> String {
    let error = result.unwrap_err();
    assert!(error.to_string().contains("list.mat"), "{error}");
    error.to_string()
}

/// A file of these elements.
fn file(big_endian: bool, elements: &[u8]) -> Vec<u8> {
    let mut file = vec![b' '; 124];
    file.extend_from_slice(if big_endian { b"\x01\0MI" } else { b"\0\x01IM" });
    file.extend_from_slice(elements);
    file
}

/// A whole element, its tag and data big endian, filled up to 8 bytes.
fn element(kind: u32, data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap();
    let mut bytes = [kind.to_be_bytes(), length.to_be_bytes()].concat();
    bytes.extend_from_slice(data);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

/// An array, big endian, of `class` with `count` elements, which `content` holds.
fn array(class: u32, count: u32, content: &[u8]) -> Vec<u8> {
    let flags = element(6, &[class.to_be_bytes(), [0; 4]].concat());
    let sides = element(5, &[count.to_be_bytes(), 1_u32.to_be_bytes()].concat());
    // The name `x`, as a small element.
    let name = [0, 1, 0, 1, b'x', 0, 0, 0].to_vec();
    element(14, &[flags, sides, name, content.to_vec()].concat())
}

#[test]
fn lists_of_files_and_labels_are_read_compressed_or_not() {
    for name in ["list.mat", "list_plain.mat"] {
        let mat = read(&fixture(name)).unwrap();
        let files = mat.texts("file_list").unwrap();
        assert_eq!(files.len(), 5);
        assert_eq!(files[3], "n02085623-Chihuahua/n02085623_30.jpg");
        assert_eq!(mat.integers("labels").unwrap(), [1, 2, 120, 3, 1]);
    }
}

#[test]
fn fields_of_struct_arrays_are_read_in_order() {
    let mat = read(&fixture("annotations.mat")).unwrap();
    let names = mat.field_texts("annotations", "fname").unwrap();
    assert_eq!(names, ["00001.jpg", "00002.jpg", "00003.jpg", "00004.jpg"]);
    let labels = mat.field_integers("annotations", "class").unwrap();
    assert_eq!(labels, [196, 195, 194, 193]);
    let bounds = mat.field_integers("annotations", "bbox_y2").unwrap();
    assert_eq!(bounds, [400, 401, 402, 403]);
}

#[test]
fn every_stored_type_is_read_and_the_rest_passed_over() {
    let mat = read(&fixture("kinds.mat")).unwrap();
    for name in [
        "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32",
        "float64",
    ] {
        assert_eq!(mat.integers(name).unwrap(), [0, 1, 7, 100], "{name}");
    }
    let columns = Value::Numbers(vec![1.5, 2.0, 3.0, 4.0, 5.0, 6.0]);
    assert_eq!(mat.variable("matrix").unwrap(), &columns);
    assert!(reason(mat.integers("matrix")).contains("not all whole numbers"));
    assert_eq!(mat.integers("logical").unwrap(), [1, 0]);
    let text = |text: &str| Value::Text(text.to_owned());
    assert_eq!(mat.variable("unicode").unwrap(), &text("Citroën – 雪"));
    let inner = vec![text("a"), text("longer than a small element")];
    let nested = Value::Cells(vec![Value::Cells(inner), Value::Numbers(vec![])]);
    assert_eq!(mat.variable("nested").unwrap(), &nested);
    let Value::Structs(fields, values) = mat.variable("struct").unwrap() else {
        panic!("no struct")
    };
    assert_eq!(fields, &["number", "inner"]);
    assert_eq!(values[0], Value::Numbers(vec![5.0]));
    for (name, found) in [
        ("complex", "complex numbers"),
        ("sparse", "a sparse matrix"),
        ("lines", "a text of several lines"),
    ] {
        assert!(reason(mat.integers(name)).contains(found), "{name}");
    }
    assert_eq!(mat.integers("last").unwrap(), [42]);
}

#[test]
fn big_endian_files_are_read() {
    let numbers = element(4, &[0x01, 0x02, 0, 7]);
    let text = array(4, 2, &[0, 2, 0, 16, b'h', b'i', 0, 0]);
    let mat = read(&file(true, &array(6, 2, &numbers))).unwrap();
    assert_eq!(mat.integers("x").unwrap(), [0x0102, 7]);
    let mat = read(&file(true, &array(1, 1, &text))).unwrap();
    assert_eq!(mat.texts("x").unwrap(), ["hi"]);
}

#[test]
fn what_is_asked_for_and_is_not_there_is_said_with_what_is() {
    let mat = read(&fixture("list.mat")).unwrap();
    assert!(reason(mat.texts("files")).contains("no variable `files`, but `file_list`"));
    assert!(reason(mat.texts("labels")).contains("is an array of numbers, not a cell array"));
    assert!(reason(mat.field_texts("labels", "x")).contains("not a struct array"));
    let mat = read(&fixture("annotations.mat")).unwrap();
    assert!(reason(mat.field_texts("annotations", "name")).contains("no field `name`, but `bbox"));
    assert!(reason(mat.field_texts("annotations", "class")).contains("not all texts"));
}

#[test]
fn promises_that_the_bytes_do_not_keep_are_refused() {
    let numbers = element(9, &[0; 16]);
    let mut deep = array(1, 0, &[]);
    for _ in 0..20 {
        deep = array(1, 1, &deep);
    }
    for (elements, expected) in [
        (array(1, u32::MAX >> 1, &[]), "ends before the last of"),
        (
            array(2, u32::MAX >> 1, &[0, 4, 0, 5, 0, 0, 0, 32]),
            "ends within",
        ),
        (array(6, 3, &numbers), "3 numbers has 2"),
        (array(6, u32::MAX, &numbers), "negative side"),
        (
            array(4, 3, &[0, 2, 0, 16, b'h', b'i', 0, 0]),
            "3 characters has 2",
        ),
        (deep, "deeper than"),
        (element(99, &[0; 8]), "unknown type 99"),
        (element(9, &[0; 8]), "F64 where Matrix must be"),
        (
            vec![0, 0, 0, 14, 0xFF, 0xFF, 0xFF, 0xFF],
            "ends within an element",
        ),
    ] {
        let found = reason(read(&file(true, &elements)));
        assert!(found.contains(expected), "{expected}: {found}");
    }
}

#[test]
fn data_that_unfold_to_too_much_are_refused() {
    use std::io::Write as _;
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    for _ in 0..65 {
        encoder.write_all(&vec![0; 1 << 20]).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    assert!(bomb.len() < 1 << 20);
    let found = reason(read(&file(true, &element(15, &bomb))));
    assert!(found.contains("unfolds to more than"), "{found}");
}

#[test]
fn a_file_that_ends_early_is_refused_wherever_it_ends() {
    let whole = fixture("list_plain.mat");
    let count = |bytes: &[u8]| read(bytes).map(|mat| mat.variables.len()).ok();
    assert_eq!(count(&whole), Some(3));
    for end in 0..whole.len() {
        // Between two variables, or within the last one's filling, it is a file as well.
        assert!(
            count(&whole[..end]) < Some(3) || whole.len() - end < 8,
            "{end}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(elements: Vec<u8>, big_endian: bool) {
        let _ = read(&file(big_endian, &elements));
    }

    #[test]
    fn changed_bytes_never_panic(changes in prop::collection::vec((128_usize..3000, any::<u8>()), 1..8)) {
        for name in ["list_plain.mat", "annotations.mat", "kinds.mat"] {
            let mut bytes = fixture(name);
            for (position, value) in &changes {
                if let Some(byte) = bytes.get_mut(*position) {
                    *byte = *value;
                }
            }
            let _ = read(&bytes);
        }
    }

    #[test]
    fn changed_elements_never_panic(
        class in 0_u32..20,
        count in prop_oneof![0_u32..4, any::<u32>()],
        content: Vec<u8>,
    ) {
        let _ = read(&file(true, &array(class, count, &content)));
    }
}
