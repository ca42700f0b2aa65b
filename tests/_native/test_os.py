"""The OS calls that Python lacks do what they say."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kstore._native import _os


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 40 * _os.PAGE_SIZE)
    with path.open("r+b") as opened:
        yield opened.fileno()


def size_and_blocks(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_size, status.st_blocks * 512


def test_preallocation_reserves_blocks_and_keeps_the_length(file: int) -> None:
    _os.preallocate(file, 0, 1 << 20)
    size, allocated = size_and_blocks(file)
    assert size == 40 * _os.PAGE_SIZE
    assert allocated >= 1 << 20


def test_a_hole_reads_as_zeros(file: int, tmp_path: Path) -> None:
    _os.punch_hole(file, 0, 8 * _os.PAGE_SIZE)
    data = (tmp_path / "file").read_bytes()
    assert data == bytes(8 * _os.PAGE_SIZE) + b"x" * 32 * _os.PAGE_SIZE


def test_writeback_of_a_range_is_started_and_awaited(file: int) -> None:
    _os.start_writeback(file, 0, 0)
    _os.wait_for_writeback(file, 0, 10 * _os.PAGE_SIZE)


def test_cached_pages_are_counted(file: int) -> None:
    _os.wait_for_writeback(file, 0, 0)
    _os.read_ahead(file, 0, 40 * _os.PAGE_SIZE)
    assert _os.cached_pages(file, 0, 40 * _os.PAGE_SIZE) == 40
    assert _os.cached_pages(file, _os.PAGE_SIZE + 5, _os.PAGE_SIZE) == 2
    assert _os.cached_pages(file, 5, 0) == 0


def test_refusals_are_os_errors() -> None:
    for call in (_os.preallocate, _os.punch_hole, _os.start_writeback, _os.read_ahead, _os.cached_pages):
        with pytest.raises(OSError, match="Bad file descriptor"):
            call(-1, 0, 10)
