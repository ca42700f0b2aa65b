"""One partition on this broker: its log, and the role that it plays now.

Requests carry the leader epoch that their sender believes in; one that is behind or ahead is told so before
anything is read (rule 12, KIP-320; Partition.scala, localLogWithEpochOrThrow).
"""

import logging
from collections.abc import Container
from typing import TYPE_CHECKING

from kstore.errors import (
    FencedLeaderEpochError,
    NotLeaderOrFollowerError,
    OffsetNotAvailableError,
    OffsetOutOfRangeError,
    PolicyViolationError,
    UnknownLeaderEpochError,
)
from kstore.log.append import LogAppendInfo
from kstore.log.leader_epoch import EpochEndOffset
from kstore.log.partition_log import (
    HIGH_WATERMARK,
    LOG_END,
    TXN_COMMITTED,
    FetchData,
    PartitionLog,
)
from kstore.model import EARLIEST_TIMESTAMP, LATEST_TIMESTAMP, ZERO_UUID, TopicPartition
from kstore.replica.effects import (
    NO_EFFECTS,
    Effect,
    FollowingBegan,
    FollowingEnded,
    HighWatermarkAdvanced,
    IsrProposed,
    LeadershipBegan,
    LeadershipEnded,
    LeadershipRenewed,
    LogStartAdvanced,
)
from kstore.replica.leader import LAG_TIME_MAX_MS, NO_EPOCH, Leader
from kstore.replica.log_copy import append_as_follower
from kstore.replica.truncation import truncation_offset

if TYPE_CHECKING:
    from typing_extensions import Buffer

logger = logging.getLogger(__name__)

NO_LEADER = -1
# Who asks without being a replica: consumers, and tools that look at any replica (FetchRequest.java).
CONSUMER = -1
DEBUGGING_CONSUMER = -2

READ_UNCOMMITTED = 0
READ_COMMITTED = 1


class Partition:
    """`leader` is None while this broker does not lead. It then follows `leader_id`, or nobody (NO_LEADER);
    `leader_epoch` is the newest that it was told of."""

    __slots__ = ("leader", "leader_epoch", "leader_id", "log", "topic_partition")

    def __init__(self, log: PartitionLog) -> None:
        self.log = log
        self.topic_partition: TopicPartition = log.topic_partition
        self.leader: Leader | None = None
        self.leader_id = NO_LEADER
        self.leader_epoch = NO_EPOCH

    # --- roles ---

    def become_leader(
        self,
        *,
        broker_id: int,
        epoch: int,
        replicas: tuple[int, ...],
        isr: frozenset[int],
        partition_epoch: int = 0,
        alive: Container[int] | None = None,
        lag_time_max_ms: int = LAG_TIME_MAX_MS,
        monotonic_ms: int = 0,
    ) -> tuple[Effect, ...]:
        """Leads from `epoch` on. Who has led in the epoch before keeps what it knows of its followers, and whoever
        waits (rule 14; Partition.makeLeader).

        Every election raises the epoch by one: in one that was missed another broker may have led, and the followers
        have cut what they held. Kafka trusts what it knew of them all the same.
        """
        earlier = self.leader if self.leader is not None and epoch == self.leader_epoch + 1 else None
        began: tuple[Effect, ...]
        if earlier is None:
            began = (*self._role_ended(), LeadershipBegan(self.topic_partition, epoch))
        else:
            began = (LeadershipRenewed(self.topic_partition, epoch),)
        self.leader = Leader(
            self.log,
            broker_id=broker_id,
            epoch=epoch,
            replicas=replicas,
            isr=isr,
            partition_epoch=partition_epoch,
            earlier=earlier,
            alive=alive,
            lag_time_max_ms=lag_time_max_ms,
            monotonic_ms=monotonic_ms,
        )
        self.leader_id, self.leader_epoch = broker_id, epoch
        return (*began, *self.leader.begin())

    def become_follower(self, *, leader_id: int, epoch: int) -> tuple[Effect, ...]:
        """Follows `leader_id` from `epoch` on, or waits for a leader. The log stays as it is: what the new leader has
        not is cut when its answer to a fetch says so, never before (rules 1, 2, 3)."""
        ended = self._role_ended()
        self.leader = None
        self.leader_id, self.leader_epoch = leader_id, epoch
        if leader_id < 0:
            return ended
        if self.log.latest_epoch < 0 and self.log.log_end_offset > self.log.high_watermark:
            # A log of before there were epochs has nothing else to go by (rule 2; ReplicaManager.initialFetchOffset).
            self.log.truncate_to(self.log.high_watermark, now_ms=0)
        return (*ended, FollowingBegan(self.topic_partition, leader_id, epoch))

    def resign(self) -> tuple[Effect, ...]:
        """Leads and follows no longer: the partition is deleted, or its disk has failed."""
        ended = self._role_ended()
        self.leader = None
        self.leader_id = NO_LEADER
        return ended

    def _role_ended(self) -> tuple[Effect, ...]:
        if self.leader is not None:
            return (LeadershipEnded(self.topic_partition),)
        return (FollowingEnded(self.topic_partition),) if self.leader_id >= 0 else NO_EFFECTS

    def move_to(self, log: PartitionLog) -> None:
        """The same records lie elsewhere now."""
        self.log = log
        if self.leader is not None:
            self.leader.log = log

    # --- a follower ---

    def append_as_follower(
        self, records: "Buffer", *, leader_epoch: int, high_watermark: int, log_start_offset: int, now_ms: int
    ) -> tuple[Effect, ...]:
        """Takes over what the leader sent to a fetch in `leader_epoch`, then its high watermark, then its log start
        (rules 10, 13, 41). Raises CorruptRecordError, UnexpectedAppendOffsetError, KafkaStorageError."""
        log = self.log
        known = log.high_watermark
        if len(memoryview(records)):
            append_as_follower(
                log, records, leader_epoch=leader_epoch, leader_start_offset=log_start_offset, now_ms=now_ms
            )
        log.update_high_watermark(high_watermark)
        if log.log_start_offset < log_start_offset <= log.high_watermark:
            log.maybe_increment_log_start_offset(log_start_offset)
        # Consumers read from followers too (KIP-392).
        if log.high_watermark == known:
            return NO_EFFECTS
        return (HighWatermarkAdvanced(self.topic_partition, log.high_watermark),)

    def truncate_to_diverging(self, leader_end: EpochEndOffset, *, now_ms: int) -> int:
        """Cuts what the leader does not have; returns the log's new end (rules 7, 8)."""
        log = self.log
        offset = truncation_offset(leader_end, log.epoch_end_offset(leader_end.epoch), log.log_end_offset)
        if offset < log.high_watermark:
            logger.warning("%s: cutting at %d, below the high watermark %d", log, offset, log.high_watermark)
        log.truncate_to(offset, now_ms=now_ms)
        return log.log_end_offset

    # --- a leader ---

    def append_as_leader(
        self, buffer: bytearray, position: int, size: int, *, required_acks: int, now_ms: int
    ) -> tuple[LogAppendInfo, tuple[Effect, ...]]:
        leader = self.leader
        if leader is None:
            raise self._not_leader()
        return leader.append(buffer, position, size, required_acks=required_acks, now_ms=now_ms)

    def flushed(self) -> tuple[Effect, ...]:
        """To be told after a flush: what waited for the disk may be seen now."""
        return NO_EFFECTS if self.leader is None else self.leader.advance()

    def check_epoch(self, current_leader_epoch: int) -> None:
        """Whether the sender of a request believes in the same epoch as we do; -1 is no belief (rule 12)."""
        if current_leader_epoch not in (-1, self.leader_epoch):
            facts = f"{self.topic_partition} is in epoch {self.leader_epoch}, the request has {current_leader_epoch}"
            if current_leader_epoch < self.leader_epoch:
                raise FencedLeaderEpochError(facts)
            raise UnknownLeaderEpochError(facts)

    def leader_for(self, current_leader_epoch: int) -> Leader:
        """The leader, to whoever believes in the same epoch."""
        self.check_epoch(current_leader_epoch)
        if self.leader is None:
            raise self._not_leader()
        return self.leader

    def check_role(self, current_leader_epoch: int, *, leader_only: bool) -> None:
        """Whether this replica may answer: a follower does where any replica will do (KIP-392)."""
        self.check_epoch(current_leader_epoch)
        if leader_only and self.leader is None:
            raise self._not_leader()

    def read(
        self,
        fetch_offset: int,
        *,
        max_bytes: int,
        isolation_level: int,
        min_one_message: bool,
        current_leader_epoch: int,
        wait: bool = True,
        replica_id: int = CONSUMER,
        leader_only: bool = True,
    ) -> FetchData:
        """What a consumer may read at `fetch_offset`: below the high watermark, or below the last stable
        offset; a follower up to the log's end. Without `wait` NotCachedError where the disk would have to be asked."""
        self.check_role(current_leader_epoch, leader_only=leader_only)
        bound = TXN_COMMITTED if isolation_level == READ_COMMITTED else HIGH_WATERMARK
        return self.log.read(
            fetch_offset,
            max_bytes=max_bytes,
            upper_bound=LOG_END if replica_id >= 0 else bound,
            min_one_message=min_one_message,
            wait=wait,
        )

    def diverging_epoch(
        self, fetch_offset: int, last_fetched_epoch: int, *, current_leader_epoch: int, leader_only: bool = True
    ) -> tuple[int, int] | None:
        """(epoch, end offset) at which the reader's log parts from ours, or None if it does not (rule 5).

        Raises OffsetOutOfRangeError for an epoch that we know nothing of (Partition.scala, readRecords).
        """
        if last_fetched_epoch < 0:
            return None
        self.check_role(current_leader_epoch, leader_only=leader_only)
        end = self.log.epoch_end_offset(last_fetched_epoch)
        if end.epoch < 0 or end.end_offset < 0:
            raise OffsetOutOfRangeError(f"{self.topic_partition} has no end for leader epoch {last_fetched_epoch}")
        if fetch_offset < self.log.log_start_offset:
            raise OffsetOutOfRangeError(
                f"offset {fetch_offset} of {self.topic_partition} is before its start, {self.log.log_start_offset}"
            )
        if end.epoch < last_fetched_epoch or end.end_offset < fetch_offset:
            return end.epoch, end.end_offset
        return None

    def fetched_by(
        self,
        replica_id: int,
        fetch_offset: int,
        *,
        log_start_offset: int,
        leader_end: int,
        broker_epoch: int,
        monotonic_ms: int,
    ) -> tuple[Effect, ...]:
        """What a follower's fetch tells; to be called for the first read of a fetch that has not diverged (rule 19)."""
        leader = self.leader
        if leader is None:
            return NO_EFFECTS
        return leader.fetched(
            replica_id,
            fetch_offset,
            log_start_offset=log_start_offset,
            leader_end=leader_end,
            broker_epoch=broker_epoch,
            topic_id=self.log.topic_id or ZERO_UUID,
            monotonic_ms=monotonic_ms,
        )

    def maybe_shrink_isr(self, monotonic_ms: int) -> tuple[Effect, ...]:
        if self.leader is None:
            return NO_EFFECTS
        return self.leader.maybe_shrink(self.log.topic_id or ZERO_UUID, monotonic_ms)

    def isr_agreed(self, isr: frozenset[int], *, leader_epoch: int, partition_epoch: int) -> tuple[Effect, ...]:
        if self.leader is None:
            return NO_EFFECTS
        return self.leader.isr_agreed(isr, leader_epoch=leader_epoch, partition_epoch=partition_epoch)

    def isr_refused(self, error_code: int, proposal: IsrProposed) -> tuple[Effect, ...]:
        return NO_EFFECTS if self.leader is None else self.leader.isr_refused(error_code, proposal)

    def last_fetchable_offset(self, isolation_level: int) -> int:
        return self.log.last_stable_offset if isolation_level == READ_COMMITTED else self.log.high_watermark

    def list_offset(
        self,
        timestamp: int,
        *,
        isolation_level: int,
        current_leader_epoch: int,
        wait: bool = True,
        replica_id: int = CONSUMER,
    ) -> tuple[int, int, int] | None:
        """(timestamp, offset, leader epoch) of the first record at or after `timestamp`, or of the end that a
        negative timestamp names; None if there is no such record. Without `wait` as `read`.

        The end is a consumer's where one asks; a follower's is that of the log, whatever of it is committed: where it
        would cut its own log at the high watermark it could never catch up.
        """
        self.check_role(current_leader_epoch, leader_only=replica_id != DEBUGGING_CONSUMER)
        leader, settled, last_fetchable = self.leader, True, self.log.log_end_offset
        if replica_id >= 0 and leader is not None:
            leader.check_replica(replica_id, current_leader_epoch=current_leader_epoch)
        if replica_id == CONSUMER:
            last_fetchable = self.last_fetchable_offset(isolation_level)
            # Until the high watermark has reached this epoch's start, the end could be seen to go backwards (rule
            # 15).
            settled = leader is None or self.log.high_watermark >= leader.epoch_start_offset
        if timestamp == LATEST_TIMESTAMP:
            if not settled:
                raise OffsetNotAvailableError(
                    f"{self.topic_partition}: the new leader's high watermark is not known yet"
                )
            return -1, last_fetchable, self.leader_epoch
        found = self.log.offset_for_timestamp(timestamp, wait=wait)
        if found is not None and (timestamp == EARLIEST_TIMESTAMP or found.offset < last_fetchable):
            return found.timestamp, found.offset, found.leader_epoch
        if not settled:
            raise OffsetNotAvailableError(f"{self.topic_partition}: the new leader's high watermark is not known yet")
        return None

    def epoch_end_offset(self, epoch: int, *, current_leader_epoch: int, replica_id: int = CONSUMER) -> tuple[int, int]:
        """(epoch, end offset) of the largest epoch not above `epoch` (OffsetForLeaderEpoch, rule 6)."""
        leader = self.leader_for(current_leader_epoch)
        if replica_id >= 0:
            leader.check_replica(replica_id, current_leader_epoch=current_leader_epoch)
        end = self.log.epoch_end_offset(epoch)
        return end.epoch, end.end_offset

    def delete_records(self, before_offset: int) -> tuple[int, tuple[Effect, ...]]:
        """Moves the log's start to `before_offset` (-1: the high watermark). Returns what of the log is to go: all
        below this offset. It is gone when the low watermark has got there too (rule 41).

        Raises PolicyViolationError where records are only compacted away, OffsetOutOfRangeError.
        """
        if self.leader is None:
            raise self._not_leader()
        if not self.log.config.delete:
            raise PolicyViolationError(f"cleanup.policy of {self.topic_partition} has no delete")
        start = self.log.high_watermark if before_offset == -1 else before_offset
        if start < 0:
            raise OffsetOutOfRangeError(f"offset {before_offset} of {self.topic_partition} is negative")
        if not self.log.maybe_increment_log_start_offset(start):
            return start, NO_EFFECTS
        return start, (LogStartAdvanced(self.topic_partition, start),)

    @property
    def low_watermark(self) -> int:
        """Raises NotLeaderOrFollowerError."""
        if self.leader is None:
            raise self._not_leader()
        return self.leader.low_watermark

    # --- for who watches ---

    @property
    def is_under_replicated(self) -> bool:
        return self.leader is not None and self.leader.is_under_replicated

    @property
    def is_under_min_isr(self) -> bool:
        return self.leader is not None and self.leader.is_under_min_isr

    @property
    def is_at_min_isr(self) -> bool:
        return self.leader is not None and self.leader.is_at_min_isr

    def _not_leader(self) -> NotLeaderOrFollowerError:
        return NotLeaderOrFollowerError(f"this broker does not lead {self.topic_partition}")
