"""One shard of groups with what it stands on: its partition's log, the loop's timers, the clients that wait.

The shard decides, this appends and answers. Writes are told as committed, or as failed, in the order in which they
were decided, and an answer that depends on one leaves only then. Deadlines are counted on the clock that never goes
back; what is stored is wall time.
"""

import logging
from collections import deque
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, TypeVar

from kstore._native.builder import BatchBuilder
from kstore.coordinator.group.config import GroupConfig
from kstore.coordinator.group.results import Decision, Write
from kstore.coordinator.group.shard import GroupShard
from kstore.errors import (
    CoordinatorNotAvailableError,
    KafkaError,
    NotCoordinatorError,
    RequestTimedOutError,
)
from kstore.model import TopicPartition
from kstore.replica.partition import Partition
from kstore.server.group_loading import load
from kstore.server.purgatory import Waiting

if TYPE_CHECKING:
    from kstore.server.config import ServerConfig
    from kstore.server.context import Context

log = logging.getLogger(__name__)

MINUTE_MS = 60 * 1000

Value = TypeVar("Value")


def group_config(config: "ServerConfig") -> GroupConfig:
    return GroupConfig(
        min_session_timeout_ms=config.group_min_session_timeout_ms,
        max_session_timeout_ms=config.group_max_session_timeout_ms,
        initial_rebalance_delay_ms=config.group_initial_rebalance_delay_ms,
        max_size=config.group_max_size,
        offset_metadata_max_bytes=config.offset_metadata_max_bytes,
        offsets_retention_ms=config.offsets_retention_minutes * MINUTE_MS,
        offsets_retention_check_interval_ms=config.offsets_retention_check_interval_ms,
    )


def _answer(decision: Decision) -> None:
    ticket: Any
    for ticket, result in decision.answers:
        ticket.answer(result)


class PendingWrite:
    """A write that was decided: what came of it is told when all before it are."""

    __slots__ = ("base_offset", "end_offset", "error", "is_settled", "write")

    def __init__(self, write: Write) -> None:
        self.write = write
        self.base_offset = self.end_offset = -1
        self.error: KafkaError | None = None
        self.is_settled = False


class HostedShard:
    def __init__(self, context: "Context", topic_partition: TopicPartition, *, leader_epoch: int) -> None:
        self.topic_partition = topic_partition
        self.shard = GroupShard(topic_partition.partition, group_config(context.config))
        self.is_gone = False
        self._context = context
        self.leader_epoch = leader_epoch
        self._pending: deque[PendingWrite] = deque()
        self._timer: Any = None
        self._timer_ms = 0
        self.deleted_topics: list[str] = []  # while the log is being read

    # --- its life ---

    def begin_empty(self) -> None:
        """Starts over a partition without records."""
        self._set_clock()
        self._apply(self.shard.loaded(self._monotonic_ms()))

    async def load(self) -> None:
        """Reads the partition's records into the shard; requests meanwhile are told to wait."""
        began_ms = self._monotonic_ms()
        try:
            records = await load(
                self.shard,
                self._context.replicas.get(*self.topic_partition),
                max_bytes=self._context.config.offsets_load_buffer_size,
                is_given_up=lambda: self.is_gone,
            )
        except (KafkaError, OSError) as error:
            # Half of the groups would be worse than none: a consumer would begin anew where it has an offset.
            log.error("the groups of %s cannot be loaded: %s", self.topic_partition, error)
            failure = CoordinatorNotAvailableError(f"the groups of {self.topic_partition} cannot be loaded")
            self._end(failure)
            self.shard.failure = failure
            return
        if self.is_gone:
            return
        monotonic_ms = self._monotonic_ms()
        self._set_clock()
        self._apply(self.shard.loaded(monotonic_ms))
        self._context.deliver.turn_ended()
        log.info(
            "loaded %s: %d records, %d groups, %d offsets in %d ms",
            self.topic_partition,
            records,
            self.shard.group_count,
            self.shard.offset_count,
            monotonic_ms - began_ms,
        )
        if self.deleted_topics:
            self.topics_deleted(self.deleted_topics)

    def unload(self) -> None:
        """This broker leads the partition no longer: all who wait are told."""
        self._end(NotCoordinatorError(f"this broker does not lead {self.topic_partition} any more"))

    def _end(self, error: KafkaError) -> None:
        self.stop()
        self._pending.clear()
        _answer(self.shard.unload(error))

    def stop(self) -> None:
        self.is_gone = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- deciding ---

    def decide(self, call: Callable[[GroupShard, int], Decision]) -> None:
        # Each time: the machine may have slept, or its clock been set, since the last.
        self._set_clock()
        self._apply(call(self.shard, self._monotonic_ms()))

    def ask(self, call: Callable[[GroupShard, int], Value]) -> Value:
        """What the shard answers at once. Raises KafkaError."""
        try:
            return call(self.shard, self._monotonic_ms())
        finally:
            self._set_timer()

    def topics_deleted(self, names: Collection[str]) -> None:
        if not self.shard.is_loaded:
            self.deleted_topics += names
            return
        self.decide(lambda shard, monotonic_ms: shard.topics_deleted(names, monotonic_ms))

    def _apply(self, decision: Decision) -> None:
        self._carry_out(decision)
        self._settle()
        self._set_timer()

    def _carry_out(self, decision: Decision) -> None:
        for write in decision.writes:
            self._write(write)
        _answer(decision)

    # --- writing ---

    def _write(self, write: Write) -> None:
        """Appends the records, and arranges for what is still missing to their being committed."""
        pending = PendingWrite(write)
        self._pending.append(pending)
        context = self._context
        try:
            partition = context.replicas.get(*self.topic_partition)
            if partition.leader is None or partition.leader.epoch != self.leader_epoch:
                raise NotCoordinatorError(f"{self.topic_partition} has another leader")
            acks = context.config.offsets_commit_required_acks
            batch = self._batch(write)
            info, effects = partition.append_as_leader(
                batch, 0, len(batch), required_acks=acks, now_ms=context.clock.now_ms()
            )
        except KafkaError as error:
            pending.error = error
            pending.is_settled = True
            return
        context.deliver(effects)
        pending.base_offset, pending.end_offset = info.first_offset, info.last_offset + 1
        if partition.log.must_flush:
            context.start_task(self._flush(partition, pending))
        elif acks != -1 or partition.log.high_watermark >= pending.end_offset:
            pending.is_settled = True
        else:
            self._watch(pending)

    def _batch(self, write: Write) -> bytearray:
        builder = BatchBuilder(compression=self._context.config.offsets_topic_compression_codec)
        now_ms = self._context.clock.now_ms()
        for key, value in write.records:
            builder.append(now_ms, key, value)
        return builder.build()

    async def _flush(self, partition: Partition, pending: PendingWrite) -> None:
        """`flush.messages` asks for the records to be on the disk before they are acknowledged."""
        try:
            await self._context.flusher.flushed(partition, pending.end_offset)
        except KafkaError as error:
            pending.error = error
        acks = self._context.config.offsets_commit_required_acks
        if pending.error is None and acks == -1 and partition.log.high_watermark < pending.end_offset:
            self._watch(pending)
        else:
            self._settled_later(pending)

    def _watch(self, pending: PendingWrite) -> None:
        """Waits until the high watermark has passed the records."""
        watched = {self.topic_partition: pending.end_offset}
        waiting = Waiting(watched, lambda timed_out: self._waited(pending, timed_out))
        timeout_ms = self._context.config.offsets_commit_timeout_ms
        self._context.deliver.produces.watch(waiting, timeout_ms=timeout_ms)

    def _waited(self, pending: PendingWrite, timed_out: bool) -> None:
        """The records are committed, or the leadership has ended, and then this shard is gone before it is asked."""
        if timed_out:
            pending.error = RequestTimedOutError(f"{self.topic_partition}: a write was not committed in time")
        # The purgatory is telling others too: what comes of this may make news of its own.
        self._context.loop.call_soon(self._settled_later, pending)

    def _settled_later(self, pending: PendingWrite) -> None:
        pending.is_settled = True
        if not self.is_gone:
            self._settle()
            self._set_timer()
            self._context.deliver.turn_ended()

    def _settle(self) -> None:
        """Tells the shard what has come of its writes, in their order."""
        pending = self._pending
        while pending and pending[0].is_settled:
            first = pending.popleft()
            self._set_clock()
            monotonic_ms = self._monotonic_ms()
            if first.error is not None:
                count = len(first.write.records)
                log.warning("%s: %d records were not written: %s", self.topic_partition, count, first.error)
                self._carry_out(self.shard.append_failed(first.write, first.error, monotonic_ms))
            else:
                self._carry_out(
                    self.shard.committed(first.write, base_offset=first.base_offset, monotonic_ms=monotonic_ms)
                )

    # --- time ---

    def _monotonic_ms(self) -> int:
        return self._context.clock.monotonic_ms()

    def _set_clock(self) -> None:
        clock = self._context.clock
        self.shard.wall_offset_ms = clock.now_ms() - clock.monotonic_ms()

    def _set_timer(self) -> None:
        """Looks again when the shard's next deadline is there. One that moves away is found out at its old time."""
        deadline_ms = self.shard.next_deadline_ms
        if deadline_ms is None or self.is_gone or (self._timer is not None and self._timer_ms <= deadline_ms):
            return
        if self._timer is not None:
            self._timer.cancel()
        delay_ms = max(0, deadline_ms - self._monotonic_ms())
        self._timer_ms = deadline_ms
        self._timer = self._context.loop.call_later(delay_ms / 1000, self._time_is_up)

    def _time_is_up(self) -> None:
        self._timer = None
        self.tick()
        self._context.deliver.turn_ended()

    def tick(self) -> None:
        """Does what is due by the clock."""
        if self.is_gone:
            return
        deadline_ms, monotonic_ms = self.shard.next_deadline_ms, self._monotonic_ms()
        if deadline_ms is not None and deadline_ms <= monotonic_ms:
            self._set_clock()
            self._apply(self.shard.tick(monotonic_ms))
        else:
            self._set_timer()
