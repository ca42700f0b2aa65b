"""The indexes of a segment: when they get entries, and when they are not believed (LogSegmentTest)."""

import errno

import pytest

from kstore.errors import CorruptRecordError
from kstore.log.memory_directory import MemoryDirectory
from kstore.log.segment import Segment
from tests.log.build import NOW, batch
from tests.log.build_segment import add, found, reopened, segment

SIZE = len(batch())


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
