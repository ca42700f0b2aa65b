"""A disk that fails under a program that writes."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.disk import Disk, environment_of, why_disks_cannot_fail

pytestmark = pytest.mark.skipif(why_disks_cannot_fail() is not None, reason=str(why_disks_cannot_fail()))

# Says for each line what a change below the directory gives: 0, or the number of the error.
PROGRAM = """
import os, sys
directory = sys.argv[1]
kept = os.open(directory + "/kept", os.O_RDWR | os.O_CREAT)

def number(change):
    try:
        change()
    except OSError as error:
        return error.errno
    return 0

changes = {
    "write": lambda: os.write(kept, b"x"),
    "pwrite": lambda: os.pwrite(kept, b"x", 0),
    "writev": lambda: os.writev(kept, [b"x"]),
    "fsync": lambda: os.fsync(kept),
    "fdatasync": lambda: os.fdatasync(kept),
    "ftruncate": lambda: os.ftruncate(kept, 0),
    "create": lambda: os.close(os.open(directory + "/new", os.O_RDWR | os.O_CREAT)),
    "mkdir": lambda: os.mkdir(directory + "/" + os.urandom(4).hex()),
    "rename": lambda: os.rename(directory + "/new", directory + "/new"),
    "read": lambda: os.pread(kept, 1, 0),
}
for line in sys.stdin:
    print({name: number(change) for name, change in changes.items()}, flush=True)
"""


def test_what_would_change_it_fails_until_it_is_mended_and_reading_goes_on(tmp_path: Path) -> None:
    disk, other = Disk(tmp_path / "data"), Disk(tmp_path / "data-1")
    for each in (disk, other):
        each.directory.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(disk.directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment_of([disk, other])},
    )

    def ask() -> dict[str, int]:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        found: dict[str, int] = eval(process.stdout.readline())
        return found

    try:
        assert set(ask().values()) == {0}
        for number in (errno.EIO, errno.ENOSPC):
            disk.fail(number)
            found = ask()
            assert found.pop("read") == 0
            assert set(found.values()) == {number}
        disk.mend()
        other.fail(errno.EIO)
        assert set(ask().values()) == {0}
    finally:
        process.kill()
        process.communicate()
