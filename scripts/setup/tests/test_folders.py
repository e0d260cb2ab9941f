"""The cache folder, the links and the mirror."""

import hashlib
import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import libtorch
import mirror
from cache import Layout, building, replace_link
from console import SetupError


class InFolder(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.root = Path(holder.name)
        self.layout = Layout(self.root / "cache", self.root / "local")


class Folders(InFolder):
    def test_a_folder_that_failed_half_way_never_bears_its_name(self):
        with self.assertRaises(RuntimeError), building(self.root / "made") as part:
            (part / "half").touch()
            raise RuntimeError
        self.assertFalse((self.root / "made").exists())

    def test_a_second_try_starts_afresh_and_succeeds(self):
        (self.root / "made.part").mkdir()
        (self.root / "made.part" / "stale").touch()
        with building(self.root / "made") as part:
            (part / "whole").touch()
        self.assertEqual(os.listdir(self.root / "made"), ["whole"])

    def test_a_link_moves_and_leaves_nothing_behind(self):
        for target in ("one", "two"):
            replace_link(self.root / "link", self.root / target)
        self.assertEqual(os.readlink(self.root / "link"), str(self.root / "two"))
        self.assertEqual(os.listdir(self.root), ["link"])

    def test_a_real_file_in_the_links_place_is_kept(self):
        (self.root / "link").write_text("precious")
        with self.assertRaisesRegex(SetupError, "in the way"):
            replace_link(self.root / "link", self.root / "target")


class Mirror(InFolder):
    def setUp(self):
        super().setUp()
        manifest = self.root / "manifest"
        digest = hashlib.sha256(b"weights").hexdigest()
        manifest.write_text(f"{digest} 7 models/a/b/model.safetensors\n")
        patch = mock.patch.object(mirror, "MANIFEST", manifest)
        patch.start()
        self.addCleanup(patch.stop)

    def put(self, folder: Path, content: bytes) -> Path:
        path = folder / "models" / "a" / "b" / "model.safetensors"
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        return path

    def test_an_absent_file_is_missing(self):
        self.assertEqual(len(mirror.missing(self.layout, "models/a")), 1)

    def test_a_file_in_a_folder_of_the_users_is_not_fetched(self):
        self.put(self.root / "theirs", b"weights")
        with mock.patch.dict(os.environ, TEMPER_MIRROR=f"/nowhere:{self.root / 'theirs'}"):
            self.assertEqual(mirror.missing(self.layout, "models/a"), [])

    def test_a_file_of_theirs_with_other_content_does_not_count(self):
        self.put(self.root / "theirs", b"WEIGHTS")
        with mock.patch.dict(os.environ, TEMPER_MIRROR=str(self.root / "theirs")):
            self.assertEqual(len(mirror.missing(self.layout, "models/a")), 1)

    def test_a_file_that_is_not_the_pinned_one_is_removed(self):
        path = self.put(self.layout.mirror, b"WEIGHTS")
        with self.assertRaisesRegex(SetupError, "not the file that was pinned"):
            mirror.entries("models/a")[0].check(self.layout.mirror)
        self.assertFalse(path.exists())


class OwnLibtorch(InFolder):
    def prepare(self):
        with mock.patch.dict(os.environ, LIBTORCH=str(self.root), LIBTORCH_USE_PYTORCH="0"):
            return libtorch.prepare(self.layout)

    def test_the_right_release_is_taken_as_it_is(self):
        (self.root / "build-version").write_text("2.13.0+cu130\n")
        self.assertEqual(self.prepare(), str(self.root))
        self.assertFalse(self.layout.local.exists())

    def test_another_release_is_refused(self):
        (self.root / "build-version").write_text("2.12.1\n")
        with self.assertRaisesRegex(SetupError, "is libtorch 2.12.1, wanted is 2.13.0"):
            self.prepare()


if __name__ == "__main__":
    unittest.main()
