"""From the files of a directory to a log.

Half-finished work of earlier runs is finished or dropped by its suffix, segments are listed, indexes that are missing
are built, and after an unclean stop the end is read again. A log that was closed properly costs a look at its last
segment (LogLoader.scala; rule 43).
"""

import logging
from typing import NamedTuple

from kstore.errors import CorruptIndexError, CorruptRecordError, UnsupportedForMessageFormatError
from kstore.log.checkpoint_file import LEADER_EPOCH_CHECKPOINT, CorruptCheckpointError
from kstore.log.config import LogConfig
from kstore.log.directory import (
    CLEANED_SUFFIX,
    DAMAGED_SUFFIX,
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
from kstore.log.files import Directory
from kstore.log.leader_epoch import LeaderEpochCache
from kstore.log.log_dir import LogDir
from kstore.log.producer_state import ProducerState
from kstore.log.recovery import Recovery, SegmentOverflowError
from kstore.log.replay import rebuild_producer_state, take_snapshot
from kstore.log.segment import Segment, create_segment, roll_jitter
from kstore.log.segments import Segments
from kstore.log.split import split_segment
from kstore.model import TopicPartition

logger = logging.getLogger(__name__)

# Snapshots of KRaft's metadata log, which its owner deletes.
KRAFT_SNAPSHOT_DELETED = ".checkpoint.deleted"

PLAIN_SUFFIXES = (LOG_SUFFIX, *INDEX_SUFFIXES, ".snapshot", "checkpoint", PARTITION_METADATA)
LONG_MAX = 2**63 - 1


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


def load(
    directory: Directory,
    log_dir: LogDir,
    topic_partition: TopicPartition,
    config: LogConfig,
    *,
    log_start_offset: int,
    high_watermark: int | None = None,
    recovery_point: int,
    clean_shutdown: bool,
    now_ms: int,
    producer_id_expiration_ms: int,
) -> LoadedLog:
    """`high_watermark` is what its checkpoint says, if anybody asked it.

    Raises OSError when the disk fails, UnsupportedForMessageFormatError for messages of format 0 or 1 and
    CorruptRecordError for a partition.metadata that cannot be read, with file and position.
    """
    while True:
        try:
            return _load_once(
                directory,
                log_dir,
                topic_partition,
                config,
                log_start_offset=log_start_offset,
                high_watermark=high_watermark,
                recovery_point=recovery_point,
                clean_shutdown=clean_shutdown,
                now_ms=now_ms,
                producer_id_expiration_ms=producer_id_expiration_ms,
            )
        except SegmentOverflowError as error:
            split_segment(directory, error.segment)


def _load_once(
    directory: Directory,
    log_dir: LogDir,
    topic_partition: TopicPartition,
    config: LogConfig,
    *,
    log_start_offset: int,
    high_watermark: int | None,
    recovery_point: int,
    clean_shutdown: bool,
    now_ms: int,
    producer_id_expiration_ms: int,
) -> LoadedLog:
    names = finish_interrupted_work(directory, directory.names())
    segments, damaged = _load_segments(directory, names, config, now_ms)
    state = ProducerState(topic_partition, directory, expiration_ms=producer_id_expiration_ms, names=names)
    epochs = _load_leader_epochs(directory, segments)
    is_new = not len(segments)
    if not is_new and high_watermark is not None and log_start_offset > high_watermark:
        log_start_offset = _believable_start(topic_partition, segments, log_start_offset, high_watermark)
    recovery = Recovery(
        directory,
        log_dir,
        topic_partition,
        config,
        segments,
        state,
        epochs,
        recovery_point,
        now_ms,
        was_closed=clean_shutdown,
    )
    for segment in damaged:
        if not clean_shutdown and segment.base_offset >= recovery_point:
            continue  # it is read anyway, and what lies before it need not be whole
        recovery.rebuild_indexes(segment, log_start_offset)
    if not clean_shutdown and not is_new:
        recovery.recover(log_start_offset, recovery_point)

    log_end_offset = log_start_offset
    if not is_new:
        segments.active.become_writable()  # before anything opens its indexes for reading
        log_end_offset, end_position = segments.active.read_end()
        if end_position != segments.active.size:
            # Whatever was said of the last stop: nothing may be appended behind bytes that are no batch.
            recovery.recover(log_start_offset, segments.active.base_offset)
            log_end_offset, _ = segments.active.read_end()
    if log_end_offset < log_start_offset:
        logger.warning(
            "%s: the log ends at offset %d, before its start %d: deleting all of it, which had been deleted before",
            topic_partition,
            log_end_offset,
            log_start_offset,
        )
        recovery.remove(list(segments), keeps=False)
        epochs.clear()
        state.truncate_fully_and_start_at(log_start_offset)
        log_end_offset = log_start_offset
        clean_shutdown = False
    if not len(segments):
        segments.add(create_segment(directory, log_start_offset, config, now_ms))
    active = segments.active
    active.become_writable()
    active.load_max_timestamp()
    active.roll_jitter_ms = roll_jitter(config)

    epochs.truncate_from_end(log_end_offset)
    epochs.truncate_from_start(log_start_offset)
    log_start_offset = max(log_start_offset, segments.first.base_offset)
    state.remove_stray_snapshots(segments.base_offsets)
    if clean_shutdown and not state.snapshots:
        # Nobody has written idempotently here, or an old version closed the log; there is nothing to rebuild
        # from.
        state.map_end_offset = log_end_offset
        state.snapshot_offset = log_start_offset
    else:
        rebuild_producer_state(state, segments, log_start_offset, log_end_offset, now_ms=now_ms)
    take_snapshot(state, log_dir)
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


def _believable_start(
    topic_partition: TopicPartition, segments: Segments, log_start_offset: int, high_watermark: int
) -> int:
    """The log start that a checkpoint tells, or 0 where that lies beyond all that is known of the log.

    A log may end before its start: records were deleted, and a power loss took the tail. Nothing of it is to be seen
    again then. But a start is never above the high watermark, so where neither that file nor a batch reaches it, the
    checkpoint is damaged. Kafka deletes the whole log then (LogLoader.deleteSegmentsIfLogStartGreaterThanLogEnd).
    """
    active = segments.active
    end_offset = active.base_offset
    try:
        for header in active.records.batch_headers(0, active.size):
            end_offset = header.last_offset + 1
    except (CorruptRecordError, UnsupportedForMessageFormatError):
        pass  # recovery or a reader will tell
    if log_start_offset <= end_offset:
        return log_start_offset
    logger.error(
        "%s: its checkpoint says that it begins at offset %d, but it ends at %d and its high watermark was %d: the"
        " checkpoint is not believed, and deleted records may be seen again",
        topic_partition,
        log_start_offset,
        end_offset,
        high_watermark,
    )
    return 0


def finish_interrupted_work(directory: Directory, names: list[str]) -> list[str]:
    """Deals with files that a rewrite of segments left half-way; returns the names that there are then.

    `.deleted` goes. `.cleaned` means that a rewrite was not finished: it goes, and with it every `.swap` at
    or above it (a split renames from the highest offset down). What is left of `.swap` was finished: it
    replaces the segments of its range (LogLoader.removeTempFilesAndCollectSwapFiles, KAFKA-6264).
    """
    if all(name.endswith(PLAIN_SUFFIXES) for name in names):
        return names
    gone = [n for n in names if n.endswith(DELETED_SUFFIX) and not n.endswith(KRAFT_SNAPSHOT_DELETED)]
    cleaned = [name for name in names if name.endswith(CLEANED_SUFFIX)]
    swaps = [name for name in names if name.endswith(SWAP_SUFFIX)]
    first_cleaned = min((offset_of(name) for name in cleaned), default=LONG_MAX)
    valid_swaps = [name for name in swaps if offset_of(name) < first_cleaned]
    for name in [*gone, *(name for name in swaps if name not in valid_swaps), *cleaned]:
        logger.info("%s: deleting %s, a left-over", directory.path, name)
        directory.delete(name)
    if valid_swaps:
        _finish_swap(directory, names, valid_swaps)
    return directory.names()


def _finish_swap(directory: Directory, names: list[str], swaps: list[str]) -> None:
    """Of `.swap` files only the log counts: indexes are built anew, for nobody knows whether these are all and whether
    one of them has its own name already."""
    start, end = LONG_MAX, -1
    for name in swaps:
        if name.endswith(LOG_SUFFIX + SWAP_SUFFIX):
            base_offset = offset_of(name)
            start = min(start, base_offset)
            next_offset = base_offset + 1  # of an empty one, too, the namesake goes
            for header in directory.open_records(name).batch_headers():
                next_offset = header.last_offset + 1
            end = max(end, next_offset)
    for name in names:
        if (
            not name.endswith((SWAP_SUFFIX, DELETED_SUFFIX, CLEANED_SUFFIX, DAMAGED_SUFFIX))
            and start <= offset_of(name) < end
        ):
            logger.info("%s: deleting %s, which a finished rewrite replaces", directory.path, name)
            directory.delete(name)
    for name in swaps:
        if name.endswith(LOG_SUFFIX + SWAP_SUFFIX):
            logger.info("%s: finishing the rewrite of %s", directory.path, name)
            directory.rename(name, name.removesuffix(SWAP_SUFFIX))
        else:
            directory.delete(name)


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
        if not 0 <= base_offset <= LONG_MAX:
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
        if not epochs.entries and _first_epoch(segments) >= 0:
            # A rename may outlive the bytes of the file it named.
            raise CorruptCheckpointError(f"{LEADER_EPOCH_CHECKPOINT} is empty, the log is not")
    except CorruptCheckpointError as error:
        logger.warning("%s: %s; reading the leader epochs from the log", directory.path, error)
        epochs = LeaderEpochCache(directory)
        try:
            for segment in segments:
                for header in segment.records.batch_headers(0, segment.size):
                    if header.partition_leader_epoch > epochs.latest_epoch:
                        epochs.assign(header.partition_leader_epoch, header.base_offset)
        except (CorruptRecordError, UnsupportedForMessageFormatError) as damage:
            logger.warning("%s: leader epochs are known up to damage: %s", directory.path, damage)
        epochs.flush()
    return epochs


def _first_epoch(segments: Segments) -> int:
    """The leader epoch of the first batch, or -1 where there is none."""
    for segment in segments:
        try:
            for header in segment.records.batch_headers(0, segment.size):
                return header.partition_leader_epoch
        except (CorruptRecordError, UnsupportedForMessageFormatError):
            return -1  # recovery or a reader will tell
    return -1


def _load_topic_id(directory: Directory, names: list[str], *, is_empty: bool) -> bytes | None:
    if PARTITION_METADATA not in names:
        return None
    content = directory.read_file(PARTITION_METADATA) or b""
    topic_id = parse_partition_metadata(content)
    if topic_id is None and not is_empty:
        raise CorruptRecordError(f"{directory.path}/{PARTITION_METADATA} holds {content!r}, no topic id")
    return topic_id
