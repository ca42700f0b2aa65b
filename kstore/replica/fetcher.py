"""Fetching from one leader: what to ask next, and what its answer does to the logs. Sans-io.

A partition is fetched, or delayed after an error, or waits for the leader's bounds after its offset was out of range. A
response counts only for partitions that still are where they were when the request was made: in the same leader epoch,
at the same offset (rules 10, 11; AbstractFetcherThread.scala, ReplicaFetcherThread.scala).
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from kstore.errors import CorruptRecordError, KafkaError
from kstore.log.leader_epoch import EpochEndOffset
from kstore.model import EARLIEST_TIMESTAMP, LATEST_TIMESTAMP, ZERO_UUID, TopicPartition
from kstore.protocol.messages.fetch import FetchRequest
from kstore.protocol.messages.list_offsets import ListOffsetsRequest
from kstore.replica.partition import Partition

logger = logging.getLogger(__name__)

NONE = 0
OFFSET_OUT_OF_RANGE = 1
FENCED_LEADER_EPOCH = 74

FETCH_VERSION = 17
LIST_OFFSETS_VERSION = 9


class FetchLimits(NamedTuple):
    """`replica.fetch.*`."""

    max_bytes: int = 1 << 20
    response_max_bytes: int = 10 << 20
    min_bytes: int = 1
    wait_max_ms: int = 500
    backoff_ms: int = 1000


class Position:
    """Where one partition is fetched, and in which epoch of its leader."""

    __slots__ = ("delayed_until_ms", "leader_epoch", "needs_bounds", "offset")

    def __init__(self, leader_epoch: int, offset: int) -> None:
        self.leader_epoch = leader_epoch
        self.offset = offset
        self.delayed_until_ms = 0
        self.needs_bounds = False


class Bounds(NamedTuple):
    start: int
    end: int


class Fetcher:
    """`partitions` gives the replica of a partition, or None where it is gone."""

    def __init__(
        self,
        leader_id: int,
        partitions: Callable[[TopicPartition], Partition | None],
        *,
        broker_id: int,
        limits: FetchLimits,
    ) -> None:
        self.leader_id = leader_id
        self.broker_id = broker_id
        self.limits = limits
        self.positions: dict[TopicPartition, Position] = {}
        self._partitions = partitions
        self._asked: dict[TopicPartition, tuple[Position, int]] = {}
        self._names: dict[bytes, str] = {}

    def add(self, partition: Partition) -> None:
        """From the log's end on, whatever the high watermark is: the leader says if the log has to be cut (rule 2)."""
        self.positions[partition.topic_partition] = Position(partition.leader_epoch, partition.log.log_end_offset)

    def remove(self, topic_partition: TopicPartition) -> None:
        self.positions.pop(topic_partition, None)

    # --- fetching ---

    def fetch_request(self, *, broker_epoch: int, now_ms: int) -> Any | None:
        """The next request, or None while there is nothing that may be asked."""
        topics: dict[bytes, list[Any]] = {}
        self._asked = {}
        for topic_partition, position in self.positions.items():
            partition = self._partitions(topic_partition)
            if partition is None or position.needs_bounds or position.delayed_until_ms > now_ms:
                continue
            log = partition.log
            topic_id = log.topic_id or ZERO_UUID
            self._names[topic_id] = topic_partition.topic
            self._asked[topic_partition] = (position, position.offset)
            topics.setdefault(topic_id, []).append(
                FetchRequest.FetchPartition(
                    partition=topic_partition.partition,
                    current_leader_epoch=position.leader_epoch,
                    fetch_offset=position.offset,
                    last_fetched_epoch=log.latest_epoch,
                    log_start_offset=log.log_start_offset,
                    partition_max_bytes=self.limits.max_bytes,
                )
            )
        if not topics:
            return None
        return FetchRequest(
            replica_state=FetchRequest.ReplicaState(replica_id=self.broker_id, replica_epoch=broker_epoch),
            max_wait_ms=self.limits.wait_max_ms,
            min_bytes=self.limits.min_bytes,
            max_bytes=self.limits.response_max_bytes,
            topics=[FetchRequest.FetchTopic(topic_id=id, partitions=parts) for id, parts in topics.items()],
        )

    def fetched(self, response: Any, *, now_ms: int) -> None:
        """Takes over what came."""
        asked, self._asked = self._asked, {}
        if response.error_code != NONE:
            logger.warning("broker %d answers a fetch with error %d", self.leader_id, response.error_code)
            self._delay(asked, now_ms)
            return
        for topic in response.responses:
            name = self._names.get(topic.topic_id, "")
            for data in topic.partitions:
                topic_partition = TopicPartition(name, data.partition_index)
                position, offset = asked.get(topic_partition, (None, -1))
                partition = self._partitions(topic_partition)
                if position is None or partition is None or self.positions.get(topic_partition) is not position:
                    continue
                if position.offset != offset or partition.leader_epoch != position.leader_epoch:
                    continue
                self._fetched_one(partition, position, data, now_ms)

    def _fetched_one(self, partition: Partition, position: Position, data: Any, now_ms: int) -> None:
        if data.error_code == NONE:
            try:
                self._take(partition, position, data, now_ms)
            except CorruptRecordError as error:
                # What was damaged on its way comes whole the next time.
                logger.error("%s from broker %d: %s", partition.topic_partition, self.leader_id, error)
                position.delayed_until_ms = now_ms + self.limits.backoff_ms
            except KafkaError as error:
                # The next LeaderAndIsr, or a new start, tries again.
                logger.error("%s is not fetched any more: %s", partition.topic_partition, error)
                self.remove(partition.topic_partition)
        elif data.error_code == OFFSET_OUT_OF_RANGE:
            position.needs_bounds = True
        elif data.error_code == FENCED_LEADER_EPOCH:
            # There is a newer leader, and the controller will name it (rule 10).
            logger.info("%s: epoch %d is fenced", partition.topic_partition, position.leader_epoch)
            self.remove(partition.topic_partition)
        else:
            name = partition.topic_partition
            logger.info("%s: broker %d answers with error %d", name, self.leader_id, data.error_code)
            position.delayed_until_ms = now_ms + self.limits.backoff_ms

    def _take(self, partition: Partition, position: Position, data: Any, now_ms: int) -> None:
        log = partition.log
        diverging = data.diverging_epoch
        if diverging.epoch >= 0 and diverging.end_offset >= 0:
            # Nothing else in this answer counts (rule 5).
            leader_end = EpochEndOffset(diverging.epoch, diverging.end_offset)
            position.offset = partition.truncate_to_diverging(leader_end, now_ms=now_ms)
            return
        if position.offset != log.log_end_offset:
            raise AssertionError(f"{log} was fetched from {position.offset}, not from its end")
        partition.append_as_follower(
            data.records or b"",
            leader_epoch=position.leader_epoch,
            high_watermark=data.high_watermark,
            log_start_offset=data.log_start_offset,
            now_ms=now_ms,
        )
        position.offset = log.log_end_offset

    def failed(self, now_ms: int) -> None:
        """The request had no answer."""
        asked, self._asked = self._asked, {}
        self._delay(asked, now_ms)
        for position in self.positions.values():
            if position.needs_bounds:
                # They are asked behind the next fetch that says again that they are needed.
                position.needs_bounds = False
                position.delayed_until_ms = now_ms + self.limits.backoff_ms

    def _delay(self, asked: Mapping[TopicPartition, tuple[Position, int]], now_ms: int) -> None:
        for position, _ in asked.values():
            position.delayed_until_ms = now_ms + self.limits.backoff_ms

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

    def bounds_came(self, starts: Any, ends: Any, *, now_ms: int) -> None:
        """Both answers. A leader that ends earlier has our log cut there, one that begins later has it begin anew; else
        the log stays as it is and is fetched again (rule 11)."""
        first, last = _offsets_in(starts), _offsets_in(ends)
        for topic_partition, position in list(self.positions.items()):
            partition = self._partitions(topic_partition)
            if not position.needs_bounds or partition is None or position.leader_epoch != partition.leader_epoch:
                continue
            start, end = first.get(topic_partition, -1), last.get(topic_partition, -1)
            if start < 0 or end < 0:
                position.delayed_until_ms = now_ms + self.limits.backoff_ms
                position.needs_bounds = False
                continue
            try:
                self._fit(partition, Bounds(start, end), now_ms)
            except KafkaError as error:
                logger.error("%s is not fetched any more: %s", topic_partition, error)
                self.remove(topic_partition)
                continue
            position.needs_bounds = False
            position.offset = partition.log.log_end_offset

    def _fit(self, partition: Partition, bounds: Bounds, now_ms: int) -> None:
        log = partition.log
        logger.warning("%s: offset out of range of the leader's %s", log, bounds)
        if bounds.end < log.log_end_offset:
            log.truncate_to(bounds.end, now_ms=now_ms)
        elif bounds.start > log.log_end_offset:
            log.truncate_fully_and_start_at(bounds.start, now_ms=now_ms)


def _offsets_in(response: Any) -> dict[TopicPartition, int]:
    return {
        TopicPartition(topic.name, part.partition_index): part.offset
        for topic in response.topics
        for part in topic.partitions
        if part.error_code == NONE
    }
