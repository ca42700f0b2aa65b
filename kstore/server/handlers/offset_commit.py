"""OffsetCommit

API 8, versions 0-9
KIP-211 no retention time any more (5), KIP-320 leader epochs (6), KIP-345 static members (7)
Kafka: KafkaApis.handleOffsetCommitRequest, OffsetCommitRequest.json

Version 0, which kept offsets in ZooKeeper, is a commit without a member here, as version 1 is without one.
"""

from typing import Any

from kstore._native.connection import Request
from kstore.coordinator.group.requests import CommitRequest, OffsetToCommit
from kstore.errors import KafkaError, UnknownTopicOrPartitionError
from kstore.protocol.messages.offset_commit import OffsetCommitRequest, OffsetCommitResponse
from kstore.server.context import Context
from kstore.server.respond import respond
from kstore.server.ticket import Ticket


def handle(context: Context, request: Request) -> object:
    asked = OffsetCommitRequest.decode(request.buffer, request.position, request.limit, request.api_version)
    topics = context.topics.image.topics
    offsets: list[OffsetToCommit] = []
    for topic in asked.topics:
        known = topics.get(topic.name)
        if known is not None:
            offsets += [
                OffsetToCommit(
                    topic.name,
                    partition.partition_index,
                    partition.committed_offset,
                    partition.committed_leader_epoch,
                    partition.committed_metadata,
                )
                for partition in topic.partitions
                if partition.partition_index in known.partitions
            ]
    if not offsets:
        # Nothing is left that the group could be asked.
        return respond(request, answer([], asked, offsets))
    ticket = Ticket(request, lambda result: answer(result, asked, offsets))
    commit = CommitRequest(
        group_id=asked.group_id,
        member_id=asked.member_id,
        group_instance_id=asked.group_instance_id,
        generation_id=asked.generation_id_or_member_epoch,
        offsets=offsets,
        retention_time_ms=asked.retention_time_ms,
    )
    context.groups.decide(
        commit.group_id, ticket, lambda shard, monotonic_ms: shard.commit_offsets(ticket, commit, monotonic_ms)
    )
    return ticket.taken()


def answer(result: Any, asked: Any, offsets: list[OffsetToCommit]) -> Any:
    """`result` holds the error codes of `offsets`, or is the refusal of them all. The others are not there."""
    result_codes = [result.code] * len(offsets) if isinstance(result, KafkaError) else result
    codes = {(each.topic, each.partition): code for each, code in zip(offsets, result_codes, strict=True)}
    return OffsetCommitResponse(
        topics=[
            OffsetCommitResponse.OffsetCommitResponseTopic(
                name=topic.name,
                partitions=[
                    OffsetCommitResponse.OffsetCommitResponsePartition(
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
