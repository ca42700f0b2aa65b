"""Segments in memory for the tests of `kstore.log`."""

from kstore.log.memory_directory import MemoryDirectory
from kstore.log.segment import Segment
from tests.log.build import NOW, batch


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
