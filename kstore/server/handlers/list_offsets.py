"""ListOffsets

API 2, versions 1-9 KIP-79 by timestamp, KIP-320 leader epochs (4), KIP-734 max timestamp (7), KIP-405 local
log (8), KIP-1005 tiers (9) Kafka: KafkaApis.handleListOffsetRequest, ReplicaManager.fetchOffset,
ListOffsetsRequest.json
"""

from collections import Counter

from kstore._native.connection import Request
from kstore.errors import InvalidRequestError, KafkaError, OffsetNotAvailableError, UnsupportedVersionError
from kstore.model import (
    EARLIEST_LOCAL_TIMESTAMP,
    EARLIEST_TIMESTAMP,
    LATEST_TIERED_TIMESTAMP,
    LATEST_TIMESTAMP,
    MAX_TIMESTAMP,
)
from kstore.protocol.messages.list_offsets import ListOffsetsRequest, ListOffsetsResponse
from kstore.server.context import Context
from kstore.server.respond import respond

# The version from which a negative timestamp has its meaning.
SPECIAL_FROM = {
    LATEST_TIMESTAMP: 1,
    EARLIEST_TIMESTAMP: 1,
    MAX_TIMESTAMP: 7,
    EARLIEST_LOCAL_TIMESTAMP: 8,
    LATEST_TIERED_TIMESTAMP: 9,
}
LEADER_EPOCH_FROM = 4
LEADER_NOT_AVAILABLE = 5
NOT_FOUND = (-1, -1, -1)


def handle(context: Context, request: Request) -> object:
    version = request.api_version
    asked = ListOffsetsRequest.decode(request.buffer, request.position, request.limit, version)
    # A partition named twice is an error for each mention (ListOffsetsRequest.duplicatePartitions).
    mentions = Counter((topic.name, part.partition_index) for topic in asked.topics for part in topic.partitions)
    topics = []
    for topic in asked.topics:
        partitions = []
        for part in topic.partitions:
            answer = ListOffsetsResponse.ListOffsetsPartitionResponse(partition_index=part.partition_index)
            try:
                if mentions[(topic.name, part.partition_index)] > 1:
                    raise InvalidRequestError(f"{topic.name}-{part.partition_index} is asked for more than once")
                answer.timestamp, answer.offset, epoch = lookup(
                    context, topic.name, part, isolation_level=asked.isolation_level, version=version
                )
                if version >= LEADER_EPOCH_FROM:
                    answer.leader_epoch = epoch
            except OffsetNotAvailableError as error:
                answer.error_code = error.code if version >= 5 else LEADER_NOT_AVAILABLE
            except KafkaError as error:
                answer.error_code = error.code
            partitions.append(answer)
        topics.append(ListOffsetsResponse.ListOffsetsTopicResponse(name=topic.name, partitions=partitions))
    return respond(request, ListOffsetsResponse(topics=topics))


def lookup(context: Context, topic: str, part: object, *, isolation_level: int, version: int) -> tuple[int, int, int]:
    """(timestamp, offset, leader epoch); all -1 if no record is that late, or nothing is tiered."""
    timestamp: int = part.timestamp  # type: ignore[attr-defined]
    if timestamp < 0 and version < SPECIAL_FROM.get(timestamp, 2**15):
        raise UnsupportedVersionError(f"timestamp {timestamp} has no meaning in version {version} of ListOffsets")
    partition = context.replicas.get(topic, part.partition_index)  # type: ignore[attr-defined]
    if timestamp == LATEST_TIERED_TIMESTAMP:
        partition.leader_for(part.current_leader_epoch)  # type: ignore[attr-defined]
        return NOT_FOUND
    found = partition.list_offset(
        EARLIEST_TIMESTAMP if timestamp == EARLIEST_LOCAL_TIMESTAMP else timestamp,
        isolation_level=isolation_level,
        current_leader_epoch=part.current_leader_epoch,  # type: ignore[attr-defined]
    )
    return NOT_FOUND if found is None else found
