"""Files that are on the disk and not in the page cache, and who has read them from there.

evict(directory)                   drops all pages of the files in it
with nothing_read_by_this_thread():
    log.read(0, wait=False)
bytes_read_in_thread(look_up)      what another thread had to read from the disk for it
"""

import os
import platform
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kstore._native import _os

ATTEMPTS = 2000
LINUX = tuple(int(part) for part in platform.release().split("-")[0].split(".")[:2])


def evict(directory: Path | str) -> None:
    """Writes the files of a directory and of those in it to the disk, and drops their pages."""
    for path in sorted(Path(directory).rglob("*")):
        if path.is_file():
            evict_file(path)


def evict_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(descriptor).st_size
        for _ in range(ATTEMPTS):
            os.fsync(descriptor)  # whatever is dirty is not dropped
            _os.drop_cached(descriptor, 0, 0)
            if not _os.cached_pages(descriptor, 0, size):
                return
            time.sleep(0.005)  # a page is held by somebody for a moment
    finally:
        os.close(descriptor)
    raise AssertionError(f"pages of {path} stay in the page cache")


def read_page(path: Path, position: int) -> bool:
    """Brings in the page of a file that holds a position, and no other; False if it is there already."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        if _os.cached_pages(descriptor, position, 1):
            return False
        return os.pread(descriptor, 1, position) != b""
    finally:
        os.close(descriptor)


def read_one_more_page(*paths: Path) -> None:
    """Brings in the first page of these files that is not cached."""
    pages = ((path, position) for path in paths for position in range(0, path.stat().st_size, _os.PAGE_SIZE))
    assert any(read_page(path, position) for path, position in pages), "all of them are cached"


def bytes_read() -> int:
    """What this thread has had read from disks so far."""
    with open("/proc/thread-self/io") as counters:
        return next(int(line.split()[1]) for line in counters if line.startswith("read_bytes:"))


@contextmanager
def nothing_read_by_this_thread() -> Iterator[None]:
    before = bytes_read()
    yield
    assert bytes_read() == before, "this thread has waited for a disk"


def bytes_read_in_thread(do: Callable[[], object]) -> int:
    """Does it in another thread; what that had to read from disks."""
    found: list[int] = []

    def run() -> None:
        before = bytes_read()
        do()
        found.append(bytes_read() - before)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    (size,) = found
    return size


def why_nothing_gets_cold(directory: Path) -> str | None:
    """What keeps cold files from being made or told apart in a directory."""
    if LINUX < (6, 5):
        return "before Linux 6.5 asking for a page that is not cached begins to read it"
    probe = directory / "probe"
    probe.write_bytes(os.urandom(1 << 16))
    try:
        evict_file(probe)
        size = bytes_read_in_thread(probe.read_bytes)
    except (AssertionError, OSError) as error:
        return str(error)
    finally:
        probe.unlink()
    return None if size else "reads are not counted"


@pytest.fixture
def cold_path(tmp_path: Path) -> Path:
    """As `tmp_path`, on a disk whose pages can be dropped."""
    reason = why_nothing_gets_cold(tmp_path)
    if reason is not None:
        pytest.skip(f"files in {tmp_path} do not get cold: {reason}")
    return tmp_path
