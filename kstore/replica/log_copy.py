"""Filling the copy of a replica that is moved to another log directory: a follower that sits beside its leader.

Kafka: ReplicaAlterLogDirsThread.scala. The replica may be cut and grow meanwhile; the leader epochs tell where the two
histories part, as they do between brokers (KIP-101).
"""

from typing import TYPE_CHECKING

from kstore.log.append import LogAppendInfo
from kstore.log.partition_log import LOG_END, PartitionLog, UnexpectedAppendOffsetError
from kstore.replica.truncation import truncation_offset

if TYPE_CHECKING:
    from typing_extensions import Buffer

# What the replica holds is its history, whichever epoch it is of.
ANY_EPOCH = 2**31 - 1
# A batch's base offset and length come first; the length counts what follows it.
LENGTH_AT, LENGTH_END = 8, 12


def append_as_follower(
    log: PartitionLog, records: "Buffer", *, leader_epoch: int, leader_start_offset: int = -1, now_ms: int
) -> LogAppendInfo:
    """Raises CorruptRecordError, UnexpectedAppendOffsetError, KafkaStorageError."""
    try:
        return log.append_as_follower(records, leader_epoch=leader_epoch, now_ms=now_ms)
    except UnexpectedAppendOffsetError as error:
        # A log without anything that the leader still has asked for an offset inside its first batch: it begins
        # where that batch does (rule 42). Kafka knows this of an empty log only, and follows no longer where records
        # were deleted that the two had in other batches.
        holds_nothing = log.log_end_offset in (log.log_start_offset, leader_start_offset)
        if not holds_nothing or error.last_offset < log.log_end_offset:
            raise
        log.truncate_fully_and_start_at(error.first_offset, now_ms=now_ms)
        return log.append_as_follower(records, leader_epoch=leader_epoch, now_ms=now_ms)


def append_some(copy: PartitionLog, records: memoryview, *, most: int, high_watermark: int, now_ms: int) -> int:
    """Appends what the replica has at the copy's end: `most` bytes, or a batch that is larger; gives how many bytes it
    was, 0 where no batch is whole. `high_watermark` is the replica's: what is below it the copy need not remember of
    transactions. Raises CorruptRecordError, UnexpectedAppendOffsetError, KafkaStorageError."""
    # What is appended at once is in one segment, and segments may be smaller than they were.
    size = min(most, copy.config.segment_bytes)
    if len(records) >= LENGTH_END:
        size = max(size, LENGTH_END + int.from_bytes(records[LENGTH_AT:LENGTH_END], "big"))
    appended = append_as_follower(copy, records[:size], leader_epoch=ANY_EPOCH, now_ms=now_ms).size_in_bytes
    copy.update_high_watermark(high_watermark)
    return appended


def skip_gap(source: PartitionLog, copy: PartitionLog, *, now_ms: int) -> None:
    """The replica has no batch from the copy's end on, and ends behind it: what was there has been compacted away."""
    copy.take_over_epochs(source)  # or the copy would be cut where the last one begins that it knows
    copy.skip_to(source.log_end_offset, now_ms=now_ms)


def bytes_behind(source: PartitionLog, copy: PartitionLog, *, wait: bool = False) -> int:
    """How much the replica has from the copy's end on. Raises CorruptRecordError, KafkaStorageError and without `wait`
    NotCachedError."""
    if copy.log_end_offset >= source.log_end_offset:
        return 0
    found = source.read(copy.log_end_offset, max_bytes=1, upper_bound=LOG_END, wait=wait)
    segments = source.segments.starting_from(found.segment_base_offset)
    return sum(segment.size for segment in segments) - found.position


def cut_to(source: PartitionLog, copy: PartitionLog, *, now_ms: int) -> None:
    """Cuts off the copy what the replica does not have, or has it begin where the replica begins."""
    if copy.log_end_offset < source.log_start_offset:
        copy.truncate_fully_and_start_at(source.log_start_offset, now_ms=now_ms)
        return
    epoch = copy.latest_epoch
    if epoch < 0:
        if copy.log_end_offset > source.log_end_offset:
            copy.truncate_to(source.log_end_offset, now_ms=now_ms)
        return
    end = source.epoch_end_offset(epoch)
    if end.epoch < 0:
        # The replica knows nothing of that epoch: it was begun anew.
        copy.truncate_fully_and_start_at(source.log_start_offset, now_ms=now_ms)
    elif end.epoch < epoch or end.end_offset < copy.log_end_offset:
        offset = truncation_offset(end, copy.epoch_end_offset(end.epoch), copy.log_end_offset)
        copy.truncate_to(offset, now_ms=now_ms)
