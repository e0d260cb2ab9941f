"""What the checks of `deploy/` share: programs, complaints, and the variables that Temper's programs read."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Iterable, List, Sequence, Set

CHECKOUT = Path(__file__).resolve().parents[2]
# As clap's attributes name them, and those that are read by hand.
VARIABLE = re.compile(r'(?:env\s*=\s*|: &str = |var(?:_os)?\()"(TEMPER_[A-Z_]+)"')


class Complaints:
    """Everything that is wrong, told at once."""

    def __init__(self) -> None:
        self.said: List[str] = []

    def demand(self, holds: bool, complaint: str) -> None:
        """Notes `complaint` unless it holds."""
        if not holds:
            self.said.append(complaint)

    def verdict(self, what: str) -> int:
        """Prints them, or what was looked at; the exit status."""
        for complaint in self.said:
            print(complaint, file=sys.stderr)
        if not self.said:
            print(what)
        return 1 if self.said else 0


def run(command: Sequence[object]) -> "subprocess.CompletedProcess[str]":
    """Runs a program in the checkout, and returns what it wrote and its status."""
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=CHECKOUT, capture_output=True, text=True, check=False)


def variables() -> Set[str]:
    """The variables of Temper's own that its programs read, from their sources."""
    sources = (CHECKOUT / "crates").glob("*/src/**/*.rs")
    found: Set[str] = set()
    for source in sources:
        found.update(VARIABLE.findall(source.read_text(encoding="utf-8")))
    return found


def unknown(names: Iterable[str]) -> List[str]:
    """Those of `names` that are Temper's by their look, and that no program reads."""
    known = variables()
    return sorted({name for name in names if name.startswith("TEMPER_") and name not in known})
