"""Answers to a follower's fetches, read by hand: records stay where they were received.

Only what a follower looks at is kept. A test holds it equal to the table of `protocol/messages/fetch.py`.
"""

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from kstore.errors import InvalidRequestError

if TYPE_CHECKING:
    from typing_extensions import Buffer

VERSION = 17

# throttle_time_ms, error_code, session_id
_HEAD = struct.Struct(">ihi")
# partition_index, error_code, high_watermark, last_stable_offset, log_start_offset
_PARTITION = struct.Struct(">ihqqq")
_DIVERGING = struct.Struct(">iq")
ID_SIZE = 16
ABORTED_SIZE = 17
PREFERRED_SIZE = 4
# A number has 32 bits, seven in a byte.
MAX_UVARINT = range(0, 35, 7)


class EpochEnd(NamedTuple):
    epoch: int
    end_offset: int


NOT_DIVERGING = EpochEnd(-1, -1)


class FetchedPartition(NamedTuple):
    partition_index: int
    error_code: int
    high_watermark: int
    log_start_offset: int
    diverging_epoch: EpochEnd
    records: memoryview


class FetchedTopic(NamedTuple):
    topic_id: bytes
    partitions: list[FetchedPartition]


class FetchAnswer(NamedTuple):
    error_code: int
    session_id: int
    responses: list[FetchedTopic]


class _Reader:
    __slots__ = ("data", "position")

    def __init__(self, data: memoryview, position: int) -> None:
        self.data = data
        self.position = position

    def uvarint(self) -> int:
        value = 0
        for shift in MAX_UVARINT:
            byte = self.data[self.position]
            self.position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise IndexError("a number goes on after five bytes")

    def take(self, size: int) -> memoryview:
        end = self.position + size
        if size < 0 or end > len(self.data):
            raise IndexError(f"{size} bytes do not fit")
        found = self.data[self.position : end]
        self.position = end
        return found

    def tags(self) -> Iterator[tuple[int, memoryview]]:
        for _ in range(self.uvarint()):
            tag = self.uvarint()
            yield tag, self.take(self.uvarint())


def decode_fetch_answer(buffer: "Buffer", position: int, limit: int) -> FetchAnswer:
    """The answer in [position, limit), behind its header. The records are views of the buffer. Raises
    InvalidRequestError."""
    data = memoryview(buffer)[:limit]
    try:
        _, error_code, session_id = _HEAD.unpack_from(data, position)
        reader = _Reader(data, position + _HEAD.size)
        topics = [_topic(reader) for _ in range(reader.uvarint() - 1)]
        for _ in reader.tags():
            pass
    except (IndexError, struct.error) as error:
        raise InvalidRequestError(f"an answer to a fetch is torn: {error}") from None
    if reader.position != limit:
        raise InvalidRequestError(f"an answer to a fetch has {limit - reader.position} bytes too many")
    return FetchAnswer(error_code, session_id, topics)


def _topic(reader: _Reader) -> FetchedTopic:
    topic_id = bytes(reader.take(ID_SIZE))
    partitions = [_partition(reader) for _ in range(reader.uvarint() - 1)]
    for _ in reader.tags():
        pass
    return FetchedTopic(topic_id, partitions)


def _partition(reader: _Reader) -> FetchedPartition:
    index, error_code, high_watermark, _, log_start_offset = _PARTITION.unpack_from(reader.data, reader.position)
    reader.position += _PARTITION.size
    reader.take(ABORTED_SIZE * max(reader.uvarint() - 1, 0) + PREFERRED_SIZE)
    records = reader.take(max(reader.uvarint() - 1, 0))
    diverging = NOT_DIVERGING
    if reader.data[reader.position]:
        for tag, value in reader.tags():
            if tag == 0:
                diverging = EpochEnd(*_DIVERGING.unpack_from(value))
    else:
        reader.position += 1
    return FetchedPartition(index, error_code, high_watermark, log_start_offset, diverging, records)
