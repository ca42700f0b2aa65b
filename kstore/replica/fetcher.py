"""Fetching from one leader: what to ask next, and what its answer does to the logs. Sans-io.

A partition is fetched, or delayed after an error, or waits for the leader's bounds after its offset was out of range,
or is held back by a throttle; one that failed is given up until the controller speaks of it again. A response counts
only for partitions that still are where they were when the request was made: in the same leader epoch, at the same
offset (rules 10, 11; AbstractFetcherThread.scala, ReplicaFetcherThread.scala).
"""

import logging
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from kstore.errors import CorruptRecordError, KafkaError, KafkaStorageError
from kstore.log.leader_epoch import EpochEndOffset
from kstore.model import EARLIEST_TIMESTAMP, LATEST_TIMESTAMP, ZERO_UUID, TopicPartition
from kstore.protocol.messages.fetch import FetchRequest
from kstore.protocol.messages.list_offsets import ListOffsetsRequest
from kstore.replica.effects import NO_EFFECTS, Effect
from kstore.replica.fetch_session import Asked, FetchSession
from kstore.replica.partition import Partition
from kstore.replica.throttle import ReplicationQuotas, is_listed

logger = logging.getLogger(__name__)

NONE = 0
OFFSET_OUT_OF_RANGE = 1
FENCED_LEADER_EPOCH = 74

# The session is not what the leader believes: FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH,
# UNKNOWN_TOPIC_ID, INCONSISTENT_TOPIC_ID, FETCH_SESSION_TOPIC_ID_ERROR. The next request begins another.
SESSION_ERRORS = (70, 71, 100, 103, 106)

FETCH_VERSION = 17
LIST_OFFSETS_VERSION = 9

# How often the logs' starts are looked at: retention moves them, and the leader is to know (rule 41).
LOG_STARTS_MS = 1000


class FetchLimits(NamedTuple):
    """`replica.fetch.*`."""

    max_bytes: int = 1 << 20
    response_max_bytes: int = 10 << 20
    min_bytes: int = 1
    wait_max_ms: int = 500
    backoff_ms: int = 1000


class Position:
    """Where one partition is fetched, and in which epoch of its leader. `lag` is how many records behind the leader's
    high watermark, -1 while that is not known."""

    __slots__ = ("delayed_until_ms", "lag", "leader_epoch", "needs_bounds", "offset")

    def __init__(self, leader_epoch: int, offset: int) -> None:
        self.leader_epoch = leader_epoch
        self.offset = offset
        self.delayed_until_ms = 0
        self.needs_bounds = False
        self.lag = -1


class Bounds(NamedTuple):
    start: int
    end: int


class Fetcher:
    """`partitions` gives the replica of a partition, or None where it is gone. `failed_partitions` are those that are
    not fetched any more until the controller speaks of them; `bytes_in` counts records that came."""

    def __init__(
        self,
        leader_id: int,
        partitions: Callable[[TopicPartition], Partition | None],
        *,
        broker_id: int,
        limits: FetchLimits,
        quotas: ReplicationQuotas | None = None,
    ) -> None:
        self.leader_id = leader_id
        self.broker_id = broker_id
        self.limits = limits
        self.positions: dict[TopicPartition, Position] = {}
        self.failed_partitions: set[TopicPartition] = set()
        self.bytes_in = 0
        self._unflushed: dict[TopicPartition, Partition] = {}
        self._partitions = partitions
        self._quotas = quotas
        self._session = FetchSession()
        # Of which the next request may have to tell something: all others are asked for as before.
        self._stirred: dict[TopicPartition, None] = {}
        # Those that came since the last request.
        self._newcomers: set[TopicPartition] = set()
        # What the last request asks for, and what the leader's session asks for with it.
        self._sent: dict[TopicPartition, Position] = {}
        self._names: dict[bytes, str] = {}
        self._starts_seen_ms = 0
        self._session_failures = 0

    def add(self, partition: Partition) -> None:
        """From the log's end on, whatever the high watermark is: the leader says if the log has to be cut (rule 2)."""
        key = partition.topic_partition
        self.positions[key] = Position(partition.leader_epoch, partition.log.log_end_offset)
        self.failed_partitions.discard(key)
        self._stirred[key] = None
        self._newcomers.add(key)

    def remove(self, topic_partition: TopicPartition) -> None:
        self.positions.pop(topic_partition, None)
        self.failed_partitions.discard(topic_partition)
        self._stirred[topic_partition] = None
        self._newcomers.discard(topic_partition)

    def give_up(self, topic_partition: TopicPartition) -> None:
        """Until the next LeaderAndIsr, or a new start, tries again."""
        self.remove(topic_partition)
        self.failed_partitions.add(topic_partition)

    @property
    def max_lag(self) -> int:
        return max((position.lag for position in self.positions.values()), default=0)

    @property
    def has_newcomers(self) -> bool:
        """Whether a partition came that the request in flight does not ask for."""
        return bool(self._newcomers)

    # --- fetching ---

    def fetch_request(self, *, broker_epoch: int, monotonic_ms: int) -> Any | None:
        """The next request, or None while there is nothing that may be asked."""
        session = self._session
        if not session.is_full and monotonic_ms - self._starts_seen_ms >= LOG_STARTS_MS:
            self._look_at_starts(monotonic_ms)
        topics: dict[bytes, list[Any]] = {}
        forgotten: dict[bytes, list[int]] = {}
        keys: Iterable[TopicPartition] = list(self._stirred)
        if session.is_full:
            session.begin()
            self._sent = {}
            keys = list(self.positions)
        self._stirred = {}
        self._newcomers.clear()
        for key in keys:
            position = self.positions.get(key)
            partition = None if position is None else self._partitions(key)
            if position is None or partition is None or not self._may_ask(key, position, partition, monotonic_ms):
                if position is not None:
                    self._stirred[key] = None  # it is looked at again
                gone = session.forget(key)
                self._sent.pop(key, None)
                if gone is not None:
                    forgotten.setdefault(gone.topic_id, []).append(key.partition)
                continue
            self._sent[key] = position
            self._ask(key, position, partition, topics, forgotten)
        if not session.asked:
            # The leader may still have it, and closes it with the next full request.
            session.failed()
            return None
        return FetchRequest(
            replica_state=FetchRequest.ReplicaState(replica_id=self.broker_id, replica_epoch=broker_epoch),
            max_wait_ms=self.limits.wait_max_ms,
            min_bytes=self.limits.min_bytes,
            max_bytes=self.limits.response_max_bytes,
            session_id=session.id,
            session_epoch=session.epoch,
            topics=[FetchRequest.FetchTopic(topic_id=id, partitions=parts) for id, parts in topics.items()],
            forgotten_topics_data=[
                FetchRequest.ForgottenTopic(topic_id=id, partitions=parts) for id, parts in forgotten.items()
            ],
        )

    def _ask(
        self,
        key: TopicPartition,
        position: Position,
        partition: Partition,
        topics: dict[bytes, list[Any]],
        forgotten: dict[bytes, list[int]],
    ) -> None:
        log = partition.log
        topic_id = log.topic_id or ZERO_UUID
        epoch, offset, start = log.latest_epoch, position.offset, log.log_start_offset
        is_news, gone = self._session.ask(key, Asked(topic_id, position.leader_epoch, offset, epoch, start))
        if gone is not None:
            forgotten.setdefault(gone.topic_id, []).append(key.partition)
        if is_news:
            self._names[topic_id] = key.topic
            topics.setdefault(topic_id, []).append(
                FetchRequest.FetchPartition(
                    partition=key.partition,
                    current_leader_epoch=position.leader_epoch,
                    fetch_offset=offset,
                    last_fetched_epoch=epoch,
                    log_start_offset=start,
                    partition_max_bytes=self.limits.max_bytes,
                )
            )

    def _may_ask(self, key: TopicPartition, position: Position, partition: Partition, monotonic_ms: int) -> bool:
        if position.needs_bounds or monotonic_ms < position.delayed_until_ms:
            return False
        throttled = partition.log.config.follower_replication_throttled_replicas
        if not throttled or self._quotas is None or position.lag == 0:
            return True
        return not self._quotas.follower_throttles(key, throttled, monotonic_ms)

    def _look_at_starts(self, monotonic_ms: int) -> None:
        self._starts_seen_ms = monotonic_ms
        for key, asked in self._session.asked.items():
            partition = self._partitions(key)
            if partition is not None and partition.log.log_start_offset != asked.log_start_offset:
                self._stirred[key] = None

    def fetched(self, response: Any, *, now_ms: int, monotonic_ms: int) -> tuple[Effect, ...]:
        """Takes over what came."""
        if response.error_code != NONE:
            self._refused(response.error_code, monotonic_ms)
            return NO_EFFECTS
        self._session_failures = 0
        self._session.answered(response.session_id)
        is_alone = self._session.is_full
        effects = NO_EFFECTS
        for topic in response.responses:
            name = self._names.get(topic.topic_id, "")
            for data in topic.partitions:
                key = TopicPartition(name, data.partition_index)
                position, asked = self.positions.get(key), self._session.asked.get(key)
                partition = self._partitions(key)
                if position is None or asked is None or partition is None or self._sent.get(key) is not position:
                    continue
                if position.offset != asked.offset or partition.leader_epoch != position.leader_epoch:
                    continue
                self._stirred[key] = None
                effects += self._fetched_one(partition, position, data, now_ms, monotonic_ms)
                if is_alone and data.records and key in self.positions:
                    # So that none is starved by the limit of an answer, where no session of the leader sees to it.
                    self.positions[key] = self.positions.pop(key)
        return effects

    def _refused(self, error_code: int, monotonic_ms: int) -> None:
        self._session.failed(error_code)
        self._session_failures += 1
        if error_code in SESSION_ERRORS and self._session_failures == 1:
            logger.info("broker %d has no such fetch session any more (error %d)", self.leader_id, error_code)
            return
        logger.warning("broker %d answers a fetch with error %d", self.leader_id, error_code)
        self._delay(monotonic_ms)

    def _fetched_one(
        self, partition: Partition, position: Position, data: Any, now_ms: int, monotonic_ms: int
    ) -> tuple[Effect, ...]:
        key = partition.topic_partition
        if data.error_code == NONE:
            try:
                return self._take(partition, position, data, now_ms, monotonic_ms)
            except CorruptRecordError as error:
                # What was damaged on its way comes whole the next time.
                logger.error("%s from broker %d: %s", key, self.leader_id, error)
                self._try_again(partition, position, monotonic_ms)
            except KafkaStorageError as error:
                if partition.log.log_dir.failure is None:  # a full disk has room again some day
                    logger.error("%s cannot be written now: %s", key, error)
                    self._try_again(partition, position, monotonic_ms)
                else:
                    self.give_up(key)
            except (KafkaError, AssertionError) as error:
                logger.error("%s is not fetched any more: %s", key, error)
                self.give_up(key)
        elif data.error_code == OFFSET_OUT_OF_RANGE:
            position.needs_bounds = True
        elif data.error_code == FENCED_LEADER_EPOCH:
            # There is a newer leader, and the controller will name it (rule 10).
            logger.info("%s: epoch %d is fenced", key, position.leader_epoch)
            self.give_up(key)
        else:
            logger.info("%s: broker %d answers with error %d", key, self.leader_id, data.error_code)
            position.delayed_until_ms = monotonic_ms + self.limits.backoff_ms
        return NO_EFFECTS

    def _try_again(self, partition: Partition, position: Position, monotonic_ms: int) -> None:
        # What failed half-way may have moved the log's end: an empty log begins where the first batch does (rule 42).
        position.offset = partition.log.log_end_offset
        position.delayed_until_ms = monotonic_ms + self.limits.backoff_ms

    def _take(
        self, partition: Partition, position: Position, data: Any, now_ms: int, monotonic_ms: int
    ) -> tuple[Effect, ...]:
        log = partition.log
        diverging = data.diverging_epoch
        if diverging.epoch >= 0 and diverging.end_offset >= 0:
            # Nothing else in this answer counts (rule 5).
            leader_end = EpochEndOffset(diverging.epoch, diverging.end_offset)
            position.offset = partition.truncate_to_diverging(leader_end, now_ms=now_ms)
            return NO_EFFECTS
        if position.offset != log.log_end_offset:
            raise AssertionError(f"{log} was fetched from {position.offset}, not from its end")
        records = data.records or b""
        effects = partition.append_as_follower(
            records,
            leader_epoch=position.leader_epoch,
            high_watermark=data.high_watermark,
            log_start_offset=data.log_start_offset,
            now_ms=now_ms,
        )
        position.offset = log.log_end_offset
        position.lag = max(0, data.high_watermark - position.offset)
        if log.must_flush:
            self._unflushed[partition.topic_partition] = partition
        self._count(partition, len(records), monotonic_ms)
        return effects

    def take_unflushed(self) -> list[Partition]:
        """Those that `flush.messages` wants flushed before the next request says that they are held."""
        unflushed, self._unflushed = list(self._unflushed.values()), {}
        return unflushed

    def _count(self, partition: Partition, size: int, monotonic_ms: int) -> None:
        self.bytes_in += size
        throttled = partition.log.config.follower_replication_throttled_replicas
        if throttled and self._quotas and is_listed(throttled, partition.topic_partition.partition, self.broker_id):
            self._quotas.follower.record(size, monotonic_ms)

    def failed(self, monotonic_ms: int) -> None:
        """The request had no answer."""
        self._session.failed()
        self._delay(monotonic_ms)
        for position in self.positions.values():
            if position.needs_bounds:
                # They are asked behind the next fetch that says again that they are needed.
                position.needs_bounds = False
                position.delayed_until_ms = monotonic_ms + self.limits.backoff_ms

    def given_up(self) -> None:
        """The request was broken off, to be made again with more in it."""
        self._session.failed()

    def _delay(self, monotonic_ms: int) -> None:
        for key, position in self._sent.items():
            position.delayed_until_ms = monotonic_ms + self.limits.backoff_ms
            self._stirred[key] = None

    # --- out of range ---

    def bounds_request(self, timestamp: int) -> Any | None:
        """Asks where the leader's logs begin (EARLIEST_TIMESTAMP) or end (LATEST_TIMESTAMP); None if nobody wants to
        know."""
        assert timestamp in (EARLIEST_TIMESTAMP, LATEST_TIMESTAMP)
        topics: dict[str, list[Any]] = {}
        for topic_partition, position in self.positions.items():
            if position.needs_bounds:
                topics.setdefault(topic_partition.topic, []).append(
                    ListOffsetsRequest.ListOffsetsPartition(
                        partition_index=topic_partition.partition,
                        current_leader_epoch=position.leader_epoch,
                        timestamp=timestamp,
                    )
                )
        if not topics:
            return None
        return ListOffsetsRequest(
            replica_id=self.broker_id,
            topics=[ListOffsetsRequest.ListOffsetsTopic(name=name, partitions=parts) for name, parts in topics.items()],
        )

    def bounds_came(self, starts: Any, ends: Any, *, now_ms: int, monotonic_ms: int) -> None:
        """Both answers. A leader that ends earlier has our log cut there, one that begins later has it begin anew; else
        the log stays as it is and is fetched again (rule 11)."""
        first, last = _offsets_in(starts), _offsets_in(ends)
        for topic_partition, position in list(self.positions.items()):
            partition = self._partitions(topic_partition)
            if not position.needs_bounds or partition is None or position.leader_epoch != partition.leader_epoch:
                continue
            start, end = first.get(topic_partition, -1), last.get(topic_partition, -1)
            self._stirred[topic_partition] = None
            if start < 0 or end < 0:
                position.delayed_until_ms = monotonic_ms + self.limits.backoff_ms
                position.needs_bounds = False
                continue
            try:
                if not self._fit(partition, Bounds(start, end), now_ms):
                    position.delayed_until_ms = monotonic_ms + self.limits.backoff_ms
            except KafkaError as error:
                logger.error("%s is not fetched any more: %s", topic_partition, error)
                self.give_up(topic_partition)
                continue
            position.needs_bounds = False
            position.offset = partition.log.log_end_offset

    def _fit(self, partition: Partition, bounds: Bounds, now_ms: int) -> bool:
        """False where the log stays as it is."""
        log = partition.log
        logger.warning("%s: offset out of range of the leader's %s", log, bounds)
        if bounds.end < log.log_end_offset:
            log.truncate_to(bounds.end, now_ms=now_ms)
        elif bounds.start > log.log_end_offset:
            log.truncate_fully_and_start_at(bounds.start, now_ms=now_ms)
        else:
            return False
        return True


def _offsets_in(response: Any) -> dict[TopicPartition, int]:
    return {
        TopicPartition(topic.name, part.partition_index): part.offset
        for topic in response.topics
        for part in topic.partitions
        if part.error_code == NONE
    }
