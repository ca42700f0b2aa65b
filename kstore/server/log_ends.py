"""Where replicas' logs end, as their brokers say it: asked of whoever is there, leader or not.

ListOffsets in the name of a debugging consumer is answered by any replica with the end of its log, but with the epoch
that the broker was told, not that of its last record (Partition.fetchOffsetForTimestamp). That one is found by Fetch,
which a consumer may ask of any replica too: it says where a log parts from one that ends in a given epoch, and refuses
an epoch that it knows nothing of. So epochs are tried from the newest down (Partition.readRecords, rule 5).
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from kstore.client.broker_client import BrokerClient
from kstore.cluster.image import BrokerEndpoint
from kstore.cluster.standing import EMPTY, Doubt, LogEnd
from kstore.errors import NONE, BrokerUnreachableError, InvalidRequestError, OffsetOutOfRangeError
from kstore.model import LATEST_TIMESTAMP, TopicPartition
from kstore.protocol.messages.fetch import FetchRequest
from kstore.protocol.messages.list_offsets import ListOffsetsRequest

log = logging.getLogger(__name__)

LIST_OFFSETS_VERSION = 9
FETCH_VERSION = 17
DEBUGGING_CONSUMER = -2
# No log is so long: it parts from every one.
FAR_AWAY = 2**62
# So many epochs are tried; a replica that is further behind is not asked for.
MOST_EPOCHS = 32

Ends = dict[TopicPartition, dict[int, LogEnd]]


async def ends_of(
    doubts: Mapping[TopicPartition, Doubt], endpoints: Mapping[int, BrokerEndpoint], *, timeout_ms: int
) -> Ends:
    """Partition -> broker -> end, of those that have answered in time."""
    ends: Ends = {}

    async def ask(broker_id: int, endpoint: BrokerEndpoint) -> None:
        wanted = {key: doubt for key, doubt in doubts.items() if broker_id in doubt.replicas}
        if not wanted:
            return
        client = BrokerClient(endpoint.host, endpoint.port, client_id="controller-comparing")
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                found = await _ask(client, wanted, timeout_ms=timeout_ms)
        except (BrokerUnreachableError, InvalidRequestError, TimeoutError) as error:
            log.warning("broker %d does not say where its logs end: %s", broker_id, error)
            return
        finally:
            client.close()
        for key, end in found.items():
            ends.setdefault(key, {})[broker_id] = end

    await asyncio.gather(*(ask(broker_id, endpoint) for broker_id, endpoint in endpoints.items()))
    return ends


async def _ask(
    client: BrokerClient, wanted: Mapping[TopicPartition, Doubt], *, timeout_ms: int
) -> dict[TopicPartition, LogEnd]:
    answer = await client.ask(_ends_request(wanted), LIST_OFFSETS_VERSION, timeout_ms=timeout_ms)
    offsets = {
        TopicPartition(topic.name, part.partition_index): part.offset
        for topic in answer.topics
        for part in topic.partitions
        if part.error_code == NONE
    }
    ends = {key: EMPTY for key, offset in offsets.items() if offset == 0}
    trying = {key: wanted[key].leader_epoch - 1 for key in offsets if key not in ends}
    names = {(each.topic_id, key.partition): key for key, each in wanted.items()}
    for _ in range(MOST_EPOCHS):
        trying = {key: epoch for key, epoch in trying.items() if epoch >= 0}
        if not trying:
            break
        answer = await client.ask(_epoch_request(wanted, trying), FETCH_VERSION, timeout_ms=timeout_ms)
        lower: dict[TopicPartition, int] = {}
        for topic in answer.responses:
            for part in topic.partitions:
                key = names[topic.topic_id, part.partition_index]
                if part.error_code == OffsetOutOfRangeError.code:
                    lower[key] = trying[key] - 1
                elif part.error_code == NONE and part.diverging_epoch.epoch >= 0:
                    ends[key] = LogEnd(part.diverging_epoch.epoch, part.diverging_epoch.end_offset)
        trying = lower
    return ends


def _ends_request(keys: Iterable[TopicPartition]) -> Any:
    topics: dict[str, list[Any]] = {}
    for name, index in keys:
        topics.setdefault(name, []).append(
            ListOffsetsRequest.ListOffsetsPartition(partition_index=index, timestamp=LATEST_TIMESTAMP)
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
