"""A partition's leader during one leader epoch: appends, and how far the log is committed.

The leader's own log end counts at once; followers' ends come with their fetches. As long as no other replica
is in sync the high watermark is the log end (rule 14: only then may it jump there; Partition.scala,
maybeIncrementLeaderHW).
"""

from kstore.errors import NotEnoughReplicasError
from kstore.log.append import LogAppendInfo
from kstore.log.partition_log import PartitionLog
from kstore.replica.effects import NO_EFFECTS, Effect, HighWatermarkAdvanced
from kstore.replica.high_watermark import effective_min_isr, high_watermark


class Leader:
    __slots__ = ("broker_id", "epoch", "epoch_start_offset", "isr", "log", "remote_end_offsets", "replicas")

    def __init__(
        self, log: PartitionLog, *, broker_id: int, epoch: int, replicas: tuple[int, ...], isr: frozenset[int]
    ) -> None:
        self.log = log
        self.broker_id = broker_id
        self.epoch = epoch
        self.replicas = replicas
        self.isr = isr
        # What the followers have asked for so far in this epoch; an in-sync one that has not fetched holds
        # all back.
        self.remote_end_offsets = {replica: -1 for replica in replicas if replica != broker_id}
        # The epoch is known to the log before its first record, so that a follower that holds a later one
        # finds where to cut (rule 4).
        self.epoch_start_offset = log.log_end_offset
        log.assign_epoch_start_offset(epoch, self.epoch_start_offset)

    def append(
        self, buffer: bytearray, position: int, size: int, *, required_acks: int, now_ms: int
    ) -> tuple[LogAppendInfo, tuple[Effect, ...]]:
        """Appends the batches in `buffer[position:position + size]`, which are numbered in place.

        Raises NotEnoughReplicasError when all in-sync replicas are asked for and there are too few (rule 29),
        and what `PartitionLog.append_as_leader` raises.
        """
        log = self.log
        if required_acks == -1 and not self.has_min_isr():
            raise NotEnoughReplicasError(
                f"{log.topic_partition} has {len(self.isr)} in-sync replicas, fewer than min.insync.replicas"
            )
        info = log.append_as_leader(buffer, position, size, leader_epoch=self.epoch, now_ms=now_ms)
        return info, self.advance()

    def advance(self) -> tuple[Effect, ...]:
        """Raises the high watermark to what the in-sync replicas now hold. Of what `flush.messages` wants on the disk
        first nothing is seen before it is there (UnifiedLog.append flushes before the watermark moves)."""
        log = self.log
        return self._advance_to(log.recovery_point if log.must_flush else log.log_end_offset)

    def begin(self) -> tuple[Effect, ...]:
        """Raises the high watermark at the start of the epoch, whatever of the log is flushed."""
        return self._advance_to(self.log.log_end_offset)

    def _advance_to(self, end: int) -> tuple[Effect, ...]:
        log = self.log
        if self.remote_end_offsets:
            end = high_watermark([end, *(self.remote_end_offsets[replica] for replica in self.isr - {self.broker_id})])
        if end <= log.high_watermark:
            return NO_EFFECTS
        log.maybe_increment_high_watermark(end)
        return (HighWatermarkAdvanced(log.topic_partition, end),)

    def has_min_isr(self) -> bool:
        return len(self.isr) >= effective_min_isr(self.log.config.min_insync_replicas, len(self.replicas))
