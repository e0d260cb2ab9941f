"""Lists in MATLAB's format, written by SciPy, and what SciPy reads of one that Temper wrote.

Fixtures of the reader in crates/temper-data/src/layouts/mat/: small, with what it must expect.
"""

from pathlib import Path

import numpy as np
import scipy.io
import scipy.sparse

FOLDER = Path(__file__).parent.parent / "crates/temper-data/tests/fixtures/mat"


def cells(texts):
    array = np.empty((len(texts), 1), dtype=object)
    for i, text in enumerate(texts):
        array[i, 0] = text
    return array


def lists():
    """The form of Stanford Dogs' lists."""
    files = [f"n0208562{i}-Chihuahua/n0208562{i}_{10 * i}.jpg" for i in range(5)]
    variables = {
        "file_list": cells(files),
        "annotation_list": cells([file.removesuffix(".jpg") for file in files]),
        "labels": np.array([[1.0], [2.0], [120.0], [3.0], [1.0]]),
    }
    scipy.io.savemat(FOLDER / "list.mat", variables, do_compression=True)
    scipy.io.savemat(FOLDER / "list_plain.mat", variables, do_compression=False)


def annotations():
    """The form of Stanford Cars' annotations."""
    fields = ["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname"]
    array = np.empty((1, 4), dtype=[(field, object) for field in fields])
    for i in range(4):
        bounds = [np.uint8(10 + i), np.uint8(20), np.uint16(300), np.uint16(400 + i)]
        row = (*bounds, np.uint8(196 - i), f"{i + 1:05}.jpg")
        array[0, i] = row
    scipy.io.savemat(FOLDER / "annotations.mat", {"annotations": array}, do_compression=True)


def kinds():
    """Every stored type, and what is passed over."""
    numbers = {
        name: np.array([[0, 1, 7, 100]], dtype=name)
        for name in ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64",
                     "float32", "float64"]
    }
    nested = np.empty((1, 2), dtype=object)
    nested[0, 0] = cells(["a", "longer than a small element"])
    nested[0, 1] = np.zeros((0, 0))
    variables = numbers | {
        "matrix": np.array([[1.5, 3.0, 5.0], [2.0, 4.0, 6.0]]),
        "logical": np.array([[True, False]]),
        "unicode": "Citroën – 雪",
        "lines": np.array(["two", "row"]),
        "nothing": "",
        "nested": nested,
        "complex": np.array([[1 + 2j]]),
        "sparse": scipy.sparse.csc_matrix(np.eye(3)),
        "struct": {"number": 5.0, "inner": {"text": "deep"}},
        "last": np.array([[42.0]]),
    }
    scipy.io.savemat(FOLDER / "kinds.mat", variables, do_compression=True)


def written_by_temper():
    """The writer in crates/temper-data/src/testing/mat.rs; its test holds the file to its code."""
    found = scipy.io.loadmat(FOLDER / "written.mat", squeeze_me=True)
    assert list(found["file_list"]) == ["a.jpg", "b/ü.jpg", "c"], found["file_list"]
    assert list(found["labels"]) == [1.0, 2.0, 120.0], found["labels"]
    assert list(found["annotations"]["fname"]) == ["00001.jpg", "00002.jpg"]
    assert list(found["annotations"]["class"]) == [196.0, 7.0]
    print("scipy reads written.mat")


FOLDER.mkdir(parents=True, exist_ok=True)
lists()
annotations()
kinds()
if (FOLDER / "written.mat").exists():
    written_by_temper()
for path in sorted(FOLDER.glob("*.mat")):
    print(path.name, path.stat().st_size)
