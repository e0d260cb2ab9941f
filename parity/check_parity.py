"""Attacks and trainings of temper-torch against their Python peers: `make parity`.

usage: check_parity.py PARITY_ATTACKS TRAINING SCRATCH: the built examples, and a folder for one case at a time. The last
line is `parity: ok KEY=DIFFERENCE ...`, the largest of each kind, or `parity: FAILED reason`.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import check_attacks
import check_training
from peer import Disagreement


def main(attacks: str, training: str, scratch: str) -> int:
    shutil.rmtree(scratch, ignore_errors=True)
    Path(scratch).mkdir(parents=True)
    tolerances = {**check_attacks.TOLERANCES, **check_training.TOLERANCES}
    try:
        found = check_attacks.figures(Path(attacks), Path(scratch))
        found |= check_training.figures(Path(training), Path(scratch))
    except Disagreement as disagreement:
        print(f"parity: FAILED {disagreement}")
        return 1
    told = " ".join(f"{name}={value:.1e}" if value else f"{name}=0" for name, value in found.items())
    # Not above rather than below or equal: what is no number fails.
    failed = [f"{name} above {bar:g}" for name, bar in tolerances.items() if not found[name] <= bar]
    print(f"parity: FAILED {', '.join(failed)}: {told}" if failed else f"parity: ok {told}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
