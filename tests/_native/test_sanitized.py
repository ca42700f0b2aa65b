"""`make sanitize` tests what it means to test."""

import os
import subprocess
import sys
from pathlib import Path

from kstore._native import batch

SANITIZED = os.environ.get("KSTORE_SANITIZED")


def test_the_modules_under_test_are_those_of_this_run() -> None:
    root = Path(__file__).resolve().parents[2]
    assert Path(batch.__file__).parent == root / (SANITIZED or ".") / "kstore" / "_native"
    maps = Path("/proc/self/maps").read_text()
    assert ("libasan" in maps) == (SANITIZED is not None)


if SANITIZED:

    def test_the_sanitizer_is_awake() -> None:
        """Reads behind a heap block through ctypes, in a child, and expects the child to be stopped."""
        code = "import ctypes; b = ctypes.create_string_buffer(64); ctypes.string_at(ctypes.addressof(b) + 60, 80)"
        child = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
        assert child.returncode != 0
        assert "heap-buffer-overflow" in child.stderr
