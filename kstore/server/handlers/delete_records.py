"""DeleteRecords

API 21, versions 0-2
KIP-107: the log start moves up to the offset; the files follow when retention looks at them
Kafka: KafkaApis.handleDeleteRecordsRequest, Partition.deleteRecordsOnLeader, DeleteRecordsRequest.json

With one replica the low watermark is the log start at once, so nobody waits and the time-out means nothing.
"""

from typing import Any

from kstore._native.connection import Request
from kstore.cluster.topic_names import INTERNAL_TOPICS
from kstore.errors import InvalidTopicError, KafkaError, UnknownTopicOrPartitionError
from kstore.protocol.messages.delete_records import DeleteRecordsRequest, DeleteRecordsResponse
from kstore.server.context import Context
from kstore.server.respond import respond

INVALID_LOW_WATERMARK = -1


def handle(context: Context, request: Request) -> object:
    asked = DeleteRecordsRequest.decode(request.buffer, request.position, request.limit, request.api_version)
    # A partition that is named twice is taken once, with the offset that was named last.
    offsets = {(topic.name, part.partition_index): part.offset for topic in asked.topics for part in topic.partitions}
    topics: dict[str, list[Any]] = {}
    for (topic, index), offset in offsets.items():
        result = DeleteRecordsResponse.DeleteRecordsPartitionResult(partition_index=index)
        try:
            result.low_watermark = delete(context, topic, index, offset)
        except KafkaError as error:
            result.low_watermark, result.error_code = INVALID_LOW_WATERMARK, error.code
        topics.setdefault(topic, []).append(result)
    answer = DeleteRecordsResponse(
        topics=[
            DeleteRecordsResponse.DeleteRecordsTopicResult(name=name, partitions=partitions)
            for name, partitions in topics.items()
        ]
    )
    return respond(request, answer)


def delete(context: Context, topic: str, index: int, offset: int) -> int:
    """The partition's new low watermark."""
    known = context.topics.image.topics.get(topic)
    if known is None or index not in known.partitions:
        raise UnknownTopicOrPartitionError(f"there is no partition {topic}-{index}")
    if topic in INTERNAL_TOPICS:
        raise InvalidTopicError(f"{topic!r} is internal, its records are not deleted by request")
    low_watermark, effects = context.replicas.get(topic, index).delete_records(offset)
    context.deliver(effects)
    return low_watermark
