"""ListOffsets

API 2, versions 1-9 KIP-79 by timestamp, KIP-320 leader epochs (4), KIP-734 max timestamp (7), KIP-405 local
log (8), KIP-1005 tiers (9) Kafka: KafkaApis.handleListOffsetRequest, ReplicaManager.fetchOffset,
ListOffsetsRequest.json

A follower is told where the log ends, a consumer what of it is committed.
"""

from collections import Counter
from typing import Any

from kstore._native.connection import Request
from kstore.errors import (
    InvalidRequestError,
    KafkaError,
    NotCachedError,
    OffsetNotAvailableError,
    UnsupportedVersionError,
)
from kstore.log.work import LookUp
from kstore.model import (
    EARLIEST_LOCAL_TIMESTAMP,
    EARLIEST_TIMESTAMP,
    LATEST_TIERED_TIMESTAMP,
    LATEST_TIMESTAMP,
    MAX_TIMESTAMP,
)
from kstore.protocol.messages.list_offsets import ListOffsetsRequest, ListOffsetsResponse
from kstore.server.broker_listener import check_is_a_brokers
from kstore.server.context import Context
from kstore.server.respond import respond, respond_later

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
    check_is_a_brokers(context, request, asked.replica_id)
    # A partition named twice is an error for each mention (ListOffsetsRequest.duplicatePartitions).
    mentions = Counter((topic.name, part.partition_index) for topic in asked.topics for part in topic.partitions)
    topics = []
    search = Search(context, isolation_level=asked.isolation_level, replica_id=asked.replica_id, version=version)
    for topic in asked.topics:
        partitions = []
        for part in topic.partitions:
            answer = ListOffsetsResponse.ListOffsetsPartitionResponse(partition_index=part.partition_index)
            if mentions[(topic.name, part.partition_index)] > 1:
                answer.error_code = InvalidRequestError.code
            else:
                search.left.append((topic.name, part, answer))
            partitions.append(answer)
        topics.append(ListOffsetsResponse.ListOffsetsTopicResponse(name=topic.name, partitions=partitions))
    response = ListOffsetsResponse(topics=topics)
    missing = search(False)
    if not missing:
        return respond(request, response)
    return respond_later(context, request, found_cold(context, request, search, missing, response))


async def found_cold(
    context: Context, request: Request, search: "Search", missing: list[LookUp | None], response: Any
) -> Any:
    """The response, when the page cache has had what was missing."""
    await context.cold_reads.until_found(missing, search, is_wanted=lambda: not request.connection.closed)
    return response


class Search:
    """Fills in the answers of the partitions that are left to be looked up."""

    __slots__ = ("context", "isolation_level", "left", "replica_id", "version")

    def __init__(self, context: Context, *, isolation_level: int, replica_id: int, version: int) -> None:
        self.context = context
        self.isolation_level = isolation_level
        self.replica_id = replica_id
        self.version = version
        # (topic, the partition of the request, its answer)
        self.left: list[tuple[str, Any, Any]] = []

    def __call__(self, wait: bool) -> list[LookUp | None]:
        """Leaves over what would have to `wait` for the disk, and says what that is."""
        cold = []
        missing = []
        for topic, part, answer in self.left:
            try:
                answer.timestamp, answer.offset, epoch = lookup(
                    self.context,
                    topic,
                    part,
                    isolation_level=self.isolation_level,
                    replica_id=self.replica_id,
                    version=self.version,
                    wait=wait,
                )
                if self.version >= LEADER_EPOCH_FROM:
                    answer.leader_epoch = epoch
            except NotCachedError as error:
                cold.append((topic, part, answer))
                missing.append(error.look_up)
            except OffsetNotAvailableError as error:
                answer.error_code = error.code if self.version >= 5 else LEADER_NOT_AVAILABLE
            except KafkaError as error:
                answer.error_code = error.code
        self.left = cold
        return missing


def lookup(
    context: Context, topic: str, part: Any, *, isolation_level: int, replica_id: int, version: int, wait: bool
) -> tuple[int, int, int]:
    """(timestamp, offset, leader epoch); all -1 if no record is that late, or nothing is tiered. NotCachedError."""
    timestamp: int = part.timestamp
    if timestamp < 0 and version < SPECIAL_FROM.get(timestamp, 2**15):
        raise UnsupportedVersionError(f"timestamp {timestamp} has no meaning in version {version} of ListOffsets")
    partition = context.replicas.get(topic, part.partition_index)
    if timestamp == LATEST_TIERED_TIMESTAMP:
        partition.leader_for(part.current_leader_epoch)
        return NOT_FOUND
    found = partition.list_offset(
        EARLIEST_TIMESTAMP if timestamp == EARLIEST_LOCAL_TIMESTAMP else timestamp,
        isolation_level=isolation_level,
        current_leader_epoch=part.current_leader_epoch,
        wait=wait,
        replica_id=replica_id,
    )
    return NOT_FOUND if found is None else found
