"""Small programs in a Python of their own."""

import subprocess
import sys
from pathlib import Path


def run_program(source: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    """Runs `source`, which may fail; its warnings are errors of its own to look at."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", source, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=root,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done
