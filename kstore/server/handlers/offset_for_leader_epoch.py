"""OffsetForLeaderEpoch

API 23, versions 0-4
KIP-101, KIP-279, KIP-320 (current leader epoch, 2)
Kafka: ReplicaManager.lastOffsetForLeaderEpoch, OffsetForLeaderEpochRequest.json
"""

from kstore._native.connection import Request
from kstore.errors import KafkaError
from kstore.protocol.messages.offset_for_leader_epoch import (
    OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
)
from kstore.server.broker_listener import check_is_a_brokers
from kstore.server.context import Context
from kstore.server.respond import respond


def handle(context: Context, request: Request) -> object:
    asked = OffsetForLeaderEpochRequest.decode(request.buffer, request.position, request.limit, request.api_version)
    # Below version 3 nobody says who asks: a replica it may be, and is told what anybody is.
    check_is_a_brokers(context, request, asked.replica_id)
    topics = []
    for topic in asked.topics:
        partitions = []
        for part in topic.partitions:
            answer = OffsetForLeaderEpochResponse.EpochEndOffset(partition=part.partition)
            try:
                epoch, answer.end_offset = context.replicas.get(topic.topic, part.partition).epoch_end_offset(
                    part.leader_epoch, current_leader_epoch=part.current_leader_epoch, replica_id=asked.replica_id
                )
                if request.api_version >= 1:
                    answer.leader_epoch = epoch
            except KafkaError as error:
                answer.error_code = error.code
            partitions.append(answer)
        topics.append(OffsetForLeaderEpochResponse.OffsetForLeaderTopicResult(topic=topic.topic, partitions=partitions))
    return respond(request, OffsetForLeaderEpochResponse(topics=topics))
