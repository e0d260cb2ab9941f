"""Squares as Pillow and torchvision make them, for the tests of temper-data.

Writes image files of every kind that is read (inputs) and what a torchvision dataset with
`Resize((64, 64))` makes of them (expected), beside what it makes of the photos of the mirror.
"""

import io
import pathlib

import numpy
from PIL import Image
from torchvision import transforms

ROOT = pathlib.Path(__file__).parent.parent
PHOTOS = ROOT / ".local/mirror/photos/imagenet"
OUT = ROOT / "crates/temper-data/tests/fixtures/pixels"
SIZE, LARGE = 64, 224


def photo(number, box):
    (path,) = PHOTOS.glob(f"imagenet_{number:02d}_*.jpg")
    return Image.open(path).convert("RGB").crop(box)


def saved(image, kind, **options):
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def jpegs():
    box = (140, 100, 340, 251)
    image = photo(3, box)
    for name, subsampling in (("444", 0), ("422", 1), ("420", 2)):
        yield f"jpeg_{name}.jpg", saved(image, "JPEG", subsampling=subsampling, quality=80)
    yield "jpeg_progressive.jpg", saved(image, "JPEG", progressive=True, quality=80)
    yield "jpeg_grey.jpg", saved(image.convert("L"), "JPEG", quality=80)
    yield "jpeg_cmyk.jpg", saved(image.convert("CMYK"), "JPEG", quality=50)
    yield "jpeg_odd_sizes.jpg", saved(photo(5, (11, 30, 142, 97)), "JPEG", quality=90)
    yield "jpeg_smaller_than_the_square.jpg", saved(photo(7, (200, 200, 241, 223)), "JPEG")
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    yield "jpeg_exif.jpg", saved(image, "JPEG", exif=exif, quality=70)


def lossless():
    image = photo(9, (200, 200, 272, 260))
    alpha = image.copy()
    alpha.putalpha(Image.linear_gradient("L").resize(image.size))
    deep = numpy.asarray(image.crop((0, 0, 40, 48)), dtype=numpy.uint16) * 257 + 100
    yield "png_rgb.png", saved(image, "PNG")
    yield "png_grey.png", saved(image.convert("L"), "PNG")
    yield "png_one_bit.png", saved(image.convert("1"), "PNG")
    yield "png_palette.png", saved(image.quantize(64), "PNG")
    yield "png_palette_transparent.png", saved(image.quantize(64), "PNG", transparency=3)
    yield "png_alpha.png", saved(alpha, "PNG")
    yield "png_grey_alpha.png", saved(alpha.convert("LA"), "PNG")
    yield "png_sixteen_bits.png", png16(numpy.minimum(deep, 65535))
    yield "webp_lossless.webp", saved(image, "WEBP", lossless=True)
    yield "webp_lossless_alpha.webp", saved(alpha, "WEBP", lossless=True, exact=True)
    yield "webp_lossy.webp", saved(photo(3, (140, 100, 340, 251)), "WEBP", quality=80)
    frames = [image, image.rotate(180)]
    yield "webp_animated.webp", saved(
        frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True
    )


def png16(values):
    """Pillow writes no 16-bit colour: by hand, filter 0 throughout."""
    import struct
    import zlib

    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def expected(data, size):
    with Image.open(io.BytesIO(data)) as image:
        return transforms.Resize((size, size))(image.convert("RGB"))


def main():
    inputs = OUT / "inputs"
    inputs.mkdir(parents=True, exist_ok=True)
    (OUT / "expected").mkdir(exist_ok=True)

    def write(name, data, size=SIZE):
        square = expected(data, size)
        square.save(OUT / "expected" / f"{name}.{size}.png", optimize=True)

    for name, data in [*jpegs(), *lossless()]:
        (inputs / name).write_bytes(data)
        write(name, data)
    photos = sorted(PHOTOS.glob("*.jpg"))
    for path in photos[:8]:
        write(path.name, path.read_bytes())
    write(photos[0].name, photos[0].read_bytes(), LARGE)


if __name__ == "__main__":
    main()
