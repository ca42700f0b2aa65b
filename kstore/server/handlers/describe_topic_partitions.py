"""DescribeTopicPartitions

API 75, version 0
KIP-966: partitions page by page, in the order of topic names; a cursor says where the next page begins
Kafka: DescribeTopicPartitionsRequestHandler.java, KRaftMetadataCache.getTopicMetadataForDescribeTopicResponse,
DescribeTopicPartitionsRequest.json
"""

from typing import Any

from kstore._native.connection import Request
from kstore.cluster.image import TopicImage
from kstore.cluster.topic_names import INTERNAL_TOPICS, validate_topic_name
from kstore.errors import NONE, InvalidRequestError, InvalidTopicError, UnknownTopicOrPartitionError
from kstore.model import ZERO_UUID
from kstore.protocol.messages.describe_topic_partitions import (
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse,
)
from kstore.server.brokers import OPERATIONS_NOT_ASKED, TOPIC_OPERATIONS, partition_state
from kstore.server.context import Context
from kstore.server.respond import respond


def handle(context: Context, request: Request) -> object:
    asked = DescribeTopicPartitionsRequest.decode(request.buffer, request.position, request.limit, request.api_version)
    try:
        names = wanted_names(context, asked)
    except InvalidRequestError as error:
        topics = [problem(topic.name, error.code, OPERATIONS_NOT_ASKED) for topic in asked.topics]
        return respond(request, DescribeTopicPartitionsResponse(topics=topics))
    most = context.config.max_request_partition_size_limit
    limit = max(1, min(most, asked.response_partition_limit))
    return respond(request, page(context, asked, names, limit))


def wanted_names(context: Context, asked: Any) -> list[str]:
    """The topics from the cursor on, in order. Raises InvalidRequestError for a cursor that points nowhere."""
    cursor = asked.cursor
    first = "" if cursor is None else cursor.topic_name
    everything = not asked.topics
    names = context.topics.image.topics if everything else {topic.name for topic in asked.topics}
    wanted = sorted(name for name in names if name >= first)
    if cursor is not None and not everything and first not in wanted:
        raise InvalidRequestError(f"the cursor's topic {first!r} is not among those asked for")
    if cursor is not None and cursor.partition_index < 0:
        raise InvalidRequestError(f"the cursor's partition is {cursor.partition_index}")
    return wanted


def page(context: Context, asked: Any, names: list[str], limit: int) -> Any:
    """At most `limit` partitions of the topics `names`, the first topic from the cursor's partition on."""
    answer = DescribeTopicPartitionsResponse(topics=[])
    cursor = asked.cursor
    remaining = limit
    for name in names:
        if remaining == 0:
            answer.next_cursor = cursor_at(name, 0)
            break
        topic = context.topics.image.topics.get(name)
        if topic is None:
            answer.topics.append(problem(name, why_unknown(name)))
            continue
        start = cursor.partition_index if cursor is not None and cursor.topic_name == name else 0
        end = min(len(topic.partitions), start + remaining)
        answer.topics.append(describe(context, topic, range(start, end)))
        if end < len(topic.partitions):
            answer.next_cursor = cursor_at(name, end)
            break
        remaining -= max(0, end - start)
    return answer


def cursor_at(topic: str, index: int) -> Any:
    return DescribeTopicPartitionsResponse.Cursor(topic_name=topic, partition_index=index)


def why_unknown(name: str) -> int:
    try:
        validate_topic_name(name)
    except InvalidTopicError as error:
        return error.code
    return UnknownTopicOrPartitionError.code


def problem(name: str, error_code: int, operations: int = TOPIC_OPERATIONS) -> Any:
    return DescribeTopicPartitionsResponse.DescribeTopicPartitionsResponseTopic(
        error_code=error_code,
        name=name,
        topic_id=ZERO_UUID,
        is_internal=name in INTERNAL_TOPICS,
        partitions=[],
        topic_authorized_operations=operations,
    )


def describe(context: Context, topic: TopicImage, indexes: range) -> Any:
    partitions = []
    for index in indexes:
        partition = topic.partitions[index]
        # Who has no leader says so by the leader's id alone, as Kafka does.
        state = partition_state(context, topic.name, index, partition)
        partitions.append(
            DescribeTopicPartitionsResponse.DescribeTopicPartitionsResponsePartition(
                partition_index=index,
                leader_id=state.leader,
                leader_epoch=partition.leader_epoch,
                replica_nodes=list(partition.replicas),
                isr_nodes=list(partition.isr),
                eligible_leader_replicas=[],
                last_known_elr=[],
                offline_replicas=state.offline_replicas,
            )
        )
    return DescribeTopicPartitionsResponse.DescribeTopicPartitionsResponseTopic(
        error_code=NONE,
        name=topic.name,
        topic_id=topic.id,
        is_internal=topic.name in INTERNAL_TOPICS,
        partitions=partitions,
        topic_authorized_operations=TOPIC_OPERATIONS,
    )
