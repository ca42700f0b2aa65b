"""What can be read: the face of every log, whoever writes it."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING

from kstore._native.batch import RecordBatch
from kstore._native.record import Record
from kstore._native.records import FileSlice
from kstore.embedded import reader
from kstore.embedded.sending import Sent, Slice, send
from kstore.model import TopicPartition

if TYPE_CHECKING:
    import socket


class ReadableLog(ABC):
    """The records of one partition, by offset; `Log` can be written to, `ReadonlyLog` belongs to somebody else."""

    def __init__(self, topic_partition: TopicPartition) -> None:
        self._topic_partition = topic_partition

    @property
    def topic(self) -> str:
        return self._topic_partition.topic

    @property
    def partition(self) -> int:
        return self._topic_partition.partition

    @property
    @abstractmethod
    def path(self) -> str:
        """The directory of its segments."""

    @property
    def start_offset(self) -> int:
        """The first offset that can be read."""
        return self._bounds()[0]

    @property
    def end_offset(self) -> int:
        """Where what can be read ends. The next record gets this offset, unless there are some that nobody may see
        yet: those that `flush_messages` wants on the disk first."""
        return self._bounds()[1]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._topic_partition} in {self.path!r}>"

    @abstractmethod
    def _bounds(self) -> tuple[int, int]:
        """(start offset, end offset) of what can be read now."""

    @abstractmethod
    def _fetch(self, offset: int, max_bytes: int) -> FileSlice | bytes:
        """Batches from the one that holds `offset` on, the first of them whole; b"" at the end."""

    @abstractmethod
    def _wait(self, offset: int, timeout_s: float | None) -> bool:
        """Returns when there is a record at `offset`: true; or when time is over: false."""

    @abstractmethod
    def _find(self, timestamp_ms: int) -> int | None:
        """The offset of the first record that is not older."""

    def read(self, offset: int | None = None, until: int | None = None) -> Iterator[Record]:
        """The records from `offset` (the log's start) to `until` (the end that the log has now), which is exclusive.

        Raises OffsetOutOfRangeError for an offset that is not there, CorruptRecordError at damage.
        """
        offset, until = self._range(offset, until)
        return reader.records(reader.batches(self._fetch, offset, until), offset, until)

    def read_batches(self, offset: int | None = None, until: int | None = None) -> Iterator[RecordBatch]:
        """The batches that hold these offsets, as views of the bytes that were read: `memoryview(batch)` are its bytes
        as they lie in the file, `batch.records()` what is in it. The first may begin before `offset`."""
        offset, until = self._range(offset, until)
        return reader.batches(self._fetch, offset, until)

    def follow(self, offset: int | None = None, *, timeout_s: float | None = None) -> Iterator[Record]:
        """The records from `offset` (the end that the log has now) on, and those to come as they come.

        It ends when none has come for `timeout_s`, and raises ClosedError when the log is closed.
        """
        return self._follow(self._from(offset), timeout_s)

    def _follow(self, offset: int, timeout_s: float | None) -> Iterator[Record]:
        while self._wait(offset, timeout_s):
            end = self.end_offset
            for batch in reader.batches(self._fetch, offset, end):
                if not batch.is_control:
                    yield from reader.records_of(batch, offset, batch.next_offset)
                offset = batch.next_offset
            offset = self._behind(offset, end)

    def _behind(self, offset: int, end: int) -> int:
        """Where to go on when there is nothing more in [offset, end): compaction takes the last records, too. A log
        that was cut meanwhile will have others there."""
        return end if offset < end <= self.end_offset else offset

    def send_slice(self, sock: "socket.socket", offset: int, max_bytes: int) -> Sent:
        """Sends whole batches, from the one that holds `offset` on, by sendfile: what `read_batches` gives on the other
        side, at most `max_bytes` of it or one batch. Returns when all of it went; tells where the next slice begins.

        Raises OSError of the socket, ValueError for one that does not block.
        """
        piece = self._slice(offset, max_bytes)
        send(sock, piece)
        return Sent(piece.size, piece.next_offset)

    def offset_for_timestamp(self, timestamp_ms: int) -> int | None:
        """The offset of the first record that is not older; None where there is none."""
        if timestamp_ms < 0:
            raise ValueError(f"the timestamp {timestamp_ms} is before 1970")
        return self._find(timestamp_ms)

    def _range(self, offset: int | None, until: int | None) -> tuple[int, int]:
        start, end = self._bounds()
        offset = start if offset is None else offset
        reader.check_range(self._topic_partition, offset, start, end)
        return offset, end if until is None else min(until, end)

    def _from(self, offset: int | None) -> int:
        """Where to follow from."""
        start, end = self._bounds()
        if offset is None:
            return end
        reader.check_range(self._topic_partition, offset, start, end)
        return offset

    def _slice(self, offset: int, max_bytes: int) -> Slice:
        return Slice(self._fetch(offset, max_bytes), offset)
