"""OffsetIndex and TimeIndex: held against a plain list, through appends, cuts, write-behind and reopening."""

import os
import struct
from bisect import bisect_right
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kstore._native.index import OffsetIndex, TimeIndex
from kstore.errors import CorruptIndexError
from tests._native.test_records import files_limited_to

BASE = 1000
MAX_BYTES = 10 << 20
SIZES = st.sampled_from([0, 1, 2, 100, 511, 512, 513, 1024, 4000])
WITH_FILES = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def offset_path(tmp_path: Path) -> Path:
    return tmp_path / "00000000000000001000.index"


@pytest.fixture
def time_path(tmp_path: Path) -> Path:
    return tmp_path / "00000000000000001000.timeindex"


def offset_entries(count: int, start: int = 0) -> list[tuple[int, int]]:
    return [(BASE + 3 * i + 3, 100 * i + 50) for i in range(start, start + count)]


def time_entries(count: int, start: int = 0) -> list[tuple[int, int]]:
    return [(5000 + 7 * i, BASE + 3 * i) for i in range(start, start + count)]


def filled_offsets(path: Path, count: int) -> OffsetIndex:
    index = OffsetIndex(path, BASE, MAX_BYTES)
    for offset, position in offset_entries(count):
        index.append(offset, position)
    return index


def filled_times(path: Path, count: int) -> TimeIndex:
    index = TimeIndex(path, BASE, MAX_BYTES)
    for timestamp, offset in time_entries(count):
        assert index.maybe_append(timestamp, offset)
    return index


def entries_of(index: OffsetIndex | TimeIndex) -> list[tuple[int, int]]:
    return [index.entry(n) for n in range(index.entries)]


# Offset index


def test_files_hold_kafkas_entries(offset_path: Path, time_path: Path) -> None:
    filled_offsets(offset_path, 2).close()
    filled_times(time_path, 2).close()
    assert offset_path.read_bytes() == struct.pack(">iiii", 3, 50, 6, 150)
    assert time_path.read_bytes() == struct.pack(">qiqi", 5000, 0, 5007, 3)


def test_an_empty_index_leads_to_the_start(offset_path: Path, time_path: Path) -> None:
    index = OffsetIndex(offset_path, BASE, MAX_BYTES)
    assert offset_path.exists()
    assert (index.entries, index.last_offset, index.lookup(BASE + 7)) == (0, BASE, (BASE, 0))
    assert index.fetch_upper_bound(0, 10) is None
    times = TimeIndex(time_path, BASE, MAX_BYTES)
    assert (times.last_entry, times.lookup(99)) == ((-1, BASE), (-1, BASE))


@given(SIZES, st.booleans(), st.lists(st.integers(-10, 13_000), max_size=20))
@WITH_FILES
def test_look_ups_find_what_a_list_finds(tmp_path: Path, count: int, reopened: bool, targets: list[int]) -> None:
    (tmp_path / "i").unlink(missing_ok=True)
    (tmp_path / "t").unlink(missing_ok=True)
    index, times = filled_offsets(tmp_path / "i", count), filled_times(tmp_path / "t", count)
    if reopened:
        index.close()
        times.close()
        index = OffsetIndex(tmp_path / "i", BASE, MAX_BYTES, writable=False)
        times = TimeIndex(tmp_path / "t", BASE, MAX_BYTES, writable=False)
    offsets, timestamps = offset_entries(count), time_entries(count)
    assert (index.entries, times.entries) == (count, count)
    for target in targets:
        n = bisect_right(offsets, (BASE + target, 2**31))
        assert index.lookup(BASE + target) == (offsets[n - 1] if n else (BASE, 0))
        n = bisect_right(timestamps, (5000 + target, 2**63))
        assert times.lookup(5000 + target) == (timestamps[n - 1] if n else (-1, BASE))
        position, size = 37 * max(0, target), 500
        later = [entry for entry in offsets if entry[1] >= position + size]
        assert index.fetch_upper_bound(position, size) == (later[0] if later else None)


@given(SIZES, st.lists(st.integers(0, 12_500), min_size=1, max_size=5), st.booleans(), st.integers(0, 600))
@WITH_FILES
def test_cutting_and_going_on_is_as_with_a_list(
    tmp_path: Path, count: int, cuts: list[int], flushed: bool, more: int
) -> None:
    (tmp_path / "i").unlink(missing_ok=True)
    (tmp_path / "t").unlink(missing_ok=True)
    index, times = filled_offsets(tmp_path / "i", count), filled_times(tmp_path / "t", count)
    offsets, timestamps = offset_entries(count), time_entries(count)
    for cut in cuts:
        if flushed:
            index.flush(sync=False)
            times.flush(sync=False)
            index.lookup(BASE + cut)
            times.lookup(cut)
        index.truncate_to(BASE + cut)
        times.truncate_to(BASE + cut)
        offsets = [entry for entry in offsets if entry[0] < BASE + cut]
        timestamps = [entry for entry in timestamps if entry[1] < BASE + cut]
        assert index.last_offset == (offsets[-1][0] if offsets else BASE)
        assert times.last_entry == (timestamps[-1] if timestamps else (-1, BASE))
        for offset, position in offset_entries(more, len(offsets)):
            index.append(offset, position)
            offsets.append((offset, position))
        for timestamp, offset in time_entries(more, len(timestamps)):
            times.maybe_append(timestamp, offset)
            timestamps.append((timestamp, offset))
    assert entries_of(index) == offsets
    assert entries_of(times) == timestamps
    index.close()
    times.close()
    assert entries_of(OffsetIndex(tmp_path / "i", BASE, MAX_BYTES, writable=False)) == offsets
    assert entries_of(TimeIndex(tmp_path / "t", BASE, MAX_BYTES, writable=False)) == timestamps


@pytest.mark.parametrize("offset", [BASE - 1, BASE + 6, BASE + 2**31])
def test_offsets_that_do_not_rise_or_fit_are_refused(offset_path: Path, offset: int) -> None:
    index = filled_offsets(offset_path, 2)
    with pytest.raises(ValueError, match="offset"):
        index.append(offset, 10_000)
    assert index.entries == 2


@pytest.mark.parametrize("position", [-1, 2**31])
def test_positions_that_do_not_fit_are_refused(offset_path: Path, position: int) -> None:
    with pytest.raises(ValueError, match="position"):
        filled_offsets(offset_path, 1).append(BASE + 100, position)


def test_a_full_index_takes_no_more(offset_path: Path) -> None:
    index = OffsetIndex(offset_path, BASE, 20)  # room for two entries and a bit
    assert index.max_entries == 2
    index.append(BASE + 1, 1)
    assert not index.is_full
    index.append(BASE + 2, 2)
    assert index.is_full
    with pytest.raises(ValueError, match="is full"):
        index.append(BASE + 3, 3)
    index.resize(24)
    index.append(BASE + 3, 3)


def test_the_last_slot_of_a_time_index_is_kept_for_the_roll(time_path: Path) -> None:
    times = TimeIndex(time_path, BASE, 36)
    times.maybe_append(1, BASE + 1)
    assert not times.is_full
    times.maybe_append(2, BASE + 2)
    assert times.is_full
    with pytest.raises(ValueError, match="is full"):
        times.maybe_append(3, BASE + 3)
    assert times.maybe_append(3, BASE + 3, skip_full_check=True)


def test_time_entries_never_go_back(time_path: Path) -> None:
    times = filled_times(time_path, 3)
    assert not times.maybe_append(5014, BASE + 50)  # the same time says nothing new
    with pytest.raises(ValueError, match="timestamp"):
        times.maybe_append(5013, BASE + 50)
    with pytest.raises(ValueError, match="offset"):
        times.maybe_append(9999, BASE + 5)
    assert times.maybe_append(9999, BASE + 6)
    assert times.last_offset == BASE + 6


def test_closed_and_read_only_indexes_are_not_written(offset_path: Path, time_path: Path) -> None:
    index = filled_offsets(offset_path, 2)
    index.close()
    with pytest.raises(ValueError, match="is closed"):
        index.append(BASE + 100, 1000)
    index = OffsetIndex(offset_path, BASE, MAX_BYTES, writable=False)
    times = TimeIndex(filled_times(time_path, 1).path, BASE, MAX_BYTES, writable=False)
    for write in (
        lambda: index.append(BASE + 100, 1000),
        lambda: index.truncate_to(BASE),
        index.reset,
        lambda: times.maybe_append(99_999, BASE + 100),
    ):
        with pytest.raises(ValueError, match=r"read-only|appended"):
            write()


# The file


@pytest.mark.parametrize("real", [0, 1, 2, 511, 512, 513, 2000])
@pytest.mark.parametrize("kind", ["offset", "time"])
def test_zeros_of_a_preallocated_file_are_no_entries(offset_path: Path, time_path: Path, real: int, kind: str) -> None:
    open_index: Callable[[], OffsetIndex | TimeIndex]
    if kind == "offset":
        path, expected = offset_path, offset_entries(real)
        filled_offsets(path, real).close()
        open_index = lambda: OffsetIndex(path, BASE, MAX_BYTES)  # noqa: E731
    else:
        path, expected = time_path, time_entries(real)
        filled_times(path, real).close()
        open_index = lambda: TimeIndex(path, BASE, MAX_BYTES)  # noqa: E731
    size = path.stat().st_size
    os.truncate(path, MAX_BYTES // 24 * 24)
    index = open_index()
    assert index.entries == real
    index.sanity_check()
    assert entries_of(index) == expected
    index.flush()
    assert path.stat().st_size == size


def test_a_first_entry_of_zeros_is_real_when_others_follow(time_path: Path) -> None:
    time_path.write_bytes(struct.pack(">qiqi", 0, 0, 5, 1) + bytes(120))
    assert entries_of(TimeIndex(time_path, BASE, MAX_BYTES)) == [(0, BASE), (5, BASE + 1)]


def test_appends_are_written_behind(offset_path: Path) -> None:
    index = filled_offsets(offset_path, 10_000)
    written = offset_path.stat().st_size
    assert 80_000 - 4096 <= written <= 80_000
    index.flush(sync=False)
    assert offset_path.stat().st_size == 80_000


def test_a_full_disk_delays_an_index_and_flush_tells(offset_path: Path) -> None:
    index = OffsetIndex(offset_path, BASE, MAX_BYTES)
    with files_limited_to(6000):
        for offset, position in offset_entries(5000):
            index.append(offset, position)
        assert index.lookup(BASE + 3) == (BASE + 3, 50)
        with pytest.raises(OSError, match="too large"):
            index.flush()
    assert entries_of(index) == offset_entries(5000)
    index.flush()
    assert offset_path.stat().st_size == 40_000
    assert entries_of(OffsetIndex(offset_path, BASE, MAX_BYTES, writable=False)) == offset_entries(5000)


def test_released_indexes_come_back(offset_path: Path) -> None:
    index = filled_offsets(offset_path, 700)
    index.release()
    assert offset_path.stat().st_size == 5600
    assert entries_of(index) == offset_entries(700)
    index.append(BASE + 9000, 10**6)
    assert index.lookup(10**6) == (BASE + 9000, 10**6)


def test_reset_empties_what_cannot_be_read(offset_path: Path) -> None:
    offset_path.write_bytes(b"\xff" * 77)
    index = OffsetIndex(offset_path, BASE, MAX_BYTES)
    index.reset()
    assert index.entries == 0
    assert offset_path.stat().st_size == 0
    index.append(BASE + 1, 0)
    index.sanity_check(1)


def test_indexes_are_renamed_and_deleted(offset_path: Path) -> None:
    index = filled_offsets(offset_path, 3)
    index.rename(f"{offset_path}.deleted")
    index.flush()
    assert not offset_path.exists()
    assert index.delete()
    assert not index.delete()
    assert list(offset_path.parent.iterdir()) == []


def test_symbolic_links_are_refused(offset_path: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(bytes(8))
    offset_path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        assert OffsetIndex(offset_path, BASE, MAX_BYTES).entries


def test_entries_beyond_the_end_are_refused(offset_path: Path, time_path: Path) -> None:
    with pytest.raises(IndexError):
        filled_offsets(offset_path, 3).entry(3)
    with pytest.raises(IndexError):
        filled_times(time_path, 3).entry(3)


@pytest.mark.parametrize(
    "content",
    [b"\0" * 7, struct.pack(">ii", -5, 10), struct.pack(">ii", 5, -10), struct.pack(">ii", 5, 1000)],
    ids=["odd size", "negative offset", "negative position", "behind the log"],
)
def test_offset_indexes_that_cannot_be_are_corrupt(offset_path: Path, content: bytes) -> None:
    offset_path.write_bytes(content)
    with pytest.raises(CorruptIndexError):
        OffsetIndex(offset_path, BASE, MAX_BYTES).sanity_check(1000)


@pytest.mark.parametrize(
    "content",
    [b"\0" * 13, struct.pack(">qi", 10, -5), struct.pack(">qiqi", 10, 1, 9, 2)],
    ids=["odd size", "negative offset", "falling time"],
)
def test_time_indexes_that_cannot_be_are_corrupt(time_path: Path, content: bytes) -> None:
    time_path.write_bytes(content)
    with pytest.raises(CorruptIndexError):
        TimeIndex(time_path, BASE, MAX_BYTES).sanity_check()


def test_an_index_that_falls_is_noticed_when_it_is_searched(offset_path: Path) -> None:
    filled_offsets(offset_path, 5000).close()
    with offset_path.open("r+b") as file:
        file.seek(512 * 8)
        file.write(struct.pack(">ii", 1, 1))
    index = OffsetIndex(offset_path, BASE, MAX_BYTES, writable=False)
    with pytest.raises(CorruptIndexError, match="does not rise"):
        index.lookup(BASE + 9)


@given(st.binary(max_size=100), st.integers(-(2**63), 2**63 - 1))
@WITH_FILES
def test_any_bytes_are_searched_without_harm(tmp_path: Path, content: bytes, target: int) -> None:
    path = tmp_path / "any"
    path.write_bytes(content)
    index = OffsetIndex(path, BASE, MAX_BYTES, writable=False)
    times = TimeIndex(path, BASE, MAX_BYTES, writable=False)
    assert len(index.lookup(target)) == len(times.lookup(target)) == 2
    assert len(entries_of(index)) <= len(content) // 8
    assert len(entries_of(times)) <= len(content) // 12


def test_an_index_is_opened_once(offset_path: Path) -> None:
    index = filled_offsets(offset_path, 1)
    with pytest.raises(TypeError):
        index.__init__(offset_path, 0, 1)  # type: ignore[misc]
    with pytest.raises(ValueError, match="is closed"):
        OffsetIndex.__new__(OffsetIndex).lookup(1)
