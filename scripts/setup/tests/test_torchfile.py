"""The reader of PyTorch's legacy files."""

import os
import struct
import tempfile
import unittest
from collections import OrderedDict
from pathlib import Path

import torchfile
from tests.legacy import FloatStorage, LongStorage, View, legacy_file


class Command:
    """What a hostile pickle looks like: loading it would call a function of its choice."""

    def __reduce__(self):
        return os.getenv, ("HOME",)


def read(content: bytes):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.pt"
        path.write_bytes(content)
        return torchfile.read(path)


def one(view, elements):
    """The only tensor of a file that holds `view` of a float storage."""
    return read(legacy_file(OrderedDict(t=view), {"k": (FloatStorage, elements)}))["t"]


def floats(tensor):
    content = tensor.contiguous()
    return list(struct.unpack(f"<{len(content) // 4}f", content))


class TorchFile(unittest.TestCase):
    def test_a_plain_tensor_comes_back_in_order(self):
        tensor = one(View(FloatStorage, "k", 6, 0, (2, 3), (3, 1)), range(6))
        self.assertEqual((tensor.shape, tensor.is_float32), ((2, 3), True))
        self.assertEqual(floats(tensor), [0, 1, 2, 3, 4, 5])

    def test_a_transposed_view_is_gathered_row_by_row(self):
        tensor = one(View(FloatStorage, "k", 6, 0, (3, 2), (1, 3)), range(6))
        self.assertEqual(floats(tensor), [0, 3, 1, 4, 2, 5])

    def test_views_of_one_storage_start_at_their_offsets(self):
        state = OrderedDict(
            a=View(FloatStorage, "k", 4, 0, (2,), (1,)), b=View(FloatStorage, "k", 4, 2, (2,), (1,))
        )
        found = read(legacy_file(state, {"k": (FloatStorage, range(4))}))
        self.assertEqual((floats(found["a"]), floats(found["b"])), ([0, 1], [2, 3]))

    def test_strides_of_single_extents_do_not_matter(self):
        tensor = one(View(FloatStorage, "k", 2, 0, (2, 1, 1), (1, 999, 999)), range(2))
        self.assertEqual(floats(tensor), [0, 1])

    def test_a_scalar_of_another_type_is_told_apart(self):
        state = OrderedDict(n=View(LongStorage, "k", 1, 0, (), ()))
        tensor = read(legacy_file(state, {"k": (LongStorage, [7])}))["n"]
        self.assertFalse(tensor.is_float32)
        self.assertEqual(struct.unpack("<q", tensor.contiguous()), (7,))

    def test_a_view_past_its_storage_is_refused(self):
        tensor = one(View(FloatStorage, "k", 4, 1, (2, 2), (2, 1)), range(4))
        with self.assertRaisesRegex(torchfile.BadTorchFile, "reaches past"):
            tensor.contiguous()

    def test_an_expanded_view_is_refused(self):
        tensor = one(View(FloatStorage, "k", 4, 0, (2, 2), (0, 1)), range(4))
        with self.assertRaises(torchfile.BadTorchFile):
            tensor.contiguous()

    def test_a_pickle_that_names_a_function_is_refused_before_it_runs(self):
        with self.assertRaisesRegex(torchfile.BadTorchFile, "getenv, which is not allowed"):
            read(legacy_file(OrderedDict(t=Command()), {}))

    def test_another_format_is_refused(self):
        with self.assertRaisesRegex(torchfile.BadTorchFile, "legacy format"):
            read(legacy_file(OrderedDict(), {}, magic=1))

    def test_a_truncated_storage_is_an_error(self):
        state = OrderedDict(t=View(FloatStorage, "k", 4, 0, (4,), (1,)))
        with self.assertRaisesRegex(torchfile.BadTorchFile, "ends inside"):
            read(legacy_file(state, {"k": (FloatStorage, range(4))})[:-1])


if __name__ == "__main__":
    unittest.main()
