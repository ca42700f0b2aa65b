"""Reading a log piece by piece: batches as they lie in the file, and the records in them.

Bytes are read where they lie, a piece at a time; each piece is one buffer, of which batches are views and whose CRC is
asked before a record is made of it. What is damaged is raised, never skipped.
"""

from collections.abc import Callable, Iterator
from itertools import chain, dropwhile, takewhile

from kstore._native.batch import RecordBatch, iter_batches
from kstore._native.record import Record
from kstore._native.records import FileSlice
from kstore.errors import OffsetOutOfRangeError
from kstore.model import TopicPartition

# Who reads one record is not made to wait for a megabyte; who reads on gets larger pieces.
FIRST_PIECE = 64 * 1024
LARGEST_PIECE = 1024 * 1024

# (offset, about how many bytes) -> whole batches from the one that holds the offset on, the last one may be torn;
# nothing at the end.
Fetch = Callable[[int, int], "FileSlice | bytes"]


def content(piece: "FileSlice | bytes") -> bytes:
    return piece if isinstance(piece, bytes) else piece.read()


def check_range(name: TopicPartition | str, offset: int, start_offset: int, end_offset: int) -> None:
    """Raises OffsetOutOfRangeError unless reading can begin at `offset`."""
    if not start_offset <= offset <= end_offset:
        raise OffsetOutOfRangeError(f"{name}: offset {offset} is not in [{start_offset}, {end_offset}]")


def batches(fetch: Fetch, offset: int, until: int) -> Iterator[RecordBatch]:
    """The batches that hold offsets in [offset, until). Raises CorruptRecordError, and what `fetch` raises."""
    size = FIRST_PIECE
    while offset < until:
        buffer = content(fetch(offset, size))
        if not buffer:
            return
        for batch in iter_batches(buffer, allow_partial_tail=True):
            if batch.base_offset >= until:
                return
            batch.ensure_valid()
            yield batch
            offset = batch.next_offset
        size = min(2 * size, LARGEST_PIECE)


def records(found: Iterator[RecordBatch], offset: int, until: int) -> Iterator[Record]:
    """The records with offsets in [offset, until); control records are no records of anybody's."""
    return chain.from_iterable(records_of(batch, offset, until) for batch in found if not batch.is_control)


def records_of(batch: RecordBatch, offset: int, until: int) -> Iterator[Record]:
    found = batch.records()
    if batch.base_offset < offset:
        found = dropwhile(lambda record: record.offset < offset, found)
    if batch.last_offset >= until:
        found = takewhile(lambda record: record.offset < until, found)
    return found
