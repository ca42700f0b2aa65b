"""OffsetFetch

API 9, versions 0-9
Every partition, errors of the group (2), KIP-320 leader epochs (5), KIP-447 stable offsets (7), KIP-709 many groups (8)
Kafka: KafkaApis.handleOffsetFetchRequest, OffsetFetchRequest.json, OffsetFetchResponse.java

A partition that nothing was committed for has offset -1 and no error.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kstore._native.connection import Request
from kstore.errors import NONE, KafkaError
from kstore.protocol.messages.offset_fetch import OffsetFetchRequest, OffsetFetchResponse
from kstore.server.context import Context
from kstore.server.respond import respond

if TYPE_CHECKING:
    from kstore.coordinator.group.results import FetchedOffset

ERROR_OF_GROUP_FROM = 2
MANY_GROUPS_FROM = 8

NO_OFFSET = -1

Topics = list[tuple[str, list[int]]]


def handle(context: Context, request: Request) -> object:
    version = request.api_version
    asked = OffsetFetchRequest.decode(request.buffer, request.position, request.limit, version)
    if version >= MANY_GROUPS_FROM:
        # Named twice a group is answered once, to what was asked last: an answer may be far longer than its question.
        wanted = {group.group_id: group for group in asked.groups}
        groups = [answer_group(context, group, asked.require_stable) for group in wanted.values()]
        return respond(request, OffsetFetchResponse(groups=groups))
    return respond(request, answer_one(context, asked, version))


def fetch(
    context: Context, group_id: str, topics: Any, require_stable: bool
) -> "Sequence[tuple[str, Sequence[FetchedOffset]]]":
    """Raises KafkaError."""
    wanted: Topics | None = None
    if topics is not None:
        wanted = [(topic.name, topic.partition_indexes) for topic in topics]
    found: Sequence[tuple[str, Sequence[FetchedOffset]]] = context.groups.ask(
        group_id,
        lambda shard, monotonic_ms: shard.fetch_offsets(
            group_id, wanted, require_stable=require_stable, monotonic_ms=monotonic_ms
        ),
    )
    return found


def answer_group(context: Context, group: Any, require_stable: bool) -> Any:
    """One group of a request for many."""
    try:
        found = fetch(context, group.group_id, group.topics, require_stable)
    except KafkaError as error:
        return OffsetFetchResponse.OffsetFetchResponseGroup(group_id=group.group_id, error_code=error.code)
    return OffsetFetchResponse.OffsetFetchResponseGroup(
        group_id=group.group_id,
        topics=[
            OffsetFetchResponse.OffsetFetchResponseTopics(
                name=topic,
                partitions=[
                    OffsetFetchResponse.OffsetFetchResponsePartitions(
                        partition_index=offset.partition,
                        committed_offset=offset.offset,
                        committed_leader_epoch=offset.leader_epoch,
                        metadata=offset.metadata,
                        error_code=offset.error_code,
                    )
                    for offset in offsets
                ],
            )
            for topic, offsets in found
        ],
    )


def answer_one(context: Context, asked: Any, version: int) -> Any:
    """The answer to a request for one group."""
    try:
        found = fetch(context, asked.group_id, asked.topics, asked.require_stable)
    except KafkaError as error:
        if version >= ERROR_OF_GROUP_FROM:
            return OffsetFetchResponse(error_code=error.code)
        # There is no other place for it than the partitions.
        return OffsetFetchResponse(topics=[refused(topic, error) for topic in asked.topics])
    return OffsetFetchResponse(
        error_code=NONE,
        topics=[
            OffsetFetchResponse.OffsetFetchResponseTopic(
                name=topic,
                partitions=[
                    OffsetFetchResponse.OffsetFetchResponsePartition(
                        partition_index=offset.partition,
                        committed_offset=offset.offset,
                        committed_leader_epoch=offset.leader_epoch,
                        metadata=offset.metadata,
                        error_code=offset.error_code,
                    )
                    for offset in offsets
                ],
            )
            for topic, offsets in found
        ],
    )


def refused(topic: Any, error: KafkaError) -> Any:
    return OffsetFetchResponse.OffsetFetchResponseTopic(
        name=topic.name,
        partitions=[
            OffsetFetchResponse.OffsetFetchResponsePartition(
                partition_index=index, committed_offset=NO_OFFSET, metadata="", error_code=error.code
            )
            for index in topic.partition_indexes
        ],
    )
