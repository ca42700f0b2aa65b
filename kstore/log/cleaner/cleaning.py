"""One cleaning of one log: the part that may run in any thread, cut into slices.

It begins with a picture of the log that its owner took: nothing that it reads changes but by a truncation or a
deletion, after which the owner drops it. A group of segments is copied into one new segment:

    .cleaned     while it is written
    .swap        when it is whole and on the disk: from here on a start after a crash completes what follows
    (SWAP)       the owner puts it in the place of the old ones, whose files become `.deleted`
    (RENAME)     when that is on the disk the owner gives the files their own names

The directory is synced between the last two, for a power loss may keep the last rename and lose the ones before it: an
old segment would then lie among the new one's offsets (Cleaner.doClean, LocalLog.replaceSegments).
"""

from collections.abc import Generator, Iterator
from typing import NamedTuple

from kstore._native.batch import LOG_OVERHEAD, RecordBatch
from kstore._native.compaction import ENTRY_SIZE, FULL, OTHER, Compactor, OffsetMap, check_chunk
from kstore.errors import CorruptIndexError, CorruptRecordError
from kstore.log.cleaner.cleanable import Cleanable
from kstore.log.cleaner.config import CleanerConfig
from kstore.log.cleaner.groups import SegmentSizes, group_segments
from kstore.log.cleaner.steps import RENAME, SLICE, SWAP, WAIT, OvertakenError, SyncFailedError
from kstore.log.cleaner.transactions import WalkedTransactions
from kstore.log.directory import (
    CLEANED_SUFFIX,
    LOG_SUFFIX,
    OFFSET_INDEX_SUFFIX,
    SEGMENT_SUFFIXES,
    SWAP_SUFFIX,
    TIME_INDEX_SUFFIX,
    file_name,
)
from kstore.log.files import RecordsFile
from kstore.log.log_dir import OUT_OF_DESCRIPTORS
from kstore.log.partition_log import PartitionLog
from kstore.log.segment import Segment
from kstore.log.transaction_index import AbortedTxn

INT_MAX = 2**31 - 1


class Source(NamedTuple):
    """A segment to read; its offsets end at `end_offset` at the latest."""

    base_offset: int
    size: int
    end_offset: int


class Cleaning:
    """`next_slice` goes on; `swap` says what to exchange when it gives SWAP or RENAME."""

    def __init__(self, log: PartitionLog, part: Cleanable, config: CleanerConfig, *, slice_size: int, now_ms: int):
        """Takes the picture; on the thread that owns the log."""
        self._log = log
        self.truncations = log.truncations
        self.directory = log.directory
        self.topic_partition = log.topic_partition
        self.config = log.config
        self.part = part
        self.now_ms = now_ms
        self.chunk_size = config.chunk_size
        self.map_size = config.map_size
        self.load_factor = min(max(config.load_factor, 0.01), 1.0)
        self.slice_size = slice_size
        segments = log.segments.between(-1, part.end_offset)
        ends = [segment.base_offset for segment in segments[1:]] + [part.end_offset]
        self.sources = [Source(s.base_offset, s.size, end) for s, end in zip(segments, ends, strict=True)]
        # Markers lie behind the data that they decide on, perhaps in the active segment.
        self._txn_indexes = [segment.txn_index.copy() for segment in log.segments if segment.txn_index.exists]
        self._last_batches = [(e.producer_id, e.last_offset, e.epoch) for e in log.producer_state.producers.values()]
        # Batches were bounded when they came, by what the configuration said then.
        self._max_bytes = INT_MAX

        self.end_offset = part.first_dirty_offset
        self.bytes_read = self.bytes_mapped = self.bytes_written = 0
        self.records_read = self.records_kept = self.records_without_key = 0
        self.map_used = 0.0
        self.new: Segment | None = None
        self.old: list[int] = []
        self.is_in_place = False  # set by who has done what SWAP asks
        self._since_slice = 0
        self._sync_failed = False  # what could not be synced is not synced again
        self._steps = self._run()

    def next_slice(self) -> str | None:
        """Does some more: SLICE, SWAP, RENAME, or None at the end. Raises what went wrong, with nothing left behind
        but what was put in place before."""
        return next(self._steps, None)

    def drop(self) -> None:
        """Ends it here; deletes what is not in place."""
        self._steps.close()

    def take_done(self) -> int:
        """How many bytes were read and written since the last call."""
        done = self._since_slice
        self._since_slice = 0
        return done

    def _run(self) -> Generator[str, None, None]:
        offset_map = self._make_map()
        yield from self._fill(offset_map)
        self.end_offset = offset_map.latest_offset + 1
        self.map_used = len(offset_map) / offset_map.limit
        sources = [source for source in self.sources if source.base_offset < self.end_offset]
        walked = WalkedTransactions(self._aborted(0))
        compactor = Compactor(
            offset_map,
            now_ms=self.now_ms,
            delete_retention_ms=self.config.delete_retention_ms,
            last_batches=self._last_batches,
            transactions=walked.open,
            room=self.chunk_size,
        )
        for group in self._groups(sources):
            yield from self._rewrite(group, compactor, walked)
        self.records_read, self.records_kept = compactor.records_read, compactor.records_kept
        self.records_without_key = compactor.records_without_key
        self._sync(None, [])

    # --- the map ---

    def _make_map(self) -> OffsetMap:
        """As large as it may be, but no larger than all dirty records need."""
        most = max(2, self.map_size // ENTRY_SIZE)
        needed = int((self.part.end_offset - self.part.first_dirty_offset) / self.load_factor) + 2
        return OffsetMap(max(2, min(most, needed)), load_factor=self.load_factor)

    def _fill(self, offset_map: OffsetMap) -> Iterator[str]:
        """Takes the keys of the dirty records in, up to the end or until the map is full."""
        start_offset = self.part.first_dirty_offset
        walked = WalkedTransactions(self._aborted(start_offset))
        for source in self.sources:
            if source.end_offset <= start_offset:
                continue
            records = self._open(source)
            position = self._position_of(records, source, start_offset)
            for data in self._chunks(records, source, position):
                if not self._index(offset_map, data, start_offset, walked):
                    return
                self.bytes_mapped += len(data)
                if self._since_slice >= self.slice_size:
                    yield SLICE
            records.close()
            # Behind the last batch there may be offsets without records, and all of these are known.
            offset_map.latest_offset = source.end_offset - 1

    def _index(self, offset_map: OffsetMap, data: memoryview, start_offset: int, walked: WalkedTransactions) -> bool:
        """Takes a chunk of whole batches in; False when the map is full."""
        position = 0
        while True:
            position, status = offset_map.index_chunk(data, position, start_offset, walked.open)
            if status != OTHER:
                return status != FULL
            batch = RecordBatch(data, position)
            position += batch.size_in_bytes
            if batch.is_control:
                walked.is_free(batch)
            elif batch.is_transactional and walked.is_aborted(batch):
                pass  # none of its records supersedes anything
            elif not offset_map.index_batch(batch, start_offset, self._max_bytes):
                return False
            if batch.last_offset >= start_offset:
                offset_map.latest_offset = batch.last_offset

    # --- copying ---

    def _groups(self, sources: list[Source]) -> Iterator[list[Source]]:
        by_base = {source.base_offset: source for source in sources}
        sizes = [
            SegmentSizes(
                source.base_offset,
                source.size,
                self._size_of(source, OFFSET_INDEX_SUFFIX),
                self._size_of(source, TIME_INDEX_SUFFIX),
            )
            for source in sources
        ]
        for group in group_segments(
            sizes,
            segment_bytes=self.config.segment_bytes,
            max_index_bytes=self.config.segment_index_bytes,
            end_offset=self.part.end_offset,
        ):
            yield [by_base[base_offset] for base_offset in group]

    def _size_of(self, source: Source, suffix: str) -> int:
        try:
            return self.directory.size_of(file_name(source.base_offset, suffix))
        except FileNotFoundError:
            return 0

    def _rewrite(self, group: list[Source], compactor: Compactor, walked: WalkedTransactions) -> Iterator[str]:
        base_offset = group[0].base_offset
        cleaned_names = [file_name(base_offset, suffix) + CLEANED_SUFFIX for suffix in SEGMENT_SUFFIXES]
        self.is_in_place = False
        for name in cleaned_names:
            self.directory.delete(name)
        try:
            new = Segment.create(
                self.directory,
                base_offset,
                index_interval_bytes=self.config.index_interval_bytes,
                max_index_bytes=self.config.segment_index_bytes,
                now_ms=self.now_ms,
                suffix=CLEANED_SUFFIX,
            )
            for source in group:
                records = self._open(source)
                for data in self._chunks(records, source, 0):
                    self._compact(compactor, data, walked, new)
                    if self._since_slice >= self.slice_size:
                        yield SLICE
                records.close()
            self._write(compactor, new)
            for txn in walked.kept_aborted:
                new.note_aborted(txn)
            walked.kept_aborted.clear()
            self._complete(new, group[-1])
            self.new, self.old = new, [source.base_offset for source in group]
            yield SWAP
        finally:
            if not self.is_in_place:
                self._remove(cleaned_names)
        while not self._names_synced():
            yield WAIT
        yield RENAME

    def _remove(self, cleaned_names: list[str]) -> None:
        """Deletes what was written. A `.swap` must not come back after a power loss: a start would complete it."""
        is_swapped = False
        for name in cleaned_names:
            self.directory.delete(name)
            is_swapped |= self.directory.delete(name.removesuffix(CLEANED_SUFFIX) + SWAP_SUFFIX)
        if is_swapped and not self._sync_failed:
            self._sync(None, [])

    def _compact(self, compactor: Compactor, data: memoryview, walked: WalkedTransactions, new: Segment) -> None:
        position = 0
        while True:
            position, status = compactor.compact_chunk(data, position)
            if status not in (OTHER, FULL):
                return
            if status == FULL and compactor.size:
                self._write(compactor, new)
                continue
            batch = RecordBatch(data, position)
            position += batch.size_in_bytes
            discard = marker_is_free = False
            if batch.is_control:
                marker_is_free = walked.is_free(batch)
                discard = marker_is_free and batch.has_delete_horizon and batch.base_timestamp <= self.now_ms
            elif batch.is_transactional:
                discard = walked.is_aborted(batch)
            while not compactor.compact_batch(
                batch, discard=discard, marker_is_free=marker_is_free, max_bytes=self._max_bytes
            ):
                self._write(compactor, new)

    def _write(self, compactor: Compactor, new: Segment) -> None:
        size = compactor.size
        if not size:
            return
        if new.size + size > INT_MAX:
            raise CorruptRecordError(f"segment {new.base_offset} of {self.topic_partition} would become too large")
        points, since, max_timestamp, max_timestamp_offset = compactor.index_points(
            new.size,
            new.bytes_since_index_entry,
            new.index_interval_bytes,
            new.max_timestamp,
            new.max_timestamp_offset,
        )
        new.append_noted(compactor.finish(), 0, size, max_timestamp, points, since, max_timestamp, max_timestamp_offset)
        compactor.clear()
        self.bytes_written += size
        self._since_slice += size

    def _complete(self, new: Segment, last: Source) -> None:
        """Makes the new segment durable, and gives it its `.swap` name, which is durable then too."""
        new.write_last_time_entry()
        new.flush_indexes()
        records = new.records
        # The age of records without a timestamp is that of their file.
        modified_ms = self.directory.modified_ms(file_name(last.base_offset, LOG_SUFFIX))
        names = new.file_names()
        self.directory.set_modified_ms(names[0], modified_ms)
        self._sync(records, names[1:])
        new.become_sealed()
        with self._log.rewrite_lock:
            if self._log.truncations != self.truncations:
                raise OvertakenError
            new.change_suffix(SWAP_SUFFIX)
            self._sync(None, [])

    def _names_synced(self) -> bool:
        """Makes the names durable of a segment that is in its place already: False while no descriptor is left, for
        there is no way back."""
        try:
            self._sync(None, [])
        except SyncFailedError as error:
            if error.errno not in OUT_OF_DESCRIPTORS:
                raise
            return False
        return True

    def _sync(self, records: RecordsFile | None, names: list[str]) -> None:
        """Makes these files durable, or without any the names in the directory."""
        try:
            if records is None:
                self.directory.sync()
                return
            records.flush()
            for name in names:
                self.directory.sync_file(name)
        except OSError as error:
            self._sync_failed = True
            raise SyncFailedError(error.errno, error.strerror, error.filename) from error

    # --- reading ---

    def _aborted(self, start_offset: int) -> list[AbortedTxn]:
        """The aborted transactions that overlap [start_offset, end of the part)."""
        end_offset = self.part.end_offset
        return [
            txn
            for index in self._txn_indexes
            for txn in index.entries()
            if txn.last_offset >= start_offset and txn.first_offset < end_offset
        ]

    def _open(self, source: Source) -> RecordsFile:
        """The segment's file, for this thread alone."""
        return self.directory.open_records(file_name(source.base_offset, LOG_SUFFIX))

    def _position_of(self, records: RecordsFile, source: Source, offset: int) -> int:
        """Where the batch begins that holds `offset`, or one before it."""
        if offset <= source.base_offset:
            return 0
        name = file_name(source.base_offset, OFFSET_INDEX_SUFFIX)
        most = self.config.segment_index_bytes
        try:
            index = self.directory.open_offset_index(name, source.base_offset, most, writable=False)
            _, position = index.lookup(offset)
            index.close()
            for header in records.batch_headers(position, source.size):
                return position if header.base_offset <= offset else 0
        except (CorruptRecordError, CorruptIndexError, ValueError, OSError):
            pass  # an index that is damaged: all is read
        return 0

    def _chunks(self, records: RecordsFile, source: Source, position: int) -> Iterator[memoryview]:
        """The batches from `position` on, whole and checked, so many at a time as a chunk holds.

        Raises CorruptRecordError where the bytes are no batch.
        """
        wanted = self.chunk_size
        while position < source.size:
            data = self._read(records, position, min(wanted, source.size - position))
            try:
                whole = check_chunk(data, 0)
            except CorruptRecordError as error:
                where = f"at offset {error.offset}, position {position + (error.position or 0)}"
                raise CorruptRecordError(f"{self.topic_partition}: damaged batch {where}") from error
            if not whole:
                wanted = self._size_of_first(data, source, position)
                continue
            wanted = self.chunk_size
            position += whole
            self.bytes_read += whole
            self._since_slice += whole
            yield memoryview(data)[:whole]

    def _size_of_first(self, data: bytes, source: Source, position: int) -> int:
        """The size of a batch that is larger than what was read of it."""
        size = LOG_OVERHEAD + int.from_bytes(data[8:LOG_OVERHEAD], "big", signed=True)
        if len(data) < size <= source.size - position:
            return size
        RecordBatch(data)  # says what is wrong with it
        raise CorruptRecordError(f"{self.topic_partition}: no batch at position {position} of {source.base_offset}")

    def _read(self, records: RecordsFile, position: int, size: int) -> bytes:
        piece = records.slice(position, size)
        data = piece if isinstance(piece, bytes) else piece.read()
        if len(data) < size:
            raise CorruptRecordError(f"{self.topic_partition}: a file has become shorter than {position + size} bytes")
        return data
