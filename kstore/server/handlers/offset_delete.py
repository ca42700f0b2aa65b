"""OffsetDelete

API 47, version 0
KIP-496: offsets of partitions that the group does not read are forgotten
Kafka: KafkaApis.handleOffsetDeleteRequest, GroupCoordinator.handleDeleteOffsets, OffsetDeleteRequest.json
"""

from typing import Any

from kstore._native.connection import Request
from kstore.errors import KafkaError, UnknownTopicOrPartitionError
from kstore.protocol.messages.offset_delete import OffsetDeleteRequest, OffsetDeleteResponse
from kstore.server.context import Context
from kstore.server.ticket import Ticket

Partitions = list[tuple[str, int]]


def handle(context: Context, request: Request) -> object:
    asked = OffsetDeleteRequest.decode(request.buffer, request.position, request.limit, request.api_version)
    topics = context.topics.image.topics
    partitions = [
        (topic.name, partition.partition_index)
        for topic in asked.topics
        if topic.name in topics
        for partition in topic.partitions
        if partition.partition_index in topics[topic.name].partitions
    ]
    ticket = Ticket(request, lambda result: answer(result, asked, partitions))
    # Without a partition too: it may be the group that is wrong.
    context.groups.decide(
        asked.group_id,
        ticket,
        lambda shard, monotonic_ms: shard.delete_offsets(ticket, asked.group_id, partitions, monotonic_ms),
    )
    return ticket.taken()


def answer(result: Any, asked: Any, partitions: Partitions) -> Any:
    if isinstance(result, KafkaError):
        return OffsetDeleteResponse(error_code=result.code)
    codes = dict(zip(partitions, result, strict=True))
    return OffsetDeleteResponse(
        topics=[
            OffsetDeleteResponse.OffsetDeleteResponseTopic(
                name=topic.name,
                partitions=[
                    OffsetDeleteResponse.OffsetDeleteResponsePartition(
                        partition_index=partition.partition_index,
                        error_code=codes.get(
                            (topic.name, partition.partition_index), UnknownTopicOrPartitionError.code
                        ),
                    )
                    for partition in topic.partitions
                ],
            )
            for topic in asked.topics
        ]
    )
