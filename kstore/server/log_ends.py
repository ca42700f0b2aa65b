"""Where replicas' logs end, as their brokers say it: asked of whoever is there, leader or not.

ListOffsets in the name of a debugging consumer is answered by any replica with the end of its log, but with the epoch
that the broker was told, not that of its last record (Partition.fetchOffsetForTimestamp). That one is found by Fetch,
which a consumer may ask of any replica too: it says where a log parts from one that ends in a given epoch, and refuses
an epoch that is later than its own (Partition.readRecords, rule 5). So it is searched for, from the newest down.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from kstore.client.broker_client import BrokerClient
from kstore.cluster.image import BrokerEndpoint, BrokerImage
from kstore.cluster.standing import NO_EPOCHS, NO_RECORDS, Doubt, LogEnd
from kstore.errors import NONE, BrokerUnreachableError, InvalidRequestError, OffsetOutOfRangeError
from kstore.model import EARLIEST_TIMESTAMP, LATEST_TIMESTAMP, TopicPartition
from kstore.protocol.messages.fetch import FetchRequest
from kstore.protocol.messages.list_offsets import ListOffsetsRequest

log = logging.getLogger(__name__)

LIST_OFFSETS_VERSION = 9
FETCH_VERSION = 17
DEBUGGING_CONSUMER = -2
# No log is so long: it parts from every one.
FAR_AWAY = 2**62

Ends = dict[TopicPartition, dict[int, LogEnd]]


class Heard(NamedTuple):
    """What was asked, and what brokers have said, as they were registered then."""

    doubts: Mapping[TopicPartition, Doubt]
    brokers: Mapping[int, BrokerImage]
    ends: Ends

    def of(self, now: Mapping[int, BrokerImage]) -> Ends:
        """What those have said that are registered still, and not anew."""
        same = {id for id, broker in self.brokers.items() if id in now and now[id].epoch == broker.epoch}
        return {key: {id: end for id, end in found.items() if id in same} for key, found in self.ends.items()}


class EpochSearch:
    """The latest epoch of a log: known to be later than `low`, which is known to it or -1, and earlier than `high`.
    Most logs end in one of the newest epochs."""

    __slots__ = ("_step", "end", "high", "low")

    def __init__(self, high: int) -> None:
        self.low, self.high = -1, high
        self.end: LogEnd | None = None
        self._step = 1

    @property
    def is_over(self) -> bool:
        return self.high - self.low <= 1

    def epoch(self) -> int:
        """The one to ask for next."""
        return (self.low + self.high) // 2 if self.end is not None else max(0, self.high - self._step)

    def known(self, end: LogEnd) -> None:
        self.low, self.end = self.epoch(), end

    def unknown(self) -> None:
        self.high = self.epoch()
        self._step *= 2


async def ends_of(
    doubts: Mapping[TopicPartition, Doubt], endpoints: Mapping[int, BrokerEndpoint], *, timeout_ms: int
) -> Ends:
    """Partition -> broker -> end, of those that have answered in time."""
    ends: Ends = {}

    async def ask(broker_id: int, endpoint: BrokerEndpoint) -> None:
        wanted = {key: doubt for key, doubt in doubts.items() if broker_id in doubt.replicas}
        if not wanted:
            return

        def found(key: TopicPartition, end: LogEnd) -> None:
            ends.setdefault(key, {})[broker_id] = end

        client = BrokerClient(endpoint.host, endpoint.port, client_id="controller-comparing")
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                await _ask(client, wanted, found, timeout_ms=timeout_ms)
        except (BrokerUnreachableError, InvalidRequestError, TimeoutError) as error:
            log.info("broker %d does not say where its logs end: %s", broker_id, error)
        finally:
            client.close()

    await asyncio.gather(*(ask(broker_id, endpoint) for broker_id, endpoint in endpoints.items()))
    return ends


async def _ask(
    client: BrokerClient,
    wanted: Mapping[TopicPartition, Doubt],
    found: Callable[[TopicPartition, LogEnd], None],
    *,
    timeout_ms: int,
) -> None:
    latest = await _offsets(client, wanted, LATEST_TIMESTAMP, timeout_ms=timeout_ms)
    searches = {key: EpochSearch(wanted[key].leader_epoch) for key in latest}
    names = {(each.topic_id, key.partition): key for key, each in wanted.items()}
    while trying := {key: search.epoch() for key, search in searches.items() if not search.is_over}:
        answer = await client.ask(_epoch_request(wanted, trying), FETCH_VERSION, timeout_ms=timeout_ms)
        answered = set()
        for topic in answer.responses:
            for part in topic.partitions:
                key = names.get((topic.topic_id, part.partition_index))
                if key not in trying:
                    continue
                if part.error_code == OffsetOutOfRangeError.code:
                    searches[key].unknown()
                elif part.error_code == NONE and part.diverging_epoch.epoch >= 0:
                    searches[key].known(LogEnd(part.diverging_epoch.epoch, part.diverging_epoch.end_offset))
                else:
                    continue
                answered.add(key)
        for key in trying.keys() - answered:
            del searches[key]
        for key in answered:
            search = searches[key]
            if search.is_over and search.end is not None:
                found(key, search.end)
    without = [key for key, search in searches.items() if search.end is None]
    if without:
        earliest = await _offsets(client, without, EARLIEST_TIMESTAMP, timeout_ms=timeout_ms)
        for key, start in earliest.items():
            found(key, LogEnd(NO_RECORDS if start == latest[key] else NO_EPOCHS, latest[key]))


async def _offsets(
    client: BrokerClient, keys: Iterable[TopicPartition], timestamp: int, *, timeout_ms: int
) -> dict[TopicPartition, int]:
    answer = await client.ask(_offsets_request(keys, timestamp), LIST_OFFSETS_VERSION, timeout_ms=timeout_ms)
    return {
        TopicPartition(topic.name, part.partition_index): part.offset
        for topic in answer.topics
        for part in topic.partitions
        if part.error_code == NONE
    }


def _offsets_request(keys: Iterable[TopicPartition], timestamp: int) -> Any:
    topics: dict[str, list[Any]] = {}
    for name, index in keys:
        topics.setdefault(name, []).append(
            ListOffsetsRequest.ListOffsetsPartition(partition_index=index, timestamp=timestamp)
        )
    return ListOffsetsRequest(
        replica_id=DEBUGGING_CONSUMER,
        isolation_level=0,
        topics=[ListOffsetsRequest.ListOffsetsTopic(name=name, partitions=parts) for name, parts in topics.items()],
    )


def _epoch_request(wanted: Mapping[TopicPartition, Doubt], trying: Mapping[TopicPartition, int]) -> Any:
    topics: dict[bytes, list[Any]] = {}
    for key, epoch in trying.items():
        topics.setdefault(wanted[key].topic_id, []).append(
            FetchRequest.FetchPartition(
                partition=key.partition, fetch_offset=FAR_AWAY, last_fetched_epoch=epoch, partition_max_bytes=1
            )
        )
    return FetchRequest(
        max_wait_ms=0,
        min_bytes=0,
        max_bytes=1,
        topics=[FetchRequest.FetchTopic(topic_id=topic_id, partitions=parts) for topic_id, parts in topics.items()],
    )
