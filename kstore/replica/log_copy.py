"""Filling the copy of a replica that is moved to another log directory: a follower that sits beside its leader.

Kafka: ReplicaAlterLogDirsThread.scala. The replica may be cut and grow meanwhile; the leader epochs tell where the two
histories part, as they do between brokers (KIP-101).
"""

from typing import TYPE_CHECKING

from kstore.log.partition_log import PartitionLog, UnexpectedAppendOffsetError
from kstore.replica.truncation import truncation_offset

if TYPE_CHECKING:
    from typing_extensions import Buffer

# What the replica holds is its history, whichever epoch it is of.
ANY_EPOCH = 2**31 - 1


def append_as_follower(
    log: PartitionLog, records: "Buffer", *, leader_epoch: int, leader_start_offset: int = -1, now_ms: int
) -> None:
    """Raises CorruptRecordError, UnexpectedAppendOffsetError, KafkaStorageError."""
    try:
        log.append_as_follower(records, leader_epoch=leader_epoch, now_ms=now_ms)
    except UnexpectedAppendOffsetError as error:
        # A log without anything that the leader still has asked for an offset inside its first batch: it begins
        # where that batch does (rule 42). Kafka knows this of an empty log only, and follows no longer where records
        # were deleted that the two had in other batches.
        holds_nothing = log.log_end_offset in (log.log_start_offset, leader_start_offset)
        if not holds_nothing or error.last_offset < log.log_end_offset:
            raise
        log.truncate_fully_and_start_at(error.first_offset, now_ms=now_ms)
        log.append_as_follower(records, leader_epoch=leader_epoch, now_ms=now_ms)


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
