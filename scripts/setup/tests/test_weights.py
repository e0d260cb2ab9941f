"""The converted weights: names, shapes and the file that is written."""

import json
import math
import struct
import unittest
from array import array
from collections import OrderedDict

import weights
from console import SetupError
from tests.legacy import FloatStorage, LongStorage, View, legacy_file
from torchfile import Storage, Tensor


def vector(*values: float) -> Tensor:
    return Tensor(Storage("f", len(values), array("f", values)), 0, (len(values),), (1,))


def contiguous(shape):
    """Strides of a row-major array."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def network(change=None) -> bytes:
    """A legacy file with MobileNetV2's tensors under other names, all views of one storage of zeros."""
    shapes = [shape for _, shape in weights.timm_names("mobilenetv2_100")]
    if change:
        change(shapes)
    count = max(map(math.prod, shapes))
    state = OrderedDict(
        (f"layer{number}", View(FloatStorage, "zeros", count, 0, shape, contiguous(shape)))
        for number, shape in enumerate(shapes)
    )
    state["layer1.num_batches_tracked"] = View(LongStorage, "steps", 1, 0, (), ())
    return legacy_file(state, {"zeros": (FloatStorage, [0] * count), "steps": (LongStorage, [5])})


class Safetensors(unittest.TestCase):
    def test_the_file_is_sorted_aligned_and_complete(self):
        written = weights.safetensors({"b": vector(3), "a": vector(1, 2)})
        (length,) = struct.unpack_from("<Q", written)
        header = json.loads(written[8 : 8 + length])
        self.assertEqual(length % 8, 0)
        self.assertEqual(header["a"], {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]})
        self.assertEqual(header["b"], {"dtype": "F32", "shape": [1], "data_offsets": [8, 12]})
        self.assertEqual(struct.unpack("<3f", written[8 + length :]), (1, 2, 3))

    def test_the_order_of_the_tensors_does_not_change_the_bytes(self):
        forth = weights.safetensors({"a": vector(1), "b": vector(2)})
        back = weights.safetensors({"b": vector(2), "a": vector(1)})
        self.assertEqual(forth, back)


class Names(unittest.TestCase):
    def test_both_lists_have_the_published_number_of_parameters(self):
        for name, millions in (("mobilenetv2_100", 2.26), ("tf_efficientnet_lite0", 4.69)):
            size = sum(math.prod(shape) for _, shape in weights.timm_names(name))
            self.assertAlmostEqual(size / 1e6, millions, delta=0.01)

    def test_tensors_take_timms_names_and_counters_are_dropped(self):
        written = weights._convert(network(), "mobilenetv2_100")
        (length,) = struct.unpack_from("<Q", written)
        header = json.loads(written[8 : 8 + length])
        expected = [name for name, _ in weights.timm_names("mobilenetv2_100")]
        self.assertEqual(set(header) - {"__metadata__"}, set(expected))

    def test_a_tensor_of_another_shape_is_refused(self):
        def widen(shapes):
            shapes[0] = (32, 4, 3, 3)

        with self.assertRaisesRegex(SetupError, "conv_stem.weight should be"):
            weights._convert(network(widen), "mobilenetv2_100")

    def test_a_missing_tensor_is_refused(self):
        with self.assertRaisesRegex(SetupError, "259 tensors where timm has 260"):
            weights._convert(network(lambda shapes: shapes.pop()), "mobilenetv2_100")


if __name__ == "__main__":
    unittest.main()
