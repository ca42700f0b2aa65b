"""One segment: written at its end, cut, and made ready to be read again after a crash.

Offsets in it are at least `base_offset` and at most `base_offset` + 2^31 - 1, for index entries are relative. Its
files are in segment_files.py, reading in segment_reader.py (LogSegment.java, 3.9.1).
"""

from typing import TYPE_CHECKING

from kstore.errors import CorruptIndexError, CorruptRecordError, UnsupportedForMessageFormatError
from kstore.log.config import LogConfig
from kstore.log.directory import (
    LOG_SUFFIX,
    OFFSET_INDEX_SUFFIX,
    TIME_INDEX_SUFFIX,
)
from kstore.log.files import Directory
from kstore.log.segment_files import LONG_MAX, MAX_RELATIVE_OFFSET, NOT_LOADED, IndexPoint
from kstore.log.segment_reader import SegmentReader
from kstore.log.transaction_index import AbortedTxn
from kstore.model import NO_TIMESTAMP

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["LONG_MAX", "MAX_RELATIVE_OFFSET", "NOT_LOADED", "Segment", "create_segment", "roll_jitter"]


class Segment(SegmentReader):
    __slots__ = ()

    @classmethod
    def create(
        cls,
        directory: Directory,
        base_offset: int,
        *,
        index_interval_bytes: int,
        max_index_bytes: int,
        roll_jitter_ms: int = 0,
        now_ms: int,
        preallocate: int = 0,
        suffix: str = "",
    ) -> "Segment":
        """A new, empty segment, its files made. Raises OSError, leaving none behind."""
        segment = cls(
            directory,
            base_offset,
            size=0,
            writable=True,
            has_txn_index=False,
            index_interval_bytes=index_interval_bytes,
            max_index_bytes=max_index_bytes,
            roll_jitter_ms=roll_jitter_ms,
            now_ms=now_ms,
            suffix=suffix,
        )
        try:
            segment._records = directory.open_records(segment._name(LOG_SUFFIX), create=True, preallocate=preallocate)
            segment._open_indexes(check=False)
        except OSError:
            segment.close_handles()
            for kind in (TIME_INDEX_SUFFIX, OFFSET_INDEX_SUFFIX, LOG_SUFFIX):
                directory.delete(segment._name(kind))
            raise
        segment.max_timestamp = NO_TIMESTAMP
        segment._rolling_timestamp = NO_TIMESTAMP
        return segment

    def set_roll_limits(self, segment_bytes: int, segment_ms: int) -> None:
        """Makes the segment the one that is appended to, under these limits; opens its files."""
        self._segment_bytes = segment_bytes
        self._segment_ms = segment_ms
        _ = self.records
        self._index_full = self.offset_index.is_full or self.time_index.is_full
        self._set_roll_times(self.first_batch_timestamp())

    def _set_roll_times(self, first_timestamp: int) -> None:
        """A segment waits by the timestamps of its records, or by the clock where the first has none; an empty one
        does not wait."""
        self._rolling_timestamp = first_timestamp
        self._roll_timestamp = self._roll_clock_ms = LONG_MAX
        patience_ms = self._segment_ms - self.roll_jitter_ms
        if first_timestamp >= 0:
            self._roll_timestamp = first_timestamp + patience_ms
        elif self.size:
            self._roll_clock_ms = self.created_ms + patience_ms

    def fits(self, size: int, last_offset: int, max_timestamp: int, now_ms: int) -> bool:
        """Whether `size` bytes up to `last_offset` still belong here; else the log rolls (LogSegment.shouldRoll)."""
        return (
            self.size + size <= self._segment_bytes
            and max_timestamp <= self._roll_timestamp
            and now_ms <= self._roll_clock_ms
            and last_offset <= self._last_possible_offset
            and not self._index_full
        )

    def append(self, buffer: "Buffer", position: int, size: int, last_offset: int, max_timestamp: int) -> int:
        """Writes one batch at the end; returns where it begins. Raises OSError with nothing written: what
        follows the write raises nothing, or the next batch would get the same offset behind this one."""
        start = self.size
        self.records.append(buffer, position, size)
        self.size = start + size
        if start == 0:
            self._set_roll_times(max_timestamp)
        # As note_batch, which costs a call.
        if max_timestamp > self.max_timestamp:
            self.max_timestamp = max_timestamp
            self.max_timestamp_offset = last_offset
        if self.bytes_since_index_entry > self.index_interval_bytes:
            self._add_index_entries([(last_offset, start, self.max_timestamp, self.max_timestamp_offset)])
            self.bytes_since_index_entry = 0
        self.bytes_since_index_entry += size
        return start

    def append_noted(
        self,
        buffer: "Buffer",
        position: int,
        size: int,
        largest_timestamp: int,
        points: list[IndexPoint],
        since_entry: int,
        max_timestamp: int,
        max_timestamp_offset: int,
    ) -> None:
        """Writes batches, of which `largest_timestamp` is the largest, at once. It is known already what the indexes
        shall say, and what holds behind the last batch. Raises OSError with nothing written."""
        start = self.size
        self.records.append(buffer, position, size)
        self.size = start + size
        if start == 0:
            self._set_roll_times(largest_timestamp)
        if points:
            self._add_index_entries(points)
        self.bytes_since_index_entry = since_entry
        self.max_timestamp, self.max_timestamp_offset = max_timestamp, max_timestamp_offset

    def note_aborted(self, txn: AbortedTxn) -> None:
        self.txn_index.append(txn)

    def seal(self) -> None:
        """The next segment begins: no more batches here.

        The largest timestamp goes into the time index whatever room there is, for retention asks it.
        """
        self.write_last_time_entry()
        self.flush_indexes()
        self.records.trim()  # what was preallocated
        self.become_sealed()

    def truncate_to(self, offset: int, now_ms: int) -> int:
        """Cuts off all batches that reach `offset` or beyond; returns how many bytes went."""
        found = self.translate_offset(offset)
        self._rebuilt = False
        self.offset_index.truncate_to(offset)
        self.time_index.truncate_to(offset)
        self.txn_index.truncate_to(offset)
        removed = 0
        if found is not None:
            removed = self.size - found[2]
            self.records.truncate_to(found[2])
            self.size = found[2]
        if self.size == 0:
            self.created_ms = now_ms
            self._rolling_timestamp = NO_TIMESTAMP
        self.bytes_since_index_entry = 0
        self.max_timestamp = NOT_LOADED
        self.load_max_timestamp(scan=True)
        return removed

    # --- recovery ---

    def prepare_recovery(self, from_offset: int) -> int:
        """Keeps what the indexes say of the batches before `from_offset`, where it can be believed, and
        forgets the rest; returns the position from which the batches must be read and noted again."""
        self.bytes_since_index_entry = 0
        if from_offset > self.base_offset:
            try:
                return self._keep_indexes_before(from_offset)
            except (
                CorruptIndexError,
                CorruptRecordError,
                UnsupportedForMessageFormatError,
                OSError,
                ValueError,
            ):
                pass
        self._drop_indexes()
        self._open_indexes(check=False)
        self.reset_indexes()
        if from_offset > self.base_offset:
            self.txn_index.truncate_to(from_offset)
        else:
            self.txn_index.reset()
        return 0

    def _keep_indexes_before(self, offset: int) -> int:
        self.offset_index.sanity_check(self.size)
        self.time_index.sanity_check()
        self.offset_index.truncate_to(offset)
        self.time_index.truncate_to(offset)
        self.txn_index.truncate_to(offset)
        last_offset, position = self.offset_index.lookup(LONG_MAX)
        if not self._leads_to(last_offset, position):
            raise CorruptIndexError(f"entry {last_offset} does not lead to its batch at position {position}")
        self.max_timestamp, self.max_timestamp_offset = self.time_index.last_entry
        if not self._is_time_of(self.max_timestamp_offset, self.max_timestamp):
            raise CorruptIndexError(f"entry {self.max_timestamp} is not that of offset {self.max_timestamp_offset}")
        # A power loss may have kept fewer entries of the time index than of the other.
        _, start = self.offset_index.lookup(self.max_timestamp_offset)
        latest = self.max_timestamp, self.max_timestamp_offset
        self.max_timestamp, self.max_timestamp_offset = self._latest(latest, start, position)
        return position

    def cut(self, position: int) -> None:
        """Ends the segment at `position`, to which the indexes fit already."""
        self.records.truncate_to(position)
        self.size = position


def create_segment(directory: Directory, base_offset: int, config: LogConfig, now_ms: int) -> Segment:
    """A new, empty segment to append to. Raises OSError."""
    segment = Segment.create(
        directory,
        base_offset,
        index_interval_bytes=config.index_interval_bytes,
        max_index_bytes=config.segment_index_bytes,
        roll_jitter_ms=roll_jitter(config),
        now_ms=now_ms,
        preallocate=config.segment_bytes if config.preallocate else 0,
    )
    segment.set_roll_limits(config.segment_bytes, config.max_segment_ms)
    return segment


def roll_jitter(config: LogConfig) -> int:
    """How much earlier than `segment.ms` a segment rolls, so that many logs do not roll at once."""
    if config.segment_jitter_ms == 0:
        return 0
    import random

    return random.randrange(min(config.segment_jitter_ms, config.max_segment_ms))
