"""One partition on this broker: its log, and the role that it plays now.

Requests carry the leader epoch that their sender believes in; one that is behind or ahead is told so before
anything is read (rule 12, KIP-320; Partition.scala, localLogWithEpochOrThrow).
"""

from kstore.errors import (
    FencedLeaderEpochError,
    NotLeaderOrFollowerError,
    OffsetNotAvailableError,
    OffsetOutOfRangeError,
    PolicyViolationError,
    UnknownLeaderEpochError,
)
from kstore.log.append import LogAppendInfo
from kstore.log.partition_log import HIGH_WATERMARK, TXN_COMMITTED, FetchData, PartitionLog
from kstore.model import EARLIEST_TIMESTAMP, LATEST_TIMESTAMP, TopicPartition
from kstore.replica.effects import NO_EFFECTS, Effect, LeadershipBegan, LeadershipEnded, LogStartAdvanced
from kstore.replica.leader import Leader

READ_UNCOMMITTED = 0
READ_COMMITTED = 1


class Partition:
    """`leader` is None while this broker does not lead."""

    __slots__ = ("leader", "log", "topic_partition")

    def __init__(self, log: PartitionLog) -> None:
        self.log = log
        self.topic_partition: TopicPartition = log.topic_partition
        self.leader: Leader | None = None

    def become_leader(
        self, *, broker_id: int, epoch: int, replicas: tuple[int, ...], isr: frozenset[int]
    ) -> tuple[Effect, ...]:
        """Leads from `epoch` on. Those who wait for what an earlier epoch accepted are told (rule 30)."""
        earlier, self.leader = (
            self.leader,
            Leader(self.log, broker_id=broker_id, epoch=epoch, replicas=replicas, isr=isr),
        )
        ended = NO_EFFECTS if earlier is None else (LeadershipEnded(self.topic_partition),)
        return (*ended, LeadershipBegan(self.topic_partition, epoch), *self.leader.begin())

    def resign(self) -> tuple[Effect, ...]:
        """Leads no longer: the partition is deleted, or its disk has failed."""
        if self.leader is None:
            return NO_EFFECTS
        self.leader = None
        return (LeadershipEnded(self.topic_partition),)

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

    def leader_for(self, current_leader_epoch: int) -> Leader:
        """The leader, if the sender of a request believes in the same epoch as we do; -1 is no belief."""
        leader = self.leader
        if leader is None:
            raise self._not_leader()
        if current_leader_epoch not in (-1, leader.epoch):
            facts = f"{self.topic_partition} is led in epoch {leader.epoch}, the request has {current_leader_epoch}"
            if current_leader_epoch < leader.epoch:
                raise FencedLeaderEpochError(facts)
            raise UnknownLeaderEpochError(facts)
        return leader

    def read(
        self,
        fetch_offset: int,
        *,
        max_bytes: int,
        isolation_level: int,
        min_one_message: bool,
        current_leader_epoch: int,
        wait: bool = True,
    ) -> FetchData:
        """What a consumer may read at `fetch_offset`: below the high watermark, or below the last stable
        offset. Without `wait` NotCachedError where the disk would have to be asked."""
        self.leader_for(current_leader_epoch)
        return self.log.read(
            fetch_offset,
            max_bytes=max_bytes,
            upper_bound=TXN_COMMITTED if isolation_level == READ_COMMITTED else HIGH_WATERMARK,
            min_one_message=min_one_message,
            wait=wait,
        )

    def diverging_epoch(
        self, fetch_offset: int, last_fetched_epoch: int, *, current_leader_epoch: int
    ) -> tuple[int, int] | None:
        """(epoch, end offset) at which the reader's log parts from ours, or None if it does not (rule 5).

        Raises OffsetOutOfRangeError for an epoch that we know nothing of (Partition.scala, readRecords).
        """
        if last_fetched_epoch < 0:
            return None
        self.leader_for(current_leader_epoch)
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

    def last_fetchable_offset(self, isolation_level: int) -> int:
        return self.log.last_stable_offset if isolation_level == READ_COMMITTED else self.log.high_watermark

    def list_offset(
        self, timestamp: int, *, isolation_level: int, current_leader_epoch: int, wait: bool = True
    ) -> tuple[int, int, int] | None:
        """(timestamp, offset, leader epoch) of the first record at or after `timestamp`, or of the end that a
        negative timestamp names; None if there is no such record. Without `wait` as `read`."""
        leader = self.leader_for(current_leader_epoch)
        last_fetchable = self.last_fetchable_offset(isolation_level)
        # Until the high watermark has reached this epoch's start, the end could be seen to go backwards (rule
        # 15).
        settled = self.log.high_watermark >= leader.epoch_start_offset
        if timestamp == LATEST_TIMESTAMP:
            if not settled:
                raise OffsetNotAvailableError(
                    f"{self.topic_partition}: the new leader's high watermark is not known yet"
                )
            return -1, last_fetchable, leader.epoch
        found = self.log.offset_for_timestamp(timestamp, wait=wait)
        if found is not None and (timestamp == EARLIEST_TIMESTAMP or found.offset < last_fetchable):
            return found.timestamp, found.offset, found.leader_epoch
        if not settled:
            raise OffsetNotAvailableError(f"{self.topic_partition}: the new leader's high watermark is not known yet")
        return None

    def epoch_end_offset(self, epoch: int, *, current_leader_epoch: int) -> tuple[int, int]:
        """(epoch, end offset) of the largest epoch not above `epoch` (OffsetForLeaderEpoch, rule 6)."""
        self.leader_for(current_leader_epoch)
        end = self.log.epoch_end_offset(epoch)
        return end.epoch, end.end_offset

    def delete_records(self, before_offset: int) -> tuple[int, tuple[Effect, ...]]:
        """Moves the log's start to `before_offset` (-1: the high watermark). Returns the new start.

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
            return self.log.log_start_offset, NO_EFFECTS
        return self.log.log_start_offset, (LogStartAdvanced(self.topic_partition, self.log.log_start_offset),)

    def _not_leader(self) -> NotLeaderOrFollowerError:
        return NotLeaderOrFollowerError(f"this broker does not lead {self.topic_partition}")
