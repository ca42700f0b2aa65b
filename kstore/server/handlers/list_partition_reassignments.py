"""ListPartitionReassignments

API 46, version 0
KIP-455
Kafka: KafkaController.processListPartitionReassignments, ListPartitionReassignmentsRequest.json
"""

from typing import Any

from kstore._native.connection import Request
from kstore.errors import KafkaError
from kstore.model import TopicPartition
from kstore.protocol.messages.list_partition_reassignments import (
    ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse,
)
from kstore.server.context import Context
from kstore.server.respond import respond_later


def handle(context: Context, request: Request) -> object:
    asked = ListPartitionReassignmentsRequest.decode(
        request.buffer, request.position, request.limit, request.api_version
    )
    return respond_later(context, request, answer(context, asked))


async def answer(context: Context, asked: Any) -> Any:
    try:
        # One broker has nowhere to move replicas to.
        found = {} if context.cluster is None else await context.cluster.controller.requests.reassignments()
    except KafkaError as error:
        return ListPartitionReassignmentsResponse(error_code=error.code, error_message=str(error))
    wanted = None
    if asked.topics is not None:
        wanted = {TopicPartition(topic.name, index) for topic in asked.topics for index in topic.partition_indexes}
    by_topic: dict[str, list[Any]] = {}
    for key, partition in found.items():
        if wanted is None or key in wanted:
            by_topic.setdefault(key.topic, []).append(
                ListPartitionReassignmentsResponse.OngoingPartitionReassignment(
                    partition_index=key.partition,
                    replicas=list(partition.replicas),
                    adding_replicas=list(partition.adding_replicas),
                    removing_replicas=list(partition.removing_replicas),
                )
            )
    return ListPartitionReassignmentsResponse(
        error_message=None,
        topics=[
            ListPartitionReassignmentsResponse.OngoingTopicReassignment(name=name, partitions=partitions)
            for name, partitions in by_topic.items()
        ],
    )
