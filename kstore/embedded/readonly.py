"""Reading a directory that somebody else may be writing: a Kafka, a kstore, or nobody.

Nothing is locked and nothing written, and nothing is remembered of the files: each look begins with their names, and
counts when they are the same at its end. So segments may come, be deleted, and be compacted under a reader, which keeps
open what it is reading; one whose old files have lost their names already is read as `.swap`. At the end of the
last segment a batch that is not whole yet is not there yet; so are the zeros of a file that was made longer than it is.
Everywhere else what is no batch is damage, and told. What a leader has not committed yet is read as well: the files do
not tell of it.
"""

import os
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self, TypeVar

from kstore._native.batch import LOG_OVERHEAD, RecordBatch
from kstore._native.index import OffsetIndex, TimeIndex
from kstore._native.records import FileRecords, FileSlice
from kstore.cluster.metadata_log import METADATA_PARTITION
from kstore.embedded.readable import ReadableLog
from kstore.errors import (
    ClosedError,
    ConfigError,
    CorruptIndexError,
    CorruptRecordError,
    KstoreError,
    OffsetOutOfRangeError,
    UnknownTopicOrPartitionError,
)
from kstore.log.checkpoint_file import LOG_START_OFFSET_CHECKPOINT, CorruptCheckpointError, read_offsets
from kstore.log.directory import (
    DELETE_DIR_SUFFIX,
    FUTURE_DIR_SUFFIX,
    LOG_SUFFIX,
    OFFSET_INDEX_SUFFIX,
    STRAY_DIR_SUFFIX,
    SWAP_SUFFIX,
    TIME_INDEX_SUFFIX,
    file_name,
    offset_of,
    parse_partition_dir_name,
    partition_dir_name,
)
from kstore.model import TopicPartition

SET_ASIDE = (DELETE_DIR_SUFFIX, FUTURE_DIR_SUFFIX, STRAY_DIR_SUFFIX)
LONG_MAX = 2**63 - 1

# How long a follower of somebody else's log sleeps between two looks at it, at least and at most.
SHORTEST_SLEEP_S = 0.001
LONGEST_SLEEP_S = 0.1

# Names that were gone when they were opened, or changed meanwhile, are looked for again; who changes them faster than
# that is not waited for.
LOOKS = 10

Result = TypeVar("Result")

# The base offsets of the segments, rising, and what the names of their files end with: nothing, or `.swap`.
Names = dict[int, str]


class ReadonlyLog(ReadableLog):
    """Made by `ReadonlyStore.log` and `Log.open(..., readonly=True)`."""

    def __init__(self, root: str, topic_partition: TopicPartition) -> None:
        super().__init__(topic_partition)
        self._root = root
        self._path = os.path.join(root, partition_dir_name(topic_partition))
        self._closing = threading.Event()

    @property
    def path(self) -> str:
        return self._path

    @property
    def size_in_bytes(self) -> int:
        return self._look(
            lambda names: sum(os.stat(self._file(base, LOG_SUFFIX + end)).st_size for base, end in names.items())
        )

    def close(self) -> None:
        """Wakes who follows the log. There is nothing to let go of."""
        self._closing.set()

    def __enter__(self) -> Self:
        self._check()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check(self) -> None:
        if self._closing.is_set():
            raise ClosedError(f"the log {self._topic_partition} is closed")

    # --- names ---

    def _file(self, base_offset: int, suffix: str) -> str:
        return os.path.join(self._path, file_name(base_offset, suffix))

    def _look(self, function: "Callable[[Names], Result]") -> Result:
        """What `function` gives for the names of the segments; asked again when they have changed meanwhile: files are
        renamed while their names are listed, and may be in the list under none."""
        for _ in range(LOOKS - 1):
            names = self._names()
            try:
                found = function(names)
            except FileNotFoundError:
                continue
            except KstoreError:
                if self._names() == names:
                    raise
                continue
            if self._names() == names:
                return found
        return function(self._names())

    def _names(self) -> Names:
        self._check()
        try:
            listed = os.listdir(self._path)
        except FileNotFoundError:
            raise UnknownTopicOrPartitionError(f"there is no {self._path}") from None
        names: Names = {}
        for name in listed:
            base = offset_of(name)
            if base >= 0 and name.endswith(LOG_SUFFIX):
                names[base] = ""
            elif base >= 0 and name.endswith(LOG_SUFFIX + SWAP_SUFFIX):
                # Between losing the old files and getting their names; before that it is not in use.
                names.setdefault(base, SWAP_SUFFIX)
        return dict(sorted(names.items()))

    def _start(self, names: Names) -> int:
        try:
            offsets = read_offsets(os.path.join(self._root, LOG_START_OFFSET_CHECKPOINT))
        except CorruptCheckpointError:
            offsets = {}
        return max(offsets.get(self._topic_partition, 0), min(names, default=0))

    def _bounds(self) -> tuple[int, int]:
        def look(names: Names) -> tuple[int, int]:
            start = self._start(names)
            return start, max(start, _Segment(self, names, max(names)).end_offset() if names else 0)

        return self._look(look)

    # --- content ---

    def _fetch(self, offset: int, max_bytes: int) -> FileSlice | bytes:
        def look(names: Names) -> FileSlice | bytes:
            start = self._start(names)
            if offset < start:
                raise OffsetOutOfRangeError(f"{self._topic_partition} begins at offset {start} now, not at {offset}")
            for base in _from(names, offset):
                piece = _Segment(self, names, base).piece(offset, max_bytes)
                if piece is not None:
                    return piece
            return b""

        return self._look(look)

    def _find(self, timestamp_ms: int) -> int | None:
        def look(names: Names) -> int | None:
            start = self._start(names)
            for base in _from(names, start):
                found = _Segment(self, names, base).offset_for_timestamp(timestamp_ms, start)
                if found is not None:
                    return found
            return None

        return self._look(look)

    def _wait(self, offset: int, timeout_s: float | None) -> bool:
        waited_s, pause_s = 0.0, SHORTEST_SLEEP_S
        while self._bounds()[1] <= offset:
            if timeout_s is not None:
                pause_s = min(pause_s, timeout_s - waited_s)
                if pause_s <= 0:
                    return False
            self._closing.wait(pause_s)
            waited_s += pause_s
            pause_s = min(2 * pause_s, LONGEST_SLEEP_S)
        return True


def open_readonly(path: str) -> ReadonlyLog:
    """The log that lies in a directory: the directory of a partition, or one with a single partition in it.

    Raises ConfigError for a directory with none or several.
    """
    path = os.path.abspath(path)
    root, name = os.path.split(path)
    topic_partition = parse_partition_dir_name(name)
    if topic_partition is not None and any(each.endswith(LOG_SUFFIX) for each in os.listdir(path)):
        return ReadonlyLog(root, topic_partition)
    partitions = partitions_in(path)
    if len(partitions) != 1:
        raise ConfigError(f"{path} holds {len(partitions)} logs: LogStore.open({path!r}, readonly=True) opens it")
    return ReadonlyLog(path, partitions[0])


def _from(names: Names, offset: int) -> list[int]:
    """The base offsets from that of the segment on that may hold `offset`."""
    bases = list(names)
    return bases[max(bisect_right(bases, offset) - 1, 0) :]


class _Segment:
    """One segment as it is now. Raises FileNotFoundError when it has gone."""

    def __init__(self, log: ReadonlyLog, names: Names, base_offset: int) -> None:
        self._log = log
        self._base_offset = base_offset
        self._suffix = names[base_offset]
        self._is_last = base_offset == max(names)
        self._records = FileRecords(self._file(LOG_SUFFIX), writable=False)

    def _file(self, kind: str) -> str:
        return self._log._file(self._base_offset, kind + self._suffix)

    def piece(self, offset: int, max_bytes: int) -> FileSlice | None:
        """About `max_bytes` from the batch that reaches `offset` on; None where none does."""
        found = self._search(offset)
        if found is None:
            if not self._is_last:
                self._check_end()
            return None
        _, _, position, size = found
        end = min(self._records.size_in_bytes, position + max(size, max_bytes))
        if self._is_last:
            end = self._whole(position, end)
        return self._records.slice(position, end - position) if end > position else None

    def _search(self, offset: int) -> tuple[int, int, int, int] | None:
        """(base offset, last offset, position, size) of the first batch that reaches `offset`."""
        position = self._position(offset)
        try:
            found = self._records.search_for_offset(offset, position)
            if position == 0 or (found is not None and found[0] <= offset):
                return found
        except CorruptRecordError as error:
            if position == 0:
                self._pardon(error)
                return None
        # The index may be half written, or have led behind what it was asked for.
        try:
            return self._records.search_for_offset(offset, 0)
        except CorruptRecordError as error:
            self._pardon(error)
            return None

    def _check_end(self) -> None:
        """Raises CorruptRecordError unless the segment, which is not the last, ends with a whole batch: who looks for
        what it held must not be led to the next."""
        end, size = 0, self._records.size_in_bytes
        for header in self._records.batch_headers(self._position(LONG_MAX)):
            end = header.position + header.size_in_bytes
        if end < size:
            for header in self._records.batch_headers(0):
                end = header.position + header.size_in_bytes
        if end < size:
            raise CorruptRecordError(
                f"{self._records.path}: what lies from position {end} to the end, {size}, is no whole batch"
            )

    def _position(self, offset: int) -> int:
        """Where the index says that the batches before `offset` begin; the beginning where it says nothing."""
        index = OffsetIndex(self._file(OFFSET_INDEX_SUFFIX), self._base_offset, 0, False)
        try:
            position = index.lookup(offset)[1]
        except (FileNotFoundError, CorruptIndexError, ValueError):
            return 0
        return position if 0 <= position <= self._records.size_in_bytes else 0

    def _pardon(self, error: CorruptRecordError) -> None:
        """Raises `error` unless it is about zeros at the end of the last segment: nothing was written there yet."""
        if not self._is_last or error.position is None or any(self._records.read(error.position, LOG_OVERHEAD)):
            raise error

    def _whole(self, position: int, end: int) -> int:
        """The end of the last batch in [position, end) that is all there."""
        whole = position
        try:
            for header in self._records.batch_headers(position, end):
                whole = header.position + header.size_in_bytes
        except CorruptRecordError as error:
            self._pardon(error)
            # In a file that is longer than its batches the bytes of the last one may still be coming.
            last = self._last_before(position, whole)
            if last is not None and not last.is_crc_valid():
                return whole - last.size_in_bytes
            return whole
        # A batch that `end` cuts off is left to the reader, who leaves it out.
        return end

    def _last_before(self, position: int, end: int) -> RecordBatch | None:
        last = None
        for header in self._records.batch_headers(position, end):
            last = header.position
        return None if last is None else self._records.read_batch(last)

    def end_offset(self) -> int:
        """One more than the last offset in it."""
        return max(self._base_offset, self._end_from(self._position(LONG_MAX)) or self._end_from(0) or 0)

    def _end_from(self, position: int) -> int | None:
        """One more than the offset of the last whole batch behind `position`; None where there is none."""
        end_position = self._whole_end(position)
        end_offset = None
        if end_position is not None:
            for header in self._records.batch_headers(position, end_position):
                end_offset = header.next_offset
        return end_offset

    def _whole_end(self, position: int) -> int | None:
        try:
            return self._whole(position, self._records.size_in_bytes)
        except CorruptRecordError:
            if position == 0:
                raise
            return None

    def offset_for_timestamp(self, timestamp_ms: int, start_offset: int) -> int | None:
        """The first record from `start_offset` on that is not older; None where there is none."""
        for position in (self._position_before(timestamp_ms), 0):
            if position is None:
                return None
            try:
                found = self._records.search_for_timestamp(timestamp_ms, position, start_offset)
                return None if found is None else found[1]
            except CorruptRecordError as error:
                if position == 0:
                    self._pardon(error)
        return None

    def _position_before(self, timestamp_ms: int) -> int | None:
        """A position that all batches that are not older lie behind; None where there are none."""
        index = TimeIndex(self._file(TIME_INDEX_SUFFIX), self._base_offset, 0, False)
        try:
            before, last = self._batch_of(index.lookup(timestamp_ms)), self._batch_of(index.last_entry)
            if before is None or last is None:
                return 0
            if not self._is_last and index.last_entry[0] < timestamp_ms:
                # The index may have lost its end.
                if self._records.largest_timestamp(last)[0] < timestamp_ms:
                    return None
                before = last
            return before
        except (FileNotFoundError, CorruptIndexError, CorruptRecordError, ValueError):
            return 0

    def _batch_of(self, entry: tuple[int, int]) -> int | None:
        """Where the batch lies that a time index entry was made for; None where there is none such."""
        timestamp, offset = entry
        found = self._search(offset)
        if timestamp < 0 or found is None or not found[0] <= offset <= found[1]:
            return None
        header = next(iter(self._records.batch_headers(found[2])), None)
        return found[2] if header is not None and header.max_timestamp == timestamp else None


class ReadonlyStore:
    """Made by `LogStore.open(..., readonly=True)`: the topics whose partitions lie in a directory now."""

    def __init__(self, path: str) -> None:
        """Raises FileNotFoundError, NotADirectoryError, PermissionError."""
        self.path = path
        self._logs: list[ReadonlyLog] = []
        self._is_closed = False
        os.listdir(path)

    @property
    def topics(self) -> dict[str, int]:
        """The topics and how many of their partitions are here."""
        counts: dict[str, int] = {}
        for topic_partition in self._partitions():
            counts[topic_partition.topic] = counts.get(topic_partition.topic, 0) + 1
        return counts

    def _partitions(self) -> list[TopicPartition]:
        if self._is_closed:
            raise ClosedError(f"the store in {self.path} is closed")
        return partitions_in(self.path)

    def __contains__(self, topic: object) -> bool:
        return topic in self.topics

    def __iter__(self) -> Iterator[str]:
        return iter(self.topics)

    def log(self, topic: str, partition: int = 0) -> ReadonlyLog:
        """The log of one partition; `__cluster_metadata` is one, too. Raises UnknownTopicOrPartitionError."""
        topic_partition = TopicPartition(topic, partition)
        if topic_partition != METADATA_PARTITION and topic_partition not in self._partitions():
            raise UnknownTopicOrPartitionError(f"{self.path} holds no partition {topic_partition}")
        log = ReadonlyLog(self.path, topic_partition)
        self._logs.append(log)
        return log

    def close(self) -> None:
        """Closes its logs. Safe to call twice."""
        self._is_closed = True
        for log in self._logs:
            log.close()
        self._logs.clear()

    def __enter__(self) -> Self:
        self._partitions()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<ReadonlyStore in {self.path!r}>"


def partitions_in(path: str) -> list[TopicPartition]:
    """The partitions that lie in a log directory, but for the metadata log."""
    with os.scandir(path) as entries:
        names = [entry.name for entry in entries if not entry.name.endswith(SET_ASIDE) and entry.is_dir()]
    found = (parse_partition_dir_name(name) for name in names)
    return sorted(each for each in found if each is not None and each != METADATA_PARTITION)
