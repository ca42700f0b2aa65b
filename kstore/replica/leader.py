"""A partition's leader during one leader epoch: appends, what the followers hold, how far the log is committed.

The leader's own log end counts at once; followers' ends come with their fetches, and mean what they asked for. The high
watermark is the smallest end among the maximal ISR (rules 14, 16, 17, 21; Partition.scala). As long as no other replica
is in sync it is the log end.
"""

import logging
from collections.abc import Container

from kstore.errors import NotEnoughReplicasError, NotLeaderOrFollowerError, UnknownLeaderEpochError
from kstore.log.append import LogAppendInfo
from kstore.log.partition_log import PartitionLog
from kstore.model import ZERO_UUID
from kstore.replica.effects import (
    NO_EFFECTS,
    Effect,
    HighWatermarkAdvanced,
    IsrProposed,
    LowWatermarkMoved,
    RecordsAppended,
)
from kstore.replica.high_watermark import effective_min_isr, high_watermark
from kstore.replica.isr import Committed, IsrState, PendingExpand, PendingShrink
from kstore.replica.replica_state import NO_BROKER_EPOCH, ReplicaState

logger = logging.getLogger(__name__)

LAG_TIME_MAX_MS = 30_000
NO_EPOCH = -1

# How long a producer may still wait for an answer of the leader before: request.timeout.ms is 30 s.
EARLIER_LEADER_MS = 30_000

# The refusals after which the proposal is known not to be made: OPERATION_NOT_ATTEMPTED, INELIGIBLE_REPLICA (rule 22).
NOT_MADE = (55, 107)
# Those after which nobody knows: UNKNOWN_TOPIC_OR_PARTITION, INVALID_REQUEST, FENCED_LEADER_EPOCH,
# INVALID_UPDATE_VERSION, UNKNOWN_TOPIC_ID, NEW_LEADER_ELECTED. The maximal ISR counts until the controller speaks.
WAIT_FOR_NEWS = (3, 42, 74, 95, 100, 108)


class Everybody:
    def __contains__(self, broker_id: object) -> bool:
        return True


class Leader:
    __slots__ = (
        "alive",
        "broker_id",
        "elected_monotonic_ms",
        "epoch",
        "epoch_start_offset",
        "followers",
        "is_alone",
        "isr_state",
        "lag_time_max_ms",
        "log",
        "monotonic_ms",
        "partition_epoch",
        "remote_end_offsets",
        "replicas",
        "since_epoch",
    )

    def __init__(
        self,
        log: PartitionLog,
        *,
        broker_id: int,
        epoch: int,
        replicas: tuple[int, ...],
        isr: frozenset[int],
        partition_epoch: int = 0,
        earlier: "Leader | None" = None,
        alive: Container[int] | None = None,
        lag_time_max_ms: int = LAG_TIME_MAX_MS,
        monotonic_ms: int = 0,
    ) -> None:
        """`earlier` is the leader that this broker has been in the epoch before, if it was that."""
        self.log = log
        self.broker_id = broker_id
        self.epoch = epoch
        # The first of the epochs that this broker has led in without a break: what was taken since is still held.
        self.since_epoch: int = epoch if earlier is None else earlier.since_epoch
        self.elected_monotonic_ms: int = monotonic_ms if earlier is None else earlier.elected_monotonic_ms
        self.partition_epoch = partition_epoch
        self.replicas = replicas
        self.isr_state: IsrState = Committed(isr)
        self.alive: Container[int] = Everybody() if alive is None else alive
        # A broker that is no member of a cluster is all that there is of topics that once had more replicas.
        self.is_alone = alive is None
        self.lag_time_max_ms = lag_time_max_ms
        # When something was last heard of followers, or they were last looked at.
        self.monotonic_ms = monotonic_ms
        # What the followers have asked for; an in-sync one that has not fetched since this broker leads holds all back
        # (rule 14). Who leads on knows what it knew.
        known: dict[int, int] = {} if earlier is None else earlier.remote_end_offsets
        states: dict[int, ReplicaState] = {} if earlier is None else earlier.followers
        self.remote_end_offsets: dict[int, int] = {
            replica: known.get(replica, -1) for replica in replicas if replica != broker_id
        }
        self.followers: dict[int, ReplicaState] = {}
        for replica in self.remote_end_offsets:
            state = self.followers[replica] = states.get(replica) or ReplicaState()
            state.elected(
                end_offset=log.log_end_offset,
                is_in_sync=replica in isr,
                is_new_leader=replica not in states,
                monotonic_ms=monotonic_ms,
            )
        # The epoch is known to the log before its first record, so that a follower that holds a later one
        # finds where to cut (rule 4).
        self.epoch_start_offset = log.log_end_offset
        log.assign_epoch_start_offset(epoch, self.epoch_start_offset)

    @property
    def isr(self) -> frozenset[int]:
        """The in-sync replicas that the controller has agreed to."""
        return self.isr_state.isr

    @isr.setter
    def isr(self, isr: frozenset[int]) -> None:
        self.isr_state = Committed(isr)

    # --- the log ---

    def append(
        self, buffer: bytearray, position: int, size: int, *, required_acks: int, now_ms: int
    ) -> tuple[LogAppendInfo, tuple[Effect, ...]]:
        """Appends the batches in `buffer[position:position + size]`, which are numbered in place.

        Raises NotEnoughReplicasError when all in-sync replicas are asked for and there are too few (rule 29),
        NotLeaderOrFollowerError for a producer whose first batch the leader before may have, and what
        `PartitionLog.append_as_leader` raises.
        """
        log = self.log
        if required_acks == -1 and not self.has_min_isr():
            raise NotEnoughReplicasError(
                f"{log.topic_partition} has {len(self.isr)} in-sync replicas, fewer than min.insync.replicas"
            )
        info = log.append_as_leader(
            buffer,
            position,
            size,
            leader_epoch=self.epoch,
            now_ms=now_ms,
            follows_another=self.follows_another(),
        )
        if not self.remote_end_offsets:
            return info, self.advance()
        return info, (RecordsAppended(log.topic_partition), *self.advance())

    def is_followed(self, earliest_ms: int) -> bool:
        """Whether an in-sync replica, if there is one, takes this broker for the leader: it has fetched twice since
        `earliest_ms`. A broker that was paused finds one fetch of before in its sockets, and no second one."""
        others = [] if self.is_alone else self.isr_state.isr - {self.broker_id}
        return not others or any(self.followers[replica].previous_fetch_ms >= earliest_ms for replica in others)

    def follows_another(self) -> bool:
        """Whether a producer may have sent something to the leader before and not yet heard of it.

        An idempotent producer has up to five batches in flight. Where it sends the first to a leader that is replaced
        and the next to the new one, who knows nothing of it, Kafka appends that and refuses the first when it comes
        again (KIP-360); the client then begins a new epoch and sends all again: twice. Where it is told to try
        again, it does so in order.
        """
        if self.is_alone or self.since_epoch == 0 or not self.remote_end_offsets:
            return False
        return self.monotonic_ms - self.elected_monotonic_ms < EARLIER_LEADER_MS

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
            # Below min.insync.replicas nothing more is committed (rule 17, KAFKA-15583).
            if not self.is_alone and not self.has_min_isr():
                return NO_EFFECTS
            end = high_watermark([end, *self._ends_that_count(end)])
        if end <= log.high_watermark:
            return NO_EFFECTS
        log.maybe_increment_high_watermark(end)
        return (HighWatermarkAdvanced(log.topic_partition, end),)

    def _ends_that_count(self, end: int) -> list[int]:
        """The ends of the maximal ISR (rule 21), and of those that are about to join it: nobody could ever catch up
        with a watermark that does not wait for them (rule 16)."""
        maximal = self.isr_state.maximal
        leader_end = self.log.log_end_offset
        return [
            other
            for replica, other in self.remote_end_offsets.items()
            if other < end and (replica in maximal or self._is_about_to_join(replica, other, leader_end))
        ]

    def _is_about_to_join(self, replica: int, end_offset: int, leader_end: int) -> bool:
        if self.is_alone or replica not in self.alive:
            return False
        return self.followers[replica].is_caught_up(
            end_offset, leader_end=leader_end, lag_ms=self.lag_time_max_ms, monotonic_ms=self.monotonic_ms
        )

    def has_min_isr(self) -> bool:
        """Whether enough replicas are in sync for an append with acks=all to be taken (rule 29)."""
        return len(self.isr_state.isr) >= effective_min_isr(self.log.config.min_insync_replicas, len(self.replicas))

    def has_min_maximal_isr(self) -> bool:
        """The same, asked when it is to be acknowledged (rule 29)."""
        needed = effective_min_isr(self.log.config.min_insync_replicas, len(self.replicas))
        return len(self.isr_state.maximal) >= needed

    # --- followers ---

    def check_replica(
        self, replica_id: int, broker_epoch: int = NO_BROKER_EPOCH, *, current_leader_epoch: int = NO_EPOCH
    ) -> ReplicaState:
        """What is known of the follower. Raises NotLeaderOrFollowerError for who is no replica, or was one before it
        started anew (rule 25); UnknownLeaderEpochError where the request names our own epoch: its sender may know of
        an assignment that we have yet to hear of, and asks again (Partition.followerReplicaOrThrow)."""
        state = self.followers.get(replica_id)
        if state is None:
            facts = f"broker {replica_id} is no follower of {self.log.topic_partition}"
            raise NotLeaderOrFollowerError(facts) if current_leader_epoch < 0 else UnknownLeaderEpochError(facts)
        if NO_BROKER_EPOCH < broker_epoch < state.broker_epoch:
            raise NotLeaderOrFollowerError(
                f"broker {replica_id} fetches {self.log.topic_partition} with broker epoch {broker_epoch}, and has done"
                f" so with {state.broker_epoch}"
            )
        return state

    def fetched(
        self,
        replica_id: int,
        offset: int,
        *,
        log_start_offset: int,
        leader_end: int,
        broker_epoch: int,
        topic_id: bytes,
        monotonic_ms: int,
    ) -> tuple[Effect, ...]:
        """A follower asked for `offset` when our log ended at `leader_end`: all below it is what it holds (rule 19)."""
        self.monotonic_ms = monotonic_ms
        state = self.followers[replica_id]
        effects = NO_EFFECTS
        if state.log_start_offset != log_start_offset:
            effects = (LowWatermarkMoved(self.log.topic_partition),)
        state.fetched(
            offset,
            log_start_offset=log_start_offset,
            leader_end=leader_end,
            broker_epoch=broker_epoch,
            monotonic_ms=monotonic_ms,
        )
        moved = self.remote_end_offsets[replica_id] != offset
        self.remote_end_offsets[replica_id] = offset
        if replica_id not in self.isr_state.isr:
            effects += self._maybe_expand(replica_id, topic_id)
        return effects + self.advance() if moved else effects

    @property
    def low_watermark(self) -> int:
        """Where the log begins that begins last to be cut: ours, and those of the followers that are alive; -1 while
        one of them has not said it (Partition.lowWatermarkIfLeader)."""
        if self.is_alone:
            return self.log.log_start_offset
        starts = [state.log_start_offset for replica, state in self.followers.items() if replica in self.alive]
        return min([self.log.log_start_offset, *starts])

    @property
    def is_under_replicated(self) -> bool:
        return len(self.isr_state.isr) < len(self.replicas)

    @property
    def is_under_min_isr(self) -> bool:
        return not self.has_min_isr()

    @property
    def is_at_min_isr(self) -> bool:
        needed = effective_min_isr(self.log.config.min_insync_replicas, len(self.replicas))
        return len(self.isr_state.isr) == needed

    # --- in-sync replicas ---

    def _maybe_expand(self, replica_id: int, topic_id: bytes) -> tuple[Effect, ...]:
        """A follower that has reached the high watermark and this epoch's start may join (rule 20). It has fetched in
        this epoch, for that is how it is asked about here; and it is alive."""
        state = self.isr_state
        if not isinstance(state, Committed) or replica_id in state.isr or replica_id not in self.alive:
            return NO_EFFECTS
        end_offset = self.remote_end_offsets[replica_id]
        if end_offset < self.log.high_watermark or end_offset < self.epoch_start_offset:
            return NO_EFFECTS
        self.isr_state = PendingExpand(state.isr, replica_id)
        logger.info(
            "%s: broker %d, which holds all up to %d, is to join %s (high watermark %d, end %d)",
            self.log.topic_partition,
            replica_id,
            end_offset,
            sorted(state.isr),
            self.log.high_watermark,
            self.log.log_end_offset,
        )
        return self._proposal(topic_id)

    def maybe_shrink(self, topic_id: bytes, monotonic_ms: int) -> tuple[Effect, ...]:
        """Proposes to go on without those that have not caught up for `replica.lag.time.max.ms` (rule 23)."""
        self.monotonic_ms = monotonic_ms
        state = self.isr_state
        if not isinstance(state, Committed):
            return NO_EFFECTS
        leader_end = self.log.log_end_offset
        lagging = frozenset(
            replica
            for replica in state.isr - {self.broker_id}
            if not self.followers[replica].is_caught_up(
                self.remote_end_offsets[replica],
                leader_end=leader_end,
                lag_ms=self.lag_time_max_ms,
                monotonic_ms=monotonic_ms,
            )
        )
        if not lagging:
            return NO_EFFECTS
        self.isr_state = PendingShrink(state.isr, lagging)
        for replica in sorted(lagging):
            logger.info(
                "%s: broker %d is to leave %s: it holds all up to %d of %d and has last had all %d ms ago",
                self.log.topic_partition,
                replica,
                sorted(state.isr),
                self.remote_end_offsets[replica],
                leader_end,
                min(monotonic_ms - self.followers[replica].last_caught_up_ms, monotonic_ms),
            )
        return self._proposal(topic_id)

    def _proposal(self, topic_id: bytes) -> tuple[Effect, ...]:
        proposed = self.isr_state.proposed
        assert proposed is not None
        epochs = {replica: state.broker_epoch for replica, state in self.followers.items()}
        members = tuple(
            (replica, epochs.get(replica, NO_BROKER_EPOCH)) for replica in self.replicas if replica in proposed
        )
        return (IsrProposed(self.log.topic_partition, topic_id, self.epoch, self.partition_epoch, members),)

    def isr_agreed(self, isr: frozenset[int], *, leader_epoch: int, partition_epoch: int) -> tuple[Effect, ...]:
        """The controller has agreed. An answer to an earlier epoch, or older than what is known, says nothing."""
        if leader_epoch != self.epoch or partition_epoch < self.partition_epoch:
            return NO_EFFECTS
        self.isr_state = Committed(isr)
        self.partition_epoch = partition_epoch
        return self.advance()

    def isr_refused(self, error_code: int, proposal: IsrProposed) -> tuple[Effect, ...]:
        """Back to what was agreed on only where the proposal is known not to be made; else it stays pending, and is
        made again unless the controller is sure to send news (rule 22)."""
        is_answer = (proposal.leader_epoch, proposal.partition_epoch) == (self.epoch, self.partition_epoch)
        if not is_answer or isinstance(self.isr_state, Committed):
            return NO_EFFECTS
        if error_code in NOT_MADE:
            self.isr_state = Committed(self.isr_state.isr)
            return NO_EFFECTS
        if error_code in WAIT_FOR_NEWS:
            return NO_EFFECTS
        return self._proposal(proposal.topic_id or ZERO_UUID)
