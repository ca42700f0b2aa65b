"""Where replicas' logs end, as their brokers say it: asked of whoever is there, leader or not.

ListOffsets in the name of a debugging consumer is answered by any replica, with the end of its log and the epoch of its
last record (ListOffsetsRequest.DEBUGGING_REPLICA_ID, UnifiedLog.fetchOffsetByTimestamp).
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from kstore.client.broker_client import BrokerClient
from kstore.cluster.image import BrokerEndpoint
from kstore.cluster.standing import LogEnd
from kstore.errors import NONE, BrokerUnreachableError, InvalidRequestError
from kstore.model import LATEST_TIMESTAMP, TopicPartition
from kstore.protocol.messages.list_offsets import ListOffsetsRequest

log = logging.getLogger(__name__)

VERSION = 9
DEBUGGING_CONSUMER = -2

Ends = dict[TopicPartition, dict[int, LogEnd]]


async def ends_of(
    asked: Mapping[int, Sequence[TopicPartition]], endpoints: Mapping[int, BrokerEndpoint], *, timeout_ms: int
) -> Ends:
    """Partition -> broker -> end, of those that have answered in time."""
    ends: Ends = {}

    async def ask(broker_id: int, keys: Sequence[TopicPartition]) -> None:
        endpoint = endpoints.get(broker_id)
        if endpoint is None:
            return
        client = BrokerClient(endpoint.host, endpoint.port, client_id="controller-comparing")
        try:
            answer = await asyncio.wait_for(
                client.ask(_request(keys), VERSION, timeout_ms=timeout_ms), timeout_ms / 1000
            )
        except (BrokerUnreachableError, InvalidRequestError, TimeoutError) as error:
            log.warning("broker %d does not say where its logs end: %s", broker_id, error)
            return
        finally:
            client.close()
        for topic in answer.topics:
            for part in topic.partitions:
                if part.error_code == NONE:
                    key = TopicPartition(topic.name, part.partition_index)
                    ends.setdefault(key, {})[broker_id] = LogEnd(part.leader_epoch, part.offset)

    await asyncio.gather(*(ask(broker_id, keys) for broker_id, keys in asked.items()))
    return ends


def _request(keys: Sequence[TopicPartition]) -> Any:
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
