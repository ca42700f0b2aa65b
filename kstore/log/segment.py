"""One segment: a file of batches and its three indexes.

Offsets in it are at least `base_offset` and at most `base_offset` + 2^31 - 1, for index entries are relative.
When the bytes since the last entry exceed `index.interval.bytes`, the next batch gets one: (its last offset,
its position) in the offset index, and at the same moment the largest timestamp so far in the time index
(LogSegment.java, 3.9.1).

Files of a segment that is not written are opened when first read, so that a start with many segments costs
little. Searches with `wait=False` do not wait for the disk: they raise NotCachedError where they would, and leave all
as it was.
"""

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from kstore._native.batch import LOG_OVERHEAD
from kstore._native.records import FileSlice
from kstore.errors import CorruptIndexError, CorruptRecordError, UnsupportedForMessageFormatError
from kstore.log.config import LogConfig
from kstore.log.directory import (
    LOG_SUFFIX,
    OFFSET_INDEX_SUFFIX,
    TIME_INDEX_SUFFIX,
    TXN_INDEX_SUFFIX,
    file_name,
)
from kstore.log.files import Directory, OffsetIndexFile, RecordsFile, TimeIndexFile
from kstore.log.transaction_index import AbortedTxn, TransactionIndex
from kstore.model import NO_TIMESTAMP

if TYPE_CHECKING:
    from typing_extensions import Buffer

logger = logging.getLogger(__name__)

MAX_RELATIVE_OFFSET = 2**31 - 1
LONG_MAX = 2**63 - 1

# What is read of a message at a time whose size need not be true.
PIECE = 256 * 1024

NOT_LOADED = -(2**63)  # of timestamps that are read from files when first asked for


class Segment:
    __slots__ = (
        "_directory",
        "_index_full",
        "_last_possible_offset",
        "_offset_index",
        "_rebuilt",
        "_records",
        "_roll_clock_ms",
        "_roll_timestamp",
        "_rolling_timestamp",
        "_segment_bytes",
        "_segment_ms",
        "_time_index",
        "_writable",
        "base_offset",
        "bytes_since_index_entry",
        "created_ms",
        "index_interval_bytes",
        "max_index_bytes",
        "max_timestamp",
        "max_timestamp_offset",
        "roll_jitter_ms",
        "size",
        "suffix",
        "txn_index",
    )

    def __init__(
        self,
        directory: Directory,
        base_offset: int,
        *,
        size: int,
        writable: bool,
        has_txn_index: bool,
        index_interval_bytes: int,
        max_index_bytes: int,
        roll_jitter_ms: int,
        now_ms: int,
        suffix: str = "",
    ) -> None:
        self._directory = directory
        self.base_offset = base_offset
        # Behind the names of the files: `.cleaned` and `.swap` while they are to take the place of others.
        self.suffix = suffix
        self.size = size
        self._writable = writable
        self.index_interval_bytes = index_interval_bytes
        self.max_index_bytes = max_index_bytes
        self.roll_jitter_ms = roll_jitter_ms
        self.created_ms = now_ms
        self.bytes_since_index_entry = 0
        # The indexes were built from the log once: what is wrong now is the log.
        self._rebuilt = False
        # The largest timestamp of all batches, and the last offset of the first batch that has it.
        self.max_timestamp = NOT_LOADED
        self.max_timestamp_offset = base_offset
        # The max timestamp of the first append, from which time-based rolling counts; -1 when the segment is
        # empty.
        self._rolling_timestamp = NOT_LOADED
        # What `fits` asks, kept up by `set_roll_limits` for the segment that is appended to.
        self._last_possible_offset = base_offset + MAX_RELATIVE_OFFSET
        self._segment_bytes = self._segment_ms = 0
        self._roll_timestamp = self._roll_clock_ms = -LONG_MAX
        self._index_full = True
        self._records: RecordsFile | None = None
        self._offset_index: OffsetIndexFile | None = None
        self._time_index: TimeIndexFile | None = None
        self.txn_index = TransactionIndex(directory, self._name(TXN_INDEX_SUFFIX), base_offset, exists=has_txn_index)

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

    # --- files ---

    def _name(self, kind: str) -> str:
        return file_name(self.base_offset, kind) + self.suffix

    @property
    def records(self) -> RecordsFile:
        records = self._records
        if records is None:
            records = self._records = self._directory.open_records(self._name(LOG_SUFFIX))
        return records

    @property
    def offset_index(self) -> OffsetIndexFile:
        return self._offsets(True)

    @property
    def time_index(self) -> TimeIndexFile:
        return self._times(True)

    def _offsets(self, wait: bool) -> OffsetIndexFile:
        index = self._offset_index
        return index if index is not None else self._open_indexes(wait=wait)[0]

    def _times(self, wait: bool) -> TimeIndexFile:
        index = self._time_index
        return index if index is not None else self._open_indexes(wait=wait)[1]

    def _open_indexes(self, *, check: bool = True, wait: bool = True) -> tuple[OffsetIndexFile, TimeIndexFile]:
        """Opens both indexes; with `check` they are built anew where they cannot be right."""
        offset_index = self._directory.open_offset_index(
            self._name(OFFSET_INDEX_SUFFIX),
            self.base_offset,
            self.max_index_bytes,
            writable=self._writable,
        )
        time_index = self._directory.open_time_index(
            self._name(TIME_INDEX_SUFFIX),
            self.base_offset,
            self.max_index_bytes,
            writable=self._writable,
        )
        if check:
            try:
                offset_index.sanity_check(self.size, wait=wait)
                time_index.sanity_check(wait=wait)
            except (CorruptIndexError, FileNotFoundError) as error:
                return self.rebuild_indexes(error, wait=wait)
        self._offset_index = offset_index
        self._time_index = time_index
        return offset_index, time_index

    def rebuild_indexes(self, reason: object, *, wait: bool = True) -> tuple[OffsetIndexFile, TimeIndexFile]:
        """Builds both indexes from the batches' headers, up to the first that is damaged."""
        if not wait:
            # Half an index must not be left behind: first make sure that all headers can be read.
            self.touch_headers(wait=False)
        logger.warning("%s: rebuilding the indexes of segment %d: %s", self._directory.path, self.base_offset, reason)
        writable = self._writable
        self._rebuilt = True
        self._drop_indexes()
        self._writable = True
        offset_index, time_index = self._open_indexes(check=False)
        self.reset_indexes()
        try:
            for header in self.records.batch_headers(0, self.size):
                self.note_batch(header.position, header.size_in_bytes, header.last_offset, header.max_timestamp)
        except CorruptRecordError as error:
            logger.error("%s: segment %d is damaged: %s", self._directory.path, self.base_offset, error)
        if not writable:
            self.write_last_time_entry()
        self.flush_indexes()
        return offset_index, time_index

    def touch_headers(self, *, wait: bool) -> None:
        """Reads all batch headers, as building the indexes does."""
        with suppress(CorruptRecordError, UnsupportedForMessageFormatError):
            self.records.search_for_offset(LONG_MAX, wait=wait)

    def reset_indexes(self) -> None:
        """Empties both indexes, to be filled by `note_batch`."""
        self.offset_index.reset()
        self.time_index.reset()
        self.bytes_since_index_entry = 0
        self.max_timestamp = NO_TIMESTAMP
        self.max_timestamp_offset = self.base_offset

    def become_writable(self) -> None:
        """Reopens the indexes for writing: this segment is the last one now, or is read again."""
        if not self._writable:
            self._close_indexes()
            self._writable = True

    def release_descriptors(self, *, is_durable: bool) -> None:
        """Lets go of what the next use opens again. The batches' file only where all in it is durable: with the last
        descriptor the news of a failed write may be gone."""
        for index in (self._offset_index, self._time_index):
            if index is not None:
                index.release_descriptor()
        if is_durable and self._records is not None:
            self._records.release()

    def become_sealed(self) -> None:
        """Lets the indexes go until somebody searches them."""
        self._close_indexes()
        self._writable = False

    @property
    def last_possible_offset(self) -> int:
        return self._last_possible_offset

    def file_names(self) -> list[str]:
        """The segment's files that exist, or should."""
        names = [self._name(kind) for kind in (LOG_SUFFIX, OFFSET_INDEX_SUFFIX, TIME_INDEX_SUFFIX)]
        if self.txn_index.exists:
            names.append(self.txn_index.name)
        return names

    def change_suffix(self, suffix: str) -> None:
        """Renames the files; they are opened anew when they are next used. Raises OSError."""
        self.flush_indexes()
        old_names = self.file_names()
        self.suffix = suffix
        self.txn_index.name = self._name(TXN_INDEX_SUFFIX)
        for old_name, name in zip(old_names, self.file_names(), strict=True):
            self._directory.rename(old_name, name)
        self.drop_handles()

    # --- writing ---

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
        """Writes one batch at the end; returns where it begins. Raises OSError with nothing written."""
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
            self._add_index_entries(last_offset, start)
        self.bytes_since_index_entry += size
        return start

    def append_batches(self, buffer: "Buffer", position: int, size: int, max_timestamp: int) -> int:
        """Writes several batches at once; `note_batch` must follow for each of them."""
        start = self.size
        self.records.append(buffer, position, size)
        self.size = start + size
        if start == 0:
            self._set_roll_times(max_timestamp)
        return start

    def note_batch(self, position: int, size: int, last_offset: int, max_timestamp: int) -> None:
        """Keeps the indexes for a batch that now lies at `position`."""
        if max_timestamp > self.max_timestamp:
            self.max_timestamp = max_timestamp
            self.max_timestamp_offset = last_offset
        if self.bytes_since_index_entry > self.index_interval_bytes:
            self._add_index_entries(last_offset, position)
        self.bytes_since_index_entry += size

    def _add_index_entries(self, last_offset: int, position: int) -> None:
        # The log rolls when an index is full; only many batches of one append, or a recovery, can find it so
        # here.
        if not self.offset_index.is_full:
            self.offset_index.append(last_offset, position)
        if not self.time_index.is_full:
            self.time_index.maybe_append(self.max_timestamp, self.max_timestamp_offset)
        self._index_full = self.offset_index.is_full or self.time_index.is_full
        self.bytes_since_index_entry = 0

    def append_noted(
        self,
        buffer: "Buffer",
        size: int,
        points: list[tuple[int, int, int, int]],
        since_entry: int,
        max_timestamp: int,
        max_timestamp_offset: int,
    ) -> None:
        """Writes batches of which it is known already what the indexes shall say: (last offset, position, largest
        timestamp, its offset) of each entry, then what holds behind the last batch."""
        self.append_batches(buffer, 0, size, max_timestamp)
        for last_offset, position, self.max_timestamp, self.max_timestamp_offset in points:
            self._add_index_entries(last_offset, position)
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

    def write_last_time_entry(self) -> None:
        if self.load_max_timestamp() >= 0:
            self.time_index.maybe_append(self.max_timestamp, self.max_timestamp_offset, skip_full_check=True)

    def flush_indexes(self) -> None:
        """Hands index entries that are in memory to the operating system."""
        if self._offset_index is not None:
            self._offset_index.flush(sync=False)
        if self._time_index is not None:
            self._time_index.flush(sync=False)
        self.txn_index.flush()

    def truncate_to(self, offset: int, now_ms: int) -> int:
        """Cuts off all batches that reach `offset` or beyond; returns how many bytes went."""
        found = self.translate_offset(offset)
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

    def check_format(self) -> None:
        """Raises UnsupportedForMessageFormatError, with file and position, when the first batch is of an old
        format."""
        try:
            for _ in self.records.batch_headers(0, self.size):
                break
        except CorruptRecordError:
            return  # recovery or a reader will tell
        except UnsupportedForMessageFormatError:
            if self.holds_old_message(0):
                raise

    def holds_old_message(self, position: int) -> bool:
        """Whether a message of format 0 or 1 lies here, and not a length with the zeros behind it that a power loss
        left, in a batch whose first bytes end a page. Zeros can be a message, too, with the right CRC-32
        (LegacyRecord.java)."""
        import zlib

        size = int.from_bytes(self._bytes(position + 8, 4), "big", signed=True)
        position += LOG_OVERHEAD
        end = min(position + max(size, 0), self.size)
        if any(self._bytes(position + 4, min(14, end - position - 4))):
            return True
        stored = int.from_bytes(self._bytes(position, 4), "big")
        crc = 0
        for start in range(position + 4, end, PIECE):
            crc = zlib.crc32(self._bytes(start, min(PIECE, end - start)), crc)
        return crc == stored

    def _bytes(self, position: int, size: int) -> bytes:
        piece = self.records.slice(position, size)
        return piece if isinstance(piece, bytes) else piece.read()

    # --- reading ---

    def translate_offset(
        self, offset: int, start_position: int = 0, *, wait: bool = True
    ) -> tuple[int, int, int, int] | None:
        """(base offset, last offset, position, size) of the first batch that reaches `offset`, or None.

        Raises CorruptRecordError where the bytes are no batch.
        """
        try:
            entry_offset, position = self._offsets(wait).lookup(offset, wait)
            found = self.records.search_for_offset(offset, max(position, start_position), wait=wait)
            if (found is not None and found[0] <= offset) or self._leads_to(entry_offset, position, wait):
                return found
            reason: object = f"entry {entry_offset} does not lead to its batch at position {position}"
        except (CorruptIndexError, CorruptRecordError, ValueError) as error:
            if self._rebuilt:
                raise
            reason = error
        # Either the index lies or the log is damaged; with a good index the log speaks for itself.
        self.rebuild_indexes(reason, wait=wait)
        _, position = self._offsets(wait).lookup(offset, wait)
        return self.records.search_for_offset(offset, max(position, start_position), wait=wait)

    def _leads_to(self, last_offset: int, position: int, wait: bool = True) -> bool:
        """Whether an offset index entry points at a batch, and at none behind the one that it was made for.

        Before 3.9.1 an entry had the last offset of a whole append, and the position where that began.
        """
        if position == 0:
            return True
        for header in self.records.batch_headers(position, self.size, wait=wait):
            return header.last_offset <= last_offset
        return False

    def slice(self, position: int, size: int) -> FileSlice | bytes:
        return self.records.slice(position, size)

    def fetch_upper_bound(self, position: int, size: int, *, wait: bool = True) -> int | None:
        """An offset that a slice of `size` bytes at `position` does not reach, as far as the index tells."""
        found = self._offsets(wait).fetch_upper_bound(position, size, wait=wait)
        return None if found is None else found[0]

    def read_end(self) -> tuple[int, int]:
        """(one more than the last offset, position) of the end of the last whole batch; walks the headers
        after the last index entry."""
        _, position = self.offset_index.lookup(LONG_MAX)
        next_offset = self.base_offset
        try:
            for header in self.records.batch_headers(position, self.size):
                next_offset = header.last_offset + 1
                position = header.position + header.size_in_bytes
        except CorruptRecordError as error:
            logger.warning("segment %d of %s: %s", self.base_offset, self._directory.path, error)
        return next_offset, position

    def first_batch_timestamp(self) -> int:
        """The first batch's max timestamp, or -1 where there is no batch."""
        if self._rolling_timestamp == NOT_LOADED:
            self._rolling_timestamp = NO_TIMESTAMP
            for header in self.records.batch_headers(0, self.size):
                self._rolling_timestamp = header.max_timestamp
                break
        return self._rolling_timestamp

    def load_max_timestamp(self, *, scan: bool = False, wait: bool = True) -> int:
        """`max_timestamp`, read from the time index, and with `scan` from the batches after its last entry too."""
        if self.max_timestamp != NOT_LOADED:
            return self.max_timestamp
        latest = self._times(wait).last_entry
        # A segment that was sealed or closed has an entry, unless no batch has a timestamp or the file was lost.
        if scan or (latest[0] < 0 and self.size):
            _, position = self._offsets(wait).lookup(latest[1], wait)
            latest = self._latest(latest, position, self.size, wait=wait)
        self.max_timestamp, self.max_timestamp_offset = latest
        return self.max_timestamp

    def _latest(self, latest: tuple[int, int], start: int, end: int, *, wait: bool = True) -> tuple[int, int]:
        """The largest timestamp and its batch's last offset: `latest`, or what lies between two positions."""
        for header in self.records.batch_headers(start, end, wait=wait):
            if header.max_timestamp > latest[0]:
                latest = header.max_timestamp, header.last_offset
        return latest

    def largest_timestamp(self, *, wait: bool = True) -> int:
        """What time-based retention counts from: the file's age where no batch has a timestamp."""
        timestamp = self.load_max_timestamp(wait=wait)
        if timestamp >= 0:
            return timestamp
        return self._directory.modified_ms(self._name(LOG_SUFFIX), wait=wait)

    def find_offset_by_timestamp(
        self, timestamp: int, start_offset: int, *, wait: bool = True
    ) -> tuple[int, int, int | None] | None:
        """(timestamp, offset, leader epoch) of the first record from `start_offset` on that is not older."""
        entry_timestamp, entry_offset = self._times(wait).lookup(timestamp, wait)
        if entry_timestamp >= 0 and not self._rebuilt and not self._has_timestamp(entry_offset, entry_timestamp, wait):
            self.rebuild_indexes(f"time index entry {entry_timestamp} is not that of offset {entry_offset}", wait=wait)
            _, entry_offset = self._times(wait).lookup(timestamp, wait)
        _, position = self._offsets(wait).lookup(max(entry_offset, start_offset), wait)
        return self.records.search_for_timestamp(timestamp, position, start_offset, wait=wait)

    def _has_timestamp(self, offset: int, timestamp: int, wait: bool) -> bool:
        """Whether the batch that holds `offset` has this max timestamp."""
        found = self.translate_offset(offset, wait=wait)
        return found is not None and self._is_max_timestamp(found[2], offset, timestamp, wait)

    def _is_time_of(self, offset: int, timestamp: int) -> bool:
        """As `_has_timestamp`, but believes the offset index; true where there is no timestamp."""
        if timestamp < 0:
            return True
        found = self.records.search_for_offset(offset, self.offset_index.lookup(offset)[1])
        return found is not None and self._is_max_timestamp(found[2], offset, timestamp)

    def _is_max_timestamp(self, position: int, offset: int, timestamp: int, wait: bool = True) -> bool:
        for header in self.records.batch_headers(position, self.size, wait=wait):
            return header.base_offset <= offset and header.max_timestamp == timestamp
        return False

    # --- closing ---

    def _close_indexes(self) -> None:
        if self._offset_index is not None:
            self._offset_index.close()
            self._offset_index = None
        if self._time_index is not None:
            self._time_index.close()
            self._time_index = None

    def close_handles(self) -> None:
        """Closes the files; what the indexes hold in memory is written."""
        self._close_indexes()
        if self._records is not None:
            self._records.close()
            self._records = None

    def drop_handles(self) -> None:
        """Lets go of the files without closing them: a slice that is being sent keeps its own hold."""
        self._records = None
        self._drop_indexes()

    def _drop_indexes(self) -> None:
        """Lets go of the indexes; what they hold in memory only is forgotten."""
        self._offset_index = None
        self._time_index = None


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
