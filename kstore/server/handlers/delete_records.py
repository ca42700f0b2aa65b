"""DeleteRecords

API 21, versions 0-2
KIP-107: the log start moves up to the offset; the files follow when retention looks at them
Kafka: KafkaApis.handleDeleteRecordsRequest, Partition.deleteRecordsOnLeader, DelayedDeleteRecords.scala,
DeleteRecordsRequest.json

The answer waits until all replicas that are alive have let go too: the low watermark is where the last of them begins.
"""

from typing import Any, NamedTuple

from kstore._native.connection import PENDING, Request
from kstore.cluster.topic_names import INTERNAL_TOPICS
from kstore.errors import InvalidTopicError, KafkaError, RequestTimedOutError, UnknownTopicOrPartitionError
from kstore.model import TopicPartition
from kstore.protocol.messages.delete_records import DeleteRecordsRequest, DeleteRecordsResponse
from kstore.server.context import Context
from kstore.server.purgatory import Waiting
from kstore.server.respond import completion, respond

INVALID_LOW_WATERMARK = -1


class Deletion(NamedTuple):
    """What of a partition is to go, all below `offset`; or why nothing of it is."""

    offset: int
    error: KafkaError | None = None


def handle(context: Context, request: Request) -> object:
    asked = DeleteRecordsRequest.decode(request.buffer, request.position, request.limit, request.api_version)
    # A partition that is named twice is taken once, with the offset that was named last.
    offsets = {
        TopicPartition(topic.name, part.partition_index): part.offset
        for topic in asked.topics
        for part in topic.partitions
    }
    deletions = {key: begin(context, key, offset) for key, offset in offsets.items()}
    waits = {
        key: each.offset
        for key, each in deletions.items()
        if isinstance(state_of(context, key, each), RequestTimedOutError)
    }
    if not waits or asked.timeout_ms <= 0:
        return answer(context, request, deletions)
    assert context.deliver.deletes is not None
    waiting = Waiting(waits, completion(request, lambda: answer(context, request, deletions)))
    context.deliver.deletes.watch(waiting, timeout_ms=asked.timeout_ms)
    request.on_gone = lambda: context.deliver.deletes.forget(waiting)
    return PENDING


def begin(context: Context, key: TopicPartition, offset: int) -> Deletion:
    """Moves the start of this broker's log."""
    try:
        known = context.topics.image.topics.get(key.topic)
        if known is None or key.partition not in known.partitions:
            raise UnknownTopicOrPartitionError(f"there is no partition {key}")
        if key.topic in INTERNAL_TOPICS:
            raise InvalidTopicError(f"{key.topic!r} is internal, its records are not deleted by request")
        start, effects = context.replicas.get(*key).delete_records(offset)
    except KafkaError as error:
        return Deletion(offset, error)
    context.deliver(effects)
    return Deletion(start)


def state_of(context: Context, key: TopicPartition, deletion: Deletion) -> int | KafkaError:
    """The low watermark, or why it is not where it should be; RequestTimedOutError where time can bring it there."""
    if deletion.error is not None:
        return deletion.error
    try:
        low_watermark = context.replicas.get(*key).low_watermark
    except KafkaError as error:
        return error
    if low_watermark >= deletion.offset:
        return low_watermark
    return RequestTimedOutError(f"a replica of {key} still begins at {low_watermark}, before {deletion.offset}")


def answer(context: Context, request: Request, deletions: dict[TopicPartition, Deletion]) -> bytes:
    topics: dict[str, list[Any]] = {}
    for key, deletion in deletions.items():
        result = DeleteRecordsResponse.DeleteRecordsPartitionResult(partition_index=key.partition)
        state = state_of(context, key, deletion)
        if isinstance(state, KafkaError):
            result.low_watermark, result.error_code = INVALID_LOW_WATERMARK, state.code
        else:
            result.low_watermark = state
        topics.setdefault(key.topic, []).append(result)
    return respond(
        request,
        DeleteRecordsResponse(
            topics=[
                DeleteRecordsResponse.DeleteRecordsTopicResult(name=name, partitions=partitions)
                for name, partitions in topics.items()
            ]
        ),
    )
