"""AlterPartitionReassignments

API 45, version 0
KIP-455; of one broker, Kafka's tool asks before it moves a replica to another log directory (KIP-113)
Kafka: KafkaController.processApiPartitionReassignment, AlterPartitionReassignmentsRequest.json
"""

from collections.abc import Mapping
from typing import Any

from kstore._native.connection import Request
from kstore.cluster.reassignment import refusal_alone
from kstore.errors import NONE, KafkaError
from kstore.model import TopicPartition
from kstore.protocol.messages.alter_partition_reassignments import (
    AlterPartitionReassignmentsRequest,
    AlterPartitionReassignmentsResponse,
)
from kstore.server.context import Context
from kstore.server.respond import respond_later


def handle(context: Context, request: Request) -> object:
    asked = AlterPartitionReassignmentsRequest.decode(
        request.buffer, request.position, request.limit, request.api_version
    )
    return respond_later(context, request, alter(context, asked))


async def reassign(
    context: Context, targets: Mapping[TopicPartition, tuple[int, ...] | None]
) -> dict[TopicPartition, KafkaError | None]:
    """Raises NotControllerError."""
    if context.cluster is not None:
        results: dict[TopicPartition, KafkaError | None] = await context.cluster.controller.requests.reassign(targets)
        return results
    partitions = {
        key: topic.partitions.get(key.partition) if (topic := context.topics.image.topics.get(key.topic)) else None
        for key in targets
    }
    return {key: refusal_alone(key, partitions[key], target) for key, target in targets.items()}


async def alter(context: Context, asked: Any) -> Any:
    targets = {
        TopicPartition(topic.name, each.partition_index): None if each.replicas is None else tuple(each.replicas)
        for topic in asked.topics
        for each in topic.partitions
    }
    try:
        results = await reassign(context, targets)
    except KafkaError as error:
        return AlterPartitionReassignmentsResponse(error_code=error.code, error_message=str(error))
    by_topic: dict[str, list[Any]] = {}
    for key, refusal in results.items():
        by_topic.setdefault(key.topic, []).append(
            AlterPartitionReassignmentsResponse.ReassignablePartitionResponse(
                partition_index=key.partition,
                error_code=NONE if refusal is None else refusal.code,
                error_message=None if refusal is None else str(refusal),
            )
        )
    return AlterPartitionReassignmentsResponse(
        error_message=None,
        responses=[
            AlterPartitionReassignmentsResponse.ReassignableTopicResponse(name=name, partitions=found)
            for name, found in by_topic.items()
        ],
    )
