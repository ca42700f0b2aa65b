"""Indexes and logs whose pages are on the disk only, asked by somebody who must not wait (`wait=False`)."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kstore._native import _os
from kstore._native.index import OffsetIndex, TimeIndex
from kstore._native.records import FileRecords
from kstore.errors import NotCachedError
from tests._native.batches import make_batch
from tests._native.test_index import (
    BASE,
    MAX_BYTES,
    entries_of,
    filled_offsets,
    filled_times,
    offset_entries,
    time_entries,
)
from tests.fix_cold import bytes_read_in_thread, evict_file, nothing_read_by_this_thread, read_one_more_page, read_page

ENTRIES = 20_000


def refuses(call: Callable[[], object]) -> bool:
    """Whether a call says that it would have to wait, and has not waited."""
    with nothing_read_by_this_thread():
        try:
            result = call()
            if isinstance(result, Iterator):
                next(result)
        except NotCachedError:
            return True
    return False


def cold_indexes(directory: Path) -> tuple[OffsetIndex, TimeIndex]:
    paths = directory / "offsets", directory / "times"
    filled_offsets(paths[0], ENTRIES).close()
    filled_times(paths[1], ENTRIES).close()
    for path in paths:
        evict_file(path)
    return OffsetIndex(paths[0], BASE, MAX_BYTES, False), TimeIndex(paths[1], BASE, MAX_BYTES, False)


def test_cold_indexes_do_not_make_their_reader_wait(cold_path: Path) -> None:
    offsets, times = cold_indexes(cold_path)
    calls: list[tuple[Callable[..., object], Callable[[], object]]] = [
        (lambda wait: offsets.sanity_check(100 * ENTRIES + 50, wait=wait), lambda: evict_file(cold_path / "offsets")),
        (lambda wait: offsets.lookup(BASE + 3, wait), lambda: evict_file(cold_path / "offsets")),
        (lambda wait: offsets.fetch_upper_bound(0, 10_000, wait=wait), lambda: evict_file(cold_path / "offsets")),
        (lambda wait: times.sanity_check(wait=wait), lambda: evict_file(cold_path / "times")),
        (lambda wait: times.lookup(5007, wait), lambda: evict_file(cold_path / "times")),
    ]
    for call, evict in calls:
        evict()
        assert refuses(lambda call=call: call(False))  # type: ignore[misc]
        expected = call(True)
        with nothing_read_by_this_thread():
            assert call(False) == expected


def test_index_that_was_tried_in_vain_is_whole(cold_path: Path) -> None:
    offsets, times = cold_indexes(cold_path)
    attempts = 0
    for path, index, target in ((cold_path / "offsets", offsets, BASE + 30_000), (cold_path / "times", times, 75_000)):
        while refuses(lambda index=index, target=target: index.lookup(target, False)):  # type: ignore[misc]
            attempts += 1
            read_one_more_page(path)
    assert attempts > 40, "each attempt has come one page further"
    assert entries_of(offsets) == offset_entries(ENTRIES)
    assert entries_of(times) == time_entries(ENTRIES)


def test_append_does_not_wait_for_what_only_searches_need(cold_path: Path) -> None:
    path = cold_path / "offsets"
    filled_offsets(path, ENTRIES).close()
    index = OffsetIndex(path, BASE, MAX_BYTES)
    assert index.entries == ENTRIES
    evict_file(path)
    # The kernel reads a page that is written to in part; the last one of a file in use is there.
    read_page(path, path.stat().st_size - 1)
    with nothing_read_by_this_thread():
        for offset, position in offset_entries(3 * ENTRIES, ENTRIES):
            index.append(offset, position)
    assert entries_of(index) == offset_entries(4 * ENTRIES)
    for offset, position in offset_entries(4 * ENTRIES)[::997]:
        assert index.lookup(offset) == (offset, position)
    index.close()
    assert entries_of(OffsetIndex(path, BASE, MAX_BYTES)) == offset_entries(4 * ENTRIES)


def test_cold_log_does_not_make_its_reader_wait(cold_path: Path) -> None:
    path = cold_path / "log"
    with path.open("wb") as file:
        for number in range(40):
            file.write(make_batch(10, size=2_000, timestamp=100 * number, base_offset=10 * number))
    log = FileRecords(path, writable=False)
    piece = log.slice(0, log.size_in_bytes)
    calls: list[Callable[..., object]] = [
        lambda wait: log.search_for_offset(200, wait=wait),
        lambda wait: log.search_for_timestamp(2_000, wait=wait),
        lambda wait: [header.position for header in log.batch_headers(wait=wait)],
        lambda wait: [header.position for header in piece.batch_headers(wait=wait)],
    ]
    for call in calls:
        evict_file(path)
        assert refuses(lambda call=call: call(False))  # type: ignore[misc]
        assert bytes_read_in_thread(lambda call=call: call(True)) > 0  # type: ignore[misc]
        with nothing_read_by_this_thread():
            found = call(False)
        assert found == call(True)


def test_batch_whose_records_are_cold_is_not_waited_for(cold_path: Path) -> None:
    path = cold_path / "log"
    path.write_bytes(make_batch(10, size=100_000))
    log = FileRecords(path, writable=False)
    evict_file(path)
    read_one_more_page(path)
    assert log.search_for_offset(3, wait=False) is not None, "its header is there"
    assert refuses(lambda: log.search_for_timestamp(1_000, wait=False))


def test_files_are_opened_without_asking_the_disk_for_their_names(cold_path: Path) -> None:
    path = cold_path / "log"
    path.write_bytes(make_batch())
    log = FileRecords(path, writable=False)
    assert not log.is_open
    assert log.search_for_offset(0, wait=False) is not None
    nothing = cold_path / "nothing"
    assert refuses(lambda: OffsetIndex(nothing, 0, MAX_BYTES, False).lookup(1, False)), "nobody has looked yet"
    assert not nothing.exists()
    with pytest.raises(FileNotFoundError):
        OffsetIndex(nothing, 0, MAX_BYTES, False).lookup(1, False)
    os.symlink(path, cold_path / "link")
    with pytest.raises(OSError, match="symbolic links"):
        OffsetIndex(cold_path / "link", 0, MAX_BYTES, False).lookup(1, False)


def test_one_cold_page_in_the_middle_of_a_slice_is_noticed(cold_path: Path) -> None:
    path = cold_path / "log"
    path.write_bytes(os.urandom(1 << 20))
    log = FileRecords(path, writable=True)
    evict_file(path)
    descriptor = os.open(path, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
    hole = 100 * 4096
    os.pread(descriptor, hole, 0)
    os.pread(descriptor, 1 << 20, hole + 4096)
    assert not _os.cached_pages(descriptor, hole, 1)
    os.close(descriptor)
    assert not log.slice(0, 1 << 20).is_cached()
    assert not log.slice(hole - 10, 4096).is_cached()
    assert log.slice(0, hole).is_cached()
    assert log.slice(hole + 4096, 1 << 20).is_cached()
    log.slice(0, 1 << 20).warm(0, 1 << 20)
    assert log.slice(0, 1 << 20).is_cached()
