"""The files of a segment: one of batches and its indexes, opened when first used, the indexes built where they cannot
be right.

Index entries are relative to `base_offset`. When the bytes since the last entry exceed `index.interval.bytes`, the next
batch gets one: (its last offset, its position) in the offset index, and at the same moment the largest timestamp so far
in the time index (LogSegment.java, 3.9.1). With `wait=False` nothing waits for the disk: NotCachedError is raised where
it would, and all is as it was.
"""

import logging
from collections.abc import Iterator
from contextlib import suppress

from kstore.errors import CorruptIndexError, CorruptRecordError, KstoreError, UnsupportedForMessageFormatError
from kstore.log.directory import (
    LOG_SUFFIX,
    OFFSET_INDEX_SUFFIX,
    TIME_INDEX_SUFFIX,
    TXN_INDEX_SUFFIX,
    file_name,
)
from kstore.log.files import Directory, Header, OffsetIndexFile, RecordsFile, TimeIndexFile
from kstore.log.rarely import Rarely
from kstore.log.transaction_index import TransactionIndex
from kstore.model import NO_TIMESTAMP

logger = logging.getLogger(__name__)
_rarely = Rarely(logger)

MAX_RELATIVE_OFFSET = 2**31 - 1
LONG_MAX = 2**63 - 1

NOT_LOADED = -(2**63)  # of timestamps that are read from files when first asked for

# What the indexes say of a batch: its last offset, its position, the largest timestamp up to it, the offset of that.
IndexPoint = tuple[int, int, int, int]


class SegmentFiles:
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
            for header in self._headers_in_order():
                self.note_batch(header.position, header.size_in_bytes, header.last_offset, header.max_timestamp)
        except (CorruptRecordError, UnsupportedForMessageFormatError) as error:
            logger.error("%s: segment %d is damaged: %s", self._directory.path, self.base_offset, error)
        if not writable:
            self.write_last_time_entry()
        self.flush_indexes()
        return offset_index, time_index

    def blame_index(self, reason: object, *, wait: bool = True) -> None:
        """Builds the indexes anew for an entry that does not fit the log. Where the log is damaged they stay, for they
        lead to what lies behind the damage; CorruptRecordError or UnsupportedForMessageFormatError tells of it."""
        try:
            for _ in self._headers_in_order(wait=wait):
                pass
        except (CorruptRecordError, UnsupportedForMessageFormatError) as error:
            self._rebuilt = True
            logger.error("%s: segment %d is damaged: %s", self._directory.path, self.base_offset, error)
            raise
        self.rebuild_indexes(reason, wait=wait)

    def _headers_in_order(self, *, wait: bool = True) -> Iterator[Header]:
        """All batch headers; raises CorruptRecordError at the first whose offsets do not follow, which lie outside its
        CRC, and at the end where the last batch is not whole."""
        next_offset, position = self.base_offset, 0
        for header in self.records.batch_headers(0, self.size, wait=wait):
            if not next_offset <= header.base_offset <= header.last_offset <= self._last_possible_offset:
                raise self.damage(
                    f"batch at position {position} has the offsets {header.base_offset} to {header.last_offset},"
                    f" expected {next_offset} or more",
                    position,
                )
            next_offset, position = header.last_offset + 1, position + header.size_in_bytes
            yield header
        if position < self.size:
            raise self.torn(position)

    def damage(self, what: object, position: int | None = None) -> CorruptRecordError:
        error = CorruptRecordError(f"{self._directory.path}/{self._name(LOG_SUFFIX)}: {what}")
        error.position = position
        return error

    def torn(self, position: int) -> CorruptRecordError:
        return self.damage(f"what lies from position {position} to the end, {self.size}, is no whole batch", position)

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

    def note_batch(self, position: int, size: int, last_offset: int, max_timestamp: int) -> None:
        """Keeps the indexes for a batch that now lies at `position`."""
        if max_timestamp > self.max_timestamp:
            self.max_timestamp = max_timestamp
            self.max_timestamp_offset = last_offset
        if self.bytes_since_index_entry > self.index_interval_bytes:
            self._add_index_entries([(last_offset, position, self.max_timestamp, self.max_timestamp_offset)])
            self.bytes_since_index_entry = 0
        self.bytes_since_index_entry += size

    def _add_index_entries(self, points: list[IndexPoint]) -> None:
        """Raises nothing: the batches lie in the log already, and whoever appended them must learn that they do. A
        batch without an entry is found from the one before."""
        try:
            offset_index, time_index = self.offset_index, self.time_index
            for last_offset, position, timestamp, timestamp_offset in points:
                # The log rolls when an index is full; only many batches of one append, or a recovery, can find it so
                # here.
                if not offset_index.is_full:
                    offset_index.append(last_offset, position)
                if not time_index.is_full:
                    time_index.maybe_append(timestamp, timestamp_offset)
            self._index_full = offset_index.is_full or time_index.is_full
        except (OSError, MemoryError, ValueError, KstoreError) as error:
            _rarely.log(
                "entry",
                logging.WARNING,
                "%s: segment %d gets no index entries for offsets from %d on: %s",
                self._directory.path,
                self.base_offset,
                points[0][0],
                error,
            )

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

    def become_writable(self) -> None:
        """Reopens the indexes for writing: this segment is the last one now, or is read again."""
        if not self._writable:
            self._close_indexes()
            self._writable = True

    def become_sealed(self) -> None:
        """Lets the indexes go until somebody searches them."""
        self._close_indexes()
        self._writable = False

    def release_descriptors(self, *, is_durable: bool) -> None:
        """Lets go of what the next use opens again. The batches' file only where all in it is durable: with the last
        descriptor the news of a failed write may be gone."""
        for index in (self._offset_index, self._time_index):
            if index is not None:
                index.release_descriptor()
        if is_durable and self._records is not None:
            self._records.release()

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
