"""Writes the dashboards and alert rules, or says which of the committed ones are not what is written here.

usage: python3 deploy/grafana/generate [--check]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Dict, List

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from generate import alerts, curves, fleet, overview, training  # noqa: E402 (the folder is run, not installed)

HOME = Path(__file__).resolve().parents[1]


def files() -> Dict[Path, str]:
    """All that is generated, by where it belongs."""
    made = {f"dashboards/{module.NAME}.json": module.dashboard() for module in (overview, curves, training, fleet)}
    made["provisioning/alerting/temper.json"] = alerts.rules()
    return {HOME / name: json.dumps(content, indent=2, ensure_ascii=False) + "\n" for name, content in made.items()}


def main(arguments: List[str]) -> int:
    """Writes or checks; returns the exit status."""
    if arguments not in ([], ["--check"]):
        sys.exit(__doc__)
    stale = [path for path, text in files().items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if arguments:
        for path in stale:
            print(f"{path.relative_to(HOME)} is not what deploy/grafana/generate makes of it: run it")
        return 1 if stale else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files()[path], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
