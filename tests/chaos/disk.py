"""Disks that fail while brokers use them: made to (failing_disk.c), or small and so soon full (a tmpfs).

disk = Disk(directory)
KstoreServer(..., environment=environment_of([disk]))
disk.fail(errno.EIO)      # what would change anything on it fails from now on
disk.mend()
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.judge.home import cache_directory

SOURCE = Path(__file__).with_name("failing_disk.c")


class Disk:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._flag = directory.with_name(f"{directory.name}.fails")

    def fail(self, error_number: int) -> None:
        staging = self._flag.with_suffix(".staging")
        staging.write_text(str(error_number))
        staging.rename(self._flag)

    def mend(self) -> None:
        self._flag.unlink(missing_ok=True)


def why_disks_cannot_fail() -> str | None:
    return None if sys.platform == "linux" and shutil.which("cc") else "no C compiler (cc)"


def environment_of(disks: Iterable[Disk]) -> dict[str, str]:
    """What a process is given whose disks may fail."""
    return {"LD_PRELOAD": str(library()), "FAILING_DISKS": ":".join(str(disk.directory) for disk in disks)}


def library() -> Path:
    """failing_disk.c, compiled again only when it is newer."""
    compiled = cache_directory() / "failing_disk.so"
    if compiled.exists() and compiled.stat().st_mtime > SOURCE.stat().st_mtime:
        return compiled
    compiled.parent.mkdir(parents=True, exist_ok=True)
    staging = compiled.with_name(f"failing_disk.{os.getpid()}.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(staging), str(SOURCE), "-ldl"], check=True, timeout=60)
    staging.rename(compiled)
    return compiled


def why_no_small_disk() -> str | None:
    return None if os.geteuid() == 0 else "only root mounts a tmpfs"


@contextmanager
def small_disk(directory: Path, mebibytes: int) -> Iterator[Path]:
    """A file system of its own at `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(directory)], check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)
