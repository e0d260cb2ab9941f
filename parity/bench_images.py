"""The pixel cache against Pillow, torchvision and torch's DataLoader on the same JPEG files.

    bench_images.py COMMAND...

COMMAND times the cache (crates/temper-data/examples/bench_pixels.rs) and gets the folder of images, a
cache folder and the size appended. The peer decodes and resizes each image on as many worker processes
as the cache has threads, and hands out batches of bytes. Both are timed in turn, and what counts is
the median of each pair's ratio. Last line: `bench-pixels: ok build_ratio=... read_ratio=...`.
"""

import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time

from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

PHOTOS = pathlib.Path(__file__).parent.parent / ".local/mirror/photos/imagenet"
IMAGES, SIZE, PAIRS, BATCH = 1500, 224, 5, 64
WORKERS = len(os.sched_getaffinity(0))
NEEDED_BUILD, NEEDED_READ = 1.0, 10.0


class Photos(Dataset):
    def __init__(self, folder):
        self.paths = sorted(folder.iterdir())
        self.transform = transforms.Compose(
            [transforms.Resize((SIZE, SIZE)), transforms.PILToTensor()]
        )

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        with Image.open(self.paths[index]) as image:
            return self.transform(image.convert("RGB"))


def make_images(folder):
    """Crops of 300 to 500 pixels a side of the photos, coded as photos are (4:2:0)."""
    photos = [Image.open(path).convert("RGB") for path in sorted(PHOTOS.glob("*.jpg"))]
    draw = random.Random(1)
    for n in range(IMAGES):
        photo = photos[n % len(photos)]
        width, height = draw.randint(300, 500), draw.randint(300, 500)
        left = draw.randint(0, photo.width - width)
        top = draw.randint(0, photo.height - height)
        crop = photo.crop((left, top, left + width, top + height))
        crop.save(folder / f"{n:05}.jpg", quality=90)


def peer_seconds(folder):
    """An epoch of the DataLoader, its processes started and warm before the clock runs."""
    loader = DataLoader(
        Photos(folder), BATCH, num_workers=WORKERS, persistent_workers=True, prefetch_factor=4
    )
    sum(1 for _ in DataLoader(Photos(folder), BATCH, sampler=range(BATCH)))
    start = time.perf_counter()
    images = sum(len(batch) for batch in loader)
    seconds = time.perf_counter() - start
    assert images == IMAGES
    return seconds


def cache_seconds(command, root):
    with tempfile.TemporaryDirectory(dir=root) as cache:
        run = subprocess.run(
            [*command, root, cache, str(SIZE)], check=True, stdout=subprocess.PIPE, text=True
        )
    return json.loads(run.stdout.splitlines()[-1])


def main():
    if not PHOTOS.is_dir():
        return "no photos: run `make setup`"
    with tempfile.TemporaryDirectory() as root:
        folder = pathlib.Path(root, "photos/train/all")
        folder.mkdir(parents=True)
        make_images(folder)
        other = pathlib.Path(root, "photos/test/all")
        other.mkdir(parents=True)
        (other / "00000.jpg").write_bytes((folder / "00000.jpg").read_bytes())
        build, read, opened, rates = [], [], [], []
        for pair in range(PAIRS):
            peer = peer_seconds(folder)
            ours = cache_seconds(sys.argv[1:], root)
            build.append(peer / ours["build"])
            read.append(ours["decode"] / (ours["open"] + ours["read"]))
            opened.append(ours["open"] * 1000)
            rates.append(IMAGES / ours["build"])
            print(
                f"pair {pair + 1}: build {IMAGES / ours['build']:.0f} images/s, "
                f"peer {IMAGES / peer:.0f}; decode {IMAGES / ours['decode']:.0f}, "
                f"read {IMAGES / ours['read']:.0f}, open {opened[-1]:.1f} ms",
                flush=True,
            )
    build, read = statistics.median(build), statistics.median(read)
    figures = (
        f"build_ratio={build:.2f} read_ratio={read:.0f} open_ms={statistics.median(opened):.1f} "
        f"images_per_second={statistics.median(rates):.0f} workers={WORKERS} size={SIZE} images={IMAGES}"
    )
    if build < NEEDED_BUILD or read < NEEDED_READ:
        return f"{figures}: wanted build_ratio >= {NEEDED_BUILD} and read_ratio >= {NEEDED_READ}"
    print(f"bench-pixels: ok {figures}")
    return None


if __name__ == "__main__":
    failure = main()
    if failure:
        print(f"bench-pixels: FAILED {failure}")
        sys.exit(1)
