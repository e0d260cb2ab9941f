"""What the set-up says, and the one error that it reports without a traceback."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Mapping, Optional, Sequence


class SetupError(Exception):
    """Something a person has to mend; `hint` says how."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def say(subject: str, text: str) -> None:
    """Prints one line about `subject`, at once, so that a long download is announced before it starts."""
    print(f"{subject}: {text}", flush=True)


def run(
    command: Sequence[str],
    hint: str = "",
    purpose: str = "",
    env: Optional[Mapping[str, str]] = None,
    cwd: Optional[Path] = None,
    show: bool = False,
) -> str:
    """Runs `command` and returns its standard output; with `show`, both streams go to the terminal instead.

    A failure is told as `<purpose> failed`, with what the command wrote to its standard error.
    """
    streams = {} if show else {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    try:
        done = subprocess.run(
            command, env=env, cwd=cwd, stdin=subprocess.DEVNULL, text=True, check=False, **streams
        )
    except FileNotFoundError as absent:
        raise SetupError(f"{command[0]} is not installed", hint) from absent
    if done.returncode != 0:
        detail = (done.stderr or "").strip()
        message = f"{purpose or ' '.join(map(str, command))} failed with status {done.returncode}"
        raise SetupError(f"{message}\n{detail}" if detail else message, hint)
    return done.stdout or ""
