"""Looks at made-up reports in a real browser: `make test-report`.

usage: test_report.py [--screenshot FILE]

Each page has to load without a message in the console and without a request but for itself, show every figure with
something drawn in it, and not be wider than the window, at 1280 and at 400 pixels. Its pictures come from the tests of
temper-cli, which write the pages. With --screenshot the top of the first page is kept, for the docs.
The last line is `test-report: ok key=value …` or `test-report: FAILED reason`.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Tuple

from webdriver import Browser

ROOT = Path(__file__).resolve().parent.parent
WIDTHS = (1280, 400)
HEIGHT = 900
PACKAGES = ("chromium", "chromium-driver")
WRITER = "report::tests::samples_are_written_where_they_are_asked_for"
FIGURES = ("curves", "targets", "means", "training", "delays", "hinges")

# Where the colours of series are, and the ink of axes.
STYLE = ROOT / "crates/temper-cli/src/plot/style.rs"
INK = "#222222"
# Every made-up picture has a line, marks or bars for four schedules at least, and a map three cells.
FEWEST_SHAPES, FEWEST_CELLS = 4, 3

# For each figure: its name, how large each picture is, and how much is drawn in it that is data: shapes in the colours
# of series, less those below the axes, which are the legend's, and texts on coloured cells.
LOOK = """
const seen = svg => {
  const box = svg.getBoundingClientRect();
  const all = [...svg.querySelectorAll('path, polyline, polygon, circle, rect, line')];
  const place = element => element.getBoundingClientRect();
  const middle = element => [place(element).left + place(element).width / 2, place(element).top + place(element).height / 2];
  const colour = (element, of) => (element.getAttribute(of) || 'none').toUpperCase();
  const axes = all.filter(shape => colour(shape, 'stroke') === INK);
  const floor = Math.max(...axes.map(shape => place(shape).bottom));
  const drawn = all.filter(shape => PALETTE.includes(colour(shape, 'fill')) || PALETTE.includes(colour(shape, 'stroke')));
  const cells = all.filter(shape => shape.tagName === 'rect' && !['NONE', '#FFFFFF'].includes(colour(shape, 'fill')));
  const on = (text, cell) => {
    const [x, y] = middle(text), edge = place(cell);
    return edge.left < x && x < edge.right && edge.top < y && y < edge.bottom;
  };
  const texts = [...svg.querySelectorAll('text')];
  return {width: box.width, height: box.height, right: box.right, name: svg.getAttribute('aria-label'),
          shapes: drawn.filter(shape => middle(shape)[1] <= floor).length,
          cells: texts.filter(text => cells.some(cell => on(text, cell))).length};
};
const figures = [...document.querySelectorAll('figure')];
return {
  figures: figures.map(f => ({id: f.id, caption: f.querySelector('figcaption').innerText,
                              pictures: [...f.querySelectorAll('svg')].map(seen)})),
  overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  width: document.documentElement.clientWidth,
  text: document.body.innerText,
};
"""


class Failed(Exception):
    """What is not as it should be."""


def main(arguments: List[str]) -> int:
    try:
        figures = test(Path(arguments[1]) if arguments[:1] == ["--screenshot"] else None)
    except (Failed, OSError, RuntimeError, subprocess.CalledProcessError) as failure:
        print(f"test-report: FAILED {failure}")
        return 1
    print(f"test-report: ok figures={figures} widths={len(WIDTHS)}")
    return 0


def test(screenshot: Path | None) -> int:
    """Looks at both pages; returns how many figures there are."""
    programs = browser()
    with tempfile.TemporaryDirectory(prefix="temper-report-") as folder:
        write(Path(folder))
        with Browser(*programs) as opened:
            look(opened, Path(folder) / "empty.html", ())
            look(opened, Path(folder) / "report.html", FIGURES)
            if screenshot:
                keep(opened, Path(folder) / "report.html", screenshot)
    return len(FIGURES)


def browser() -> Tuple[str, str]:
    """Chromium and its driver, installed where they are missing and we may."""
    found = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if not all(found) and os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"test-report: installing {' and '.join(PACKAGES)} by apt", flush=True)
        subprocess.run(["apt-get", "--quiet=2", "update"], check=True)
        install = ["apt-get", "--quiet=2", "--yes", "--no-install-recommends", "install", *PACKAGES]
        subprocess.run(install, check=True, stdout=subprocess.DEVNULL)
        found = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if not all(found):
        raise Failed(f"there is no browser: install Debian's {' and '.join(PACKAGES)}")
    return found[0], found[1]


def write(folder: Path) -> None:
    """Has the pages written."""
    command = ["cargo", "test", "--locked", "--quiet", "--package", "temper-cli", "--bin", "temper"]
    environment = dict(os.environ, TEMPER_REPORT_SAMPLES=str(folder))
    done = subprocess.run(
        [*command, "--", "--exact", WRITER], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode != 0 or not (folder / "report.html").exists():
        raise Failed(f"no page was written\n{done.stdout}")


def palette() -> List[str]:
    """The colours of series, as pictures name them."""
    listed = re.search(r"const COLOURS: .*?\];\n", STYLE.read_text(encoding="utf-8"), re.DOTALL)
    found = re.findall(r"RGBColor\((\d+), (\d+), (\d+)\)", listed.group() if listed else "")
    check(bool(found), f"{STYLE} has no COLOURS")
    return [f"#{int(red):02X}{int(green):02X}{int(blue):02X}" for red, green, blue in found]


def look(opened: Browser, page: Path, figures: Tuple[str, ...]) -> None:
    """Looks at a page at every width."""
    script = f"const PALETTE = {json.dumps(palette())}, INK = {json.dumps(INK)};\n{LOOK}"
    for width in WIDTHS:
        opened.resize(width, HEIGHT)
        opened.log("browser"), opened.requests()
        opened.open(page)
        where = f"{page.name} at {width} pixels"
        seen = opened.run(script)
        said = [entry["message"] for entry in opened.log("browser")]
        check(not said, f"{where}: the console says {said}")
        others = [url for url in opened.requests() if url != page.resolve().as_uri() and not url.startswith("data:")]
        check(not others, f"{where}: it asks for {others}")
        # A vertical scroll bar takes some of it.
        check(width - 20 <= seen["width"] <= width, f"{where}: it is {seen['width']} wide")
        check(seen["overflow"] <= 0, f"{where}: it is {seen['overflow']} pixels too wide")
        names = tuple(figure["id"] for figure in seen["figures"])
        check(sorted(names) == sorted(figures), f"{where}: the figures are {names}")
        check(bool(figures) or "Nothing has finished yet" in seen["text"], f"{where}: it does not say that it is empty")
        for figure in seen["figures"]:
            check_figure(figure, width, where)


def check_figure(figure: Dict[str, Any], width: int, where: str) -> None:
    """Whether a figure shows something."""
    where = f"{where}: {figure['id']}"
    check(bool(figure["caption"].strip()), f"{where} has no caption")
    check(bool(figure["pictures"]), f"{where} has no picture")
    for picture in figure["pictures"]:
        name = f"{where}: {picture['name']!r}"
        check(bool(picture["name"]), f"{name} has no text alternative")
        check(picture["width"] > 200 and picture["height"] > 100, f"{name} is too small: {picture}")
        check(picture["right"] <= width, f"{name} sticks out")
        # A map's colours are no series'.
        drawn, fewest = ("cells", FEWEST_CELLS) if figure["id"] == "hinges" else ("shapes", FEWEST_SHAPES)
        check(picture[drawn] >= fewest, f"{name} has too little data in it: {picture}")


def check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Failed(otherwise)


def keep(opened: Browser, page: Path, screenshot: Path) -> None:
    """Keeps a picture of the page: the beginning of its tables and of its figures."""
    opened.resize(WIDTHS[0], HEIGHT)
    opened.open(page)
    top = opened.run("return document.getElementById('results').getBoundingClientRect().top + window.scrollY - 10;")
    bottom = opened.run("return document.querySelector('#curves .pictures').getBoundingClientRect().top + window.scrollY + 620;")
    clip = {"x": 0, "y": top, "width": WIDTHS[0], "height": bottom - top, "scale": 0.75}
    wanted = {"format": "png", "captureBeyondViewport": True, "clip": clip}
    screenshot.parent.mkdir(parents=True, exist_ok=True)
    screenshot.write_bytes(base64.b64decode(opened.devtools("Page.captureScreenshot", wanted)["data"]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
