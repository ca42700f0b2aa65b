"""Loading a log from its directory, and bringing it in order after an unclean stop.

What lies below the recovery point was fsynced and is believed; from there on every batch is read and its CRC
checked, the first that is torn or wrong ends the log, and indexes, leader epochs and producer state are made
to fit. Half-finished work of earlier runs is finished or dropped by its suffix (LogLoader.scala,
LogSegment.recover; rules 37 and 43).
"""

import logging
from typing import NamedTuple

from kstore._native.batch import RecordBatch
from kstore.errors import CorruptIndexError, CorruptRecordError
from kstore.log.checkpoint_file import CorruptCheckpointError
from kstore.log.config import LogConfig
from kstore.log.directory import (
    CLEANED_SUFFIX,
    DELETED_SUFFIX,
    INDEX_SUFFIXES,
    LOG_SUFFIX,
    OFFSET_INDEX_SUFFIX,
    PARTITION_METADATA,
    SWAP_SUFFIX,
    TIME_INDEX_SUFFIX,
    TXN_INDEX_SUFFIX,
    file_name,
    offset_of,
    parse_partition_metadata,
)
from kstore.log.files import Directory, Header
from kstore.log.leader_epoch import LeaderEpochCache
from kstore.log.log_dir import DeletedFiles, LogDir
from kstore.log.producer_state import MAX_SEQUENCE, CompletedTxn, ProducerState
from kstore.log.segment import Segment
from kstore.log.segments import Segments
from kstore.model import TopicPartition

logger = logging.getLogger(__name__)

LARGE_SEGMENT_BYTES = 256 * 1024 * 1024

TRANSACTIONAL = 0x10
CONTROL = 0x20
ABORT_MARKER, COMMIT_MARKER = 0, 1

# Snapshots of KRaft's metadata log, which its owner deletes.
KRAFT_SNAPSHOT_DELETED = ".checkpoint.deleted"


class LoadedLog(NamedTuple):
    """What a partition's files amount to. `recovered_from_crash` is true when the log was not closed
    properly."""

    segments: Segments
    leader_epochs: LeaderEpochCache
    producer_state: ProducerState
    log_start_offset: int
    log_end_offset: int
    recovery_point: int
    topic_id: bytes | None
    recovered_from_crash: bool
    is_new: bool


def create_segment(directory: Directory, base_offset: int, config: LogConfig, now_ms: int) -> Segment:
    """A new, empty segment to append to. Raises OSError."""
    return Segment.create(
        directory,
        base_offset,
        index_interval_bytes=config.index_interval_bytes,
        max_index_bytes=config.segment_index_bytes,
        roll_jitter_ms=_roll_jitter(config),
        now_ms=now_ms,
        preallocate=config.segment_bytes if config.preallocate else 0,
    )


def _roll_jitter(config: LogConfig) -> int:
    if config.segment_jitter_ms == 0:
        return 0
    import random

    return random.randrange(min(config.segment_jitter_ms, config.segment_ms))


# --- producer state from the log ---


def apply_batch(
    state: ProducerState, batch: RecordBatch, segment_base_offset: int = -1, position: int = -1
) -> CompletedTxn | None:
    """Takes a batch that is in the log into the producer state. The caller completes the transaction that is
    returned.

    Nothing is refused here: the leader has done that. A control batch that is empty is what compaction left.
    """
    if batch.is_control:
        marker = batch.control_record()
        if marker is None or marker[0] not in (ABORT_MARKER, COMMIT_MARKER):
            return None
        return state.append_marker(
            batch.producer_id,
            batch.producer_epoch,
            marker[1],
            batch.base_offset,
            batch.max_timestamp,
            aborted=marker[0] == ABORT_MARKER,
        )
    state.append_data(
        batch.producer_id,
        batch.producer_epoch,
        batch.last_sequence,
        batch.base_offset,
        batch.last_offset,
        batch.max_timestamp,
        transactional=batch.is_transactional,
        segment_base_offset=segment_base_offset,
        position=position,
    )
    return None


def _apply_header(state: ProducerState, segment: Segment, header: Header) -> CompletedTxn | None:
    """As `apply_batch`, from a header alone; only markers are read whole."""
    if header.attributes & CONTROL:
        batch = segment.records.read_batch(header.position)
        return None if batch is None else apply_batch(state, batch)
    sequence = header.base_sequence + header.last_offset - header.base_offset
    state.append_data(
        header.producer_id,
        header.producer_epoch,
        sequence if sequence <= MAX_SEQUENCE else sequence - MAX_SEQUENCE - 1,
        header.base_offset,
        header.last_offset,
        header.max_timestamp,
        transactional=bool(header.attributes & TRANSACTIONAL),
        segment_base_offset=segment.base_offset,
        position=header.position,
    )
    return None


def replay(state: ProducerState, segments: Segments, end_offset: int) -> None:
    """Reads the headers from the state's end offset up to `end_offset` into the state."""
    for segment in segments.between(state.map_end_offset, end_offset):
        start_offset = max(segment.base_offset, state.map_end_offset)
        _, position = segment.offset_index.lookup(start_offset)
        for header in segment.records.batch_headers(position, segment.size):
            if header.last_offset < start_offset or header.producer_id < 0:
                continue
            if header.base_offset >= end_offset:
                break
            completed = _apply_header(state, segment, header)
            if completed is not None:
                state.complete(completed)
    state.map_end_offset = max(state.map_end_offset, end_offset)


def rebuild_producer_state(
    state: ProducerState, segments: Segments, log_start_offset: int, end_offset: int, *, now_ms: int
) -> None:
    """Makes the state that of a log that ends at `end_offset`: from the latest snapshot, and by reading
    on."""
    was_empty = state.is_empty() and state.map_end_offset >= end_offset
    state.truncate_and_reload(log_start_offset, end_offset, now_ms)
    if end_offset > state.map_end_offset and not was_empty:
        replay(state, segments, end_offset)
    state.map_end_offset = end_offset
    state.take_snapshot()


# --- loading ---


def load(
    directory: Directory,
    log_dir: LogDir,
    topic_partition: TopicPartition,
    config: LogConfig,
    *,
    log_start_offset: int,
    recovery_point: int,
    clean_shutdown: bool,
    now_ms: int,
    producer_id_expiration_ms: int,
) -> LoadedLog:
    """Raises OSError when the disk fails, UnsupportedForMessageFormatError for messages of format 0 or 1 and
    CorruptRecordError for a partition.metadata that cannot be read, with file and position."""
    names = finish_interrupted_work(directory, directory.names())
    segments, damaged = _load_segments(directory, names, config, now_ms)
    state = ProducerState(topic_partition, directory, expiration_ms=producer_id_expiration_ms, names=names)
    epochs = _load_leader_epochs(directory, segments)
    is_new = not len(segments)
    recovery = _Recovery(directory, log_dir, topic_partition, config, segments, state, epochs, now_ms)
    for segment in damaged:
        recovery.rebuild_indexes(segment, log_start_offset)
    if not clean_shutdown and not is_new:
        recovery.recover(log_start_offset, recovery_point)

    log_end_offset = log_start_offset
    if not is_new:
        log_end_offset, end_position = segments.active.read_end()
        if end_position != segments.active.size:
            # Whatever was said of the last stop: nothing may be appended behind bytes that are no batch.
            recovery.recover(log_start_offset, segments.active.base_offset)
            log_end_offset, _ = segments.active.read_end()
    if log_end_offset < log_start_offset:
        logger.warning(
            "%s: log end offset %d is below the log start offset %d, deleting all segments",
            topic_partition,
            log_end_offset,
            log_start_offset,
        )
        recovery.remove(list(segments))
        epochs.clear()
        state.truncate_fully_and_start_at(log_start_offset)
        log_end_offset = log_start_offset
        clean_shutdown = False
    if not len(segments):
        segments.add(create_segment(directory, log_start_offset, config, now_ms))
    active = segments.active
    active.become_writable()
    active.load_max_timestamp()
    active.roll_jitter_ms = _roll_jitter(config)

    epochs.truncate_from_end(log_end_offset)
    epochs.truncate_from_start(log_start_offset)
    log_start_offset = max(log_start_offset, segments.first.base_offset)
    state.remove_stray_snapshots(segments.base_offsets)
    if clean_shutdown and not state.snapshots:
        # Nobody has written idempotently here, or an old version closed the log; there is nothing to rebuild
        # from.
        state.map_end_offset = log_end_offset
        state.snapshot_offset = log_start_offset
        state.take_snapshot()
    else:
        rebuild_producer_state(state, segments, log_start_offset, log_end_offset, now_ms=now_ms)
    return LoadedLog(
        segments,
        epochs,
        state,
        log_start_offset,
        log_end_offset,
        log_end_offset if clean_shutdown else min(recovery_point, log_end_offset),
        _load_topic_id(directory, names, is_empty=log_end_offset == 0),
        not clean_shutdown and not is_new,
        is_new,
    )


def finish_interrupted_work(directory: Directory, names: list[str]) -> list[str]:
    """Deals with files that a rewrite of segments left half-way; returns the names that there are then.

    `.deleted` goes. `.cleaned` means that a rewrite was not finished: it goes, and with it every `.swap` at
    or above it (a split renames from the highest offset down). What is left of `.swap` was finished: it
    replaces the segments of its range (LogLoader.removeTempFilesAndCollectSwapFiles, KAFKA-6264).
    """
    if all(name.endswith(_PLAIN_SUFFIXES) for name in names):
        return names
    gone = [n for n in names if n.endswith(DELETED_SUFFIX) and not n.endswith(KRAFT_SNAPSHOT_DELETED)]
    cleaned = [name for name in names if name.endswith(CLEANED_SUFFIX)]
    swaps = [name for name in names if name.endswith(SWAP_SUFFIX)]
    first_cleaned = min((offset_of(name) for name in cleaned), default=_LONG_MAX)
    valid_swaps = [name for name in swaps if offset_of(name) < first_cleaned]
    for name in [*gone, *(name for name in swaps if name not in valid_swaps), *cleaned]:
        logger.info("%s: deleting %s, a left-over", directory.path, name)
        directory.delete(name)
    if valid_swaps:
        _finish_swap(directory, names, valid_swaps)
    return directory.names()


def _finish_swap(directory: Directory, names: list[str], swaps: list[str]) -> None:
    start, end = _LONG_MAX, -1
    for name in swaps:
        if name.endswith(LOG_SUFFIX + SWAP_SUFFIX):
            base_offset = offset_of(name)
            start = min(start, base_offset)
            next_offset = base_offset
            for header in directory.open_records(name).batch_headers():
                next_offset = header.last_offset + 1
            end = max(end, next_offset)
    for name in names:
        if not name.endswith((SWAP_SUFFIX, DELETED_SUFFIX, CLEANED_SUFFIX)) and start <= offset_of(name) < end:
            logger.info("%s: deleting %s, which a finished rewrite replaces", directory.path, name)
            directory.delete(name)
    for name in swaps:
        logger.info("%s: finishing the rewrite of %s", directory.path, name)
        directory.rename(name, name.removesuffix(SWAP_SUFFIX))


def _load_segments(
    directory: Directory, names: list[str], config: LogConfig, now_ms: int
) -> tuple[Segments, list[Segment]]:
    """The segments, none opened but for a look at its first batch, and those whose indexes must be built
    anew."""
    present = set(names)
    segments = Segments()
    damaged = []
    for name in names:
        base_offset = offset_of(name)
        if name.endswith(INDEX_SUFFIXES) and file_name(base_offset, LOG_SUFFIX) not in present:
            logger.warning("%s: deleting %s, an index without a log", directory.path, name)
            directory.delete(name)
        if not name.endswith(LOG_SUFFIX):
            continue
        if base_offset < 0:
            raise CorruptRecordError(f"{directory.path} holds {name}, which is not named after an offset")
        segment = Segment(
            directory,
            base_offset,
            size=directory.size_of(name),
            writable=False,
            has_txn_index=file_name(base_offset, TXN_INDEX_SUFFIX) in present,
            index_interval_bytes=config.index_interval_bytes,
            max_index_bytes=config.segment_index_bytes,
            roll_jitter_ms=0,
            now_ms=now_ms,
        )
        segments.add(segment)
        missing = [s for s in (OFFSET_INDEX_SUFFIX, TIME_INDEX_SUFFIX) if file_name(base_offset, s) not in present]
        try:
            segment.txn_index.sanity_check()
        except CorruptIndexError as error:
            missing.append(TXN_INDEX_SUFFIX)
            logger.warning("%s: %s", directory.path, error)
        if missing:
            logger.warning("%s: indexes %s of %s are missing or damaged, rebuilding", directory.path, missing, name)
            damaged.append(segment)
    for segment in segments:
        segment.check_format()
        if segment is not segments.active:
            segment.records.release()
    return segments, damaged


def _load_leader_epochs(directory: Directory, segments: Segments) -> LeaderEpochCache:
    """The leader epochs from their file, or from the batches where the file is damaged."""
    epochs = LeaderEpochCache(directory)
    try:
        epochs.load()
    except CorruptCheckpointError as error:
        logger.warning("%s: %s; reading the leader epochs from the log", directory.path, error)
        epochs = LeaderEpochCache(directory)
        for segment in segments:
            for header in segment.records.batch_headers(0, segment.size):
                if header.partition_leader_epoch > epochs.latest_epoch:
                    epochs.assign(header.partition_leader_epoch, header.base_offset)
        epochs.flush()
    return epochs


def _load_topic_id(directory: Directory, names: list[str], *, is_empty: bool) -> bytes | None:
    if PARTITION_METADATA not in names:
        return None
    content = directory.read_file(PARTITION_METADATA) or b""
    topic_id = parse_partition_metadata(content)
    if topic_id is None and not is_empty:
        raise CorruptRecordError(f"{directory.path}/{PARTITION_METADATA} holds {content!r}, no topic id")
    return topic_id


class _Recovery:
    """Reads segments again and makes all that is derived from them fit."""

    def __init__(
        self,
        directory: Directory,
        log_dir: LogDir,
        topic_partition: TopicPartition,
        config: LogConfig,
        segments: Segments,
        state: ProducerState,
        epochs: LeaderEpochCache,
        now_ms: int,
    ) -> None:
        self.directory = directory
        self.log_dir = log_dir
        self.topic_partition = topic_partition
        self.config = config
        self.segments = segments
        self.state = state
        self.epochs = epochs
        self.now_ms = now_ms

    def rebuild_indexes(self, segment: Segment, log_start_offset: int) -> None:
        """For a segment whose indexes are missing or damaged; its batches are believed up to the first bad
        one."""
        self.state.load_before(segment.base_offset, log_start_offset, self.now_ms)
        replay(self.state, self.segments, segment.base_offset)
        segment.become_writable()
        # Damage inside the log stays where it is, for readers to be told of; only the end of the log is cut.
        self._read_segment(segment, segment.base_offset, cut=segment is self.segments.active)
        segment.write_last_time_entry()
        segment.flush_indexes()
        segment.become_sealed()

    def recover(self, log_start_offset: int, recovery_point: int) -> None:
        """Reads everything from the recovery point on; the log ends before the first batch that is not
        whole."""
        unflushed = self.segments.starting_from(recovery_point)
        first_offset = max(recovery_point, unflushed[0].base_offset)
        self.state.delete_snapshots_after(first_offset)
        self.state.load_before(first_offset, log_start_offset, self.now_ms)
        replay(self.state, self.segments, first_offset)
        for index, segment in enumerate(unflushed):
            # Told only where it takes a while: a thousand small partitions are one line of the manager's.
            logger.log(
                logging.INFO if segment.size > LARGE_SEGMENT_BYTES else logging.DEBUG,
                "%s: recovering segment %d from offset %d (%d of %d)",
                self.topic_partition,
                segment.base_offset,
                max(first_offset, segment.base_offset),
                index + 1,
                len(unflushed),
            )
            segment.become_writable()
            if segment.base_offset > first_offset:
                self.state.map_end_offset = segment.base_offset
                self.state.take_snapshot()
            removed = self._read_segment(segment, max(first_offset, segment.base_offset))
            segment.write_last_time_entry()
            segment.flush_indexes()
            if segment is not unflushed[-1]:
                segment.become_sealed()
            if removed:
                self.remove(unflushed[index + 1 :])
                break
        self.epochs.flush()

    def _read_segment(self, segment: Segment, from_offset: int, *, cut: bool = True) -> int:
        """Reads the batches from `from_offset` on, all of them checked; returns how many bytes are no whole
        batches."""
        position = segment.prepare_recovery(from_offset)
        state = self.state
        epochs = self.epochs
        next_offset = segment.base_offset
        scan = segment.records.scan(position)
        error: CorruptRecordError | None = None
        for batch in scan:
            last_offset = batch.last_offset
            if not next_offset <= batch.base_offset <= last_offset <= segment.last_possible_offset:
                error = CorruptRecordError(
                    f"batch at position {position} has the offsets {batch.base_offset} to {last_offset},"
                    f" expected {next_offset} or more"
                )
                break
            segment.note_batch(position, batch.size_in_bytes, last_offset, batch.max_timestamp)
            position += batch.size_in_bytes
            next_offset = last_offset + 1
            if batch.partition_leader_epoch > epochs.latest_epoch:
                epochs.assign(batch.partition_leader_epoch, batch.base_offset)
            if batch.producer_id >= 0 and batch.base_offset >= state.map_end_offset:
                completed = apply_batch(state, batch)
                if completed is not None:
                    if completed.is_aborted and last_offset >= from_offset:
                        segment.note_aborted(state.aborted_txn(completed))
                    state.complete(completed)
        state.map_end_offset = max(state.map_end_offset, next_offset)
        removed = segment.size - position
        if removed:
            logger.warning(
                "%s: segment %d ends at position %d of %d: %s",
                self.topic_partition,
                segment.base_offset,
                position,
                segment.size,
                error or scan.error,
            )
            if cut:
                segment.cut(position)
        return removed

    def remove(self, segments: list[Segment]) -> None:
        """Takes segments that follow damage out of the log; their files go later."""
        names = []
        for segment in segments:
            logger.warning("%s: removing segment %d", self.topic_partition, segment.base_offset)
            self.segments.remove(segment)
            for name in segment.file_names():
                if self.directory.rename(name, name + DELETED_SUFFIX):
                    names.append(name + DELETED_SUFFIX)
            segment.drop_handles()
            snapshot = self.state.mark_snapshot_deleted(segment.base_offset)
            if snapshot is not None:
                names.append(snapshot)
        if names:
            due_ms = self.now_ms + self.config.file_delete_delay_ms
            self.log_dir.deleted.append(DeletedFiles(self.directory, names, due_ms))


_LONG_MAX = 2**63 - 1
_PLAIN_SUFFIXES = (LOG_SUFFIX, *INDEX_SUFFIXES, ".snapshot", "checkpoint", PARTITION_METADATA)
