"""One segment: indexes, search, truncation. The cases are those of Kafka's LogSegmentTest and LogSegmentsTest."""

import errno

import pytest

from kstore.errors import CorruptRecordError
from kstore.log.memory_directory import MemoryDirectory
from kstore.log.segment import Segment
from kstore.log.segments import Segments
from tests.log.build import NOW, batch

SIZE = len(batch())


def segment(base_offset: int = 40, *, directory: MemoryDirectory | None = None, interval: int = 10) -> Segment:
    return Segment.create(
        directory or MemoryDirectory(),
        base_offset,
        index_interval_bytes=interval,
        max_index_bytes=1000,
        now_ms=NOW,
    )


def add(made: Segment, offset: int, count: int = 1, *, timestamp: int = NOW) -> None:
    records = batch(count, base_offset=offset, timestamp=timestamp)
    made.append(records, 0, len(records), offset + count - 1, timestamp)


def found(made: Segment, offset: int) -> tuple[int, int] | None:
    where = made.translate_offset(offset)
    return None if where is None else where[:2]


def test_empty_segment_holds_nothing() -> None:
    made = segment()
    assert found(made, 40) is None
    assert made.read_end() == (40, 0)
    assert made.load_max_timestamp() == -1
    assert made.first_batch_timestamp() == -1


def test_offset_is_found_before_after_and_in_a_gap() -> None:
    made = segment()
    add(made, 50, 2)
    add(made, 60, 2)
    assert found(made, 41) == (50, 51)
    assert found(made, 51) == (50, 51)
    assert found(made, 52) == (60, 61)
    assert found(made, 61) == (60, 61)
    assert found(made, 62) is None


def test_truncation_removes_everything_from_the_offset_on() -> None:
    made = segment()
    offset = 40
    for _ in range(30):
        add(made, offset, 2)
        made.truncate_to(offset, NOW)
        assert found(made, offset) is None
        add(made, offset, 2)
        offset += 2
    assert made.read_end() == (100, made.size)


def test_truncation_in_a_gap_and_of_an_empty_segment() -> None:
    made = segment()
    assert made.truncate_to(0, NOW) == 0
    add(made, 50)
    add(made, 60)
    assert made.truncate_to(55, NOW) == SIZE
    assert made.read_end() == (51, SIZE)
    assert made.truncate_to(50, NOW + 7) == SIZE
    assert (made.size, made.created_ms) == (0, NOW + 7)


def test_largest_timestamp_is_found_again_after_truncation() -> None:
    made = segment(interval=2 * SIZE)
    for number in range(30):
        add(made, 40 + number, timestamp=NOW + number)
    made.truncate_to(61, NOW)
    assert (made.max_timestamp, made.max_timestamp_offset) == (NOW + 20, 60)


def test_offset_by_timestamp() -> None:
    made = segment(interval=2 * SIZE)
    for number in range(20):
        add(made, 40 + number, timestamp=NOW + 10 * number)
    assert made.find_offset_by_timestamp(NOW + 42, 40) == (NOW + 50, 45, None)
    assert made.find_offset_by_timestamp(NOW + 50, 40) == (NOW + 50, 45, None)
    assert made.find_offset_by_timestamp(NOW, 47) == (NOW + 70, 47, None)
    assert made.find_offset_by_timestamp(NOW + 191, 40) is None
    assert made.find_offset_by_timestamp(0, 40) == (NOW, 40, None)


def test_next_offset_is_one_above_the_last_record() -> None:
    made = segment(interval=1 << 20)
    add(made, 50, 3)
    assert made.read_end()[0] == 53


def test_no_index_entry_before_the_interval_is_exceeded() -> None:
    made = segment(interval=2 * SIZE)
    for number in range(3):
        add(made, 40 + number)
    assert made.offset_index.entries == 0
    add(made, 43)
    assert made.offset_index.entry(0) == (43, 3 * SIZE)
    assert made.bytes_since_index_entry == SIZE


def test_full_index_takes_no_entry_and_loses_no_record() -> None:
    made = Segment.create(MemoryDirectory(), 0, index_interval_bytes=1, max_index_bytes=3 * 8, now_ms=NOW)
    for number in range(9):
        add(made, number)
    assert made.offset_index.entries == 3
    assert found(made, 8) == (8, 8)


def test_first_batch_decides_when_to_roll() -> None:
    directory = MemoryDirectory()
    made = segment(directory=directory)
    add(made, 40, timestamp=NOW)
    add(made, 41, timestamp=NOW + 500)
    again = reopened(directory, made.size)
    assert again.first_batch_timestamp() == NOW
    again.set_roll_limits(1 << 20, 1000)
    assert again.fits(SIZE, 42, NOW + 1000, NOW)
    assert not again.fits(SIZE, 42, NOW + 1001, NOW)


def reopened(directory: MemoryDirectory, size: int, *, writable: bool = False) -> Segment:
    return Segment(
        directory,
        40,
        size=size,
        writable=writable,
        has_txn_index=False,
        index_interval_bytes=10,
        max_index_bytes=1000,
        roll_jitter_ms=0,
        now_ms=NOW,
    )


def test_relative_offset_must_fit() -> None:
    made = segment(0)
    made.set_roll_limits(1 << 20, 1 << 40)
    assert made.fits(SIZE, 2**31 - 1, NOW, NOW)
    assert not made.fits(SIZE, 2**31, NOW, NOW)


def test_segment_that_cannot_be_made_leaves_no_file() -> None:
    directory = MemoryDirectory()
    directory.fault = lambda kind, name: errno.ENOSPC if kind == "write" else None
    with pytest.raises(OSError, match="failed"):
        segment(directory=directory)
    assert directory.names() == []


def test_lying_index_is_built_anew_when_it_is_found_out() -> None:
    directory = MemoryDirectory()
    made = segment(directory=directory, interval=1)
    for number in range(10):
        add(made, 40 + number)
    made.flush_indexes()
    again = reopened(directory, made.size)
    again.offset_index._entries[:] = [(41, SIZE + 3)]  # type: ignore[attr-defined]
    assert found(again, 45) == (45, 45)
    assert again.offset_index.entries == 9
    late = reopened(directory, made.size)
    late.offset_index._entries[:] = [(41, 8 * SIZE)]  # type: ignore[attr-defined]
    assert found(late, 44) == (44, 44)


def test_entry_of_an_older_kafka_is_no_lie() -> None:
    directory = MemoryDirectory()
    made = segment(directory=directory, interval=1 << 20)
    for number in range(0, 20, 2):
        add(made, 40 + number)
    made.offset_index.append(46, SIZE)  # the append of offsets 42 to 46 began there
    assert found(made, 47) == (48, 48)
    assert made.offset_index.entries == 1


def test_damaged_log_is_reported_and_its_index_built_once() -> None:
    directory = MemoryDirectory()
    made = segment(directory=directory, interval=1)
    for number in range(10):
        add(made, 40 + number)
    directory.files["00000000000000000040.log"].data[5 * SIZE + 8 : 5 * SIZE + 12] = b"\x80\0\0\0"
    assert found(made, 44) == (44, 44)
    for _ in range(2):
        with pytest.raises(CorruptRecordError):
            made.translate_offset(45)
    assert made.size == 10 * SIZE


def test_segments_are_found_by_offset() -> None:
    segments = Segments()
    made = {base: segment(base) for base in (10, 5, 20)}
    for one in made.values():
        segments.add(one)
    assert segments.base_offsets == [5, 10, 20]
    assert len(segments) == 3
    assert segments.first is made[5]
    assert segments.active is made[20]
    assert [segments.floor(offset) for offset in (4, 5, 9, 10, 99)] == [None, made[5], made[5], made[10], made[20]]
    assert [segments.higher(offset) for offset in (4, 5, 19, 20)] == [made[5], made[10], made[20], None]
    assert [segments.lower(offset) for offset in (5, 6, 20)] == [None, made[5], made[10]]
    assert segments.starting_from(12) == [made[10], made[20]]
    assert segments.starting_from(0) == [made[5], made[10], made[20]]
    assert segments.between(5, 10) == [made[5]]
    assert segments.between(7, 21) == [made[5], made[10], made[20]]
    assert segments.between(7, 7) == []
    assert segments.above(10) == [made[20]]
    replacement = segment(10)
    segments.add(replacement)
    assert segments.get(10) is replacement
    segments.remove(replacement)
    assert 10 not in segments
    assert list(segments) == [made[5], made[20]]


def test_size_of_large_segments_does_not_overflow() -> None:
    segments = Segments()
    for base in range(3):
        one = segment(base)
        one.size = 2**31 - 1
        segments.add(one)
    assert segments.size_in_bytes == 3 * (2**31 - 1)
