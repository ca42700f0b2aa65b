"""LeaderAndIsr

API 4, version 7: what a controller at inter.broker.protocol.version 3.9 sends
KIP-380 broker epochs, KIP-516 topic ids
Kafka: KafkaApis.handleLeaderAndIsrRequest, ReplicaManager.becomeLeaderOrFollower, LeaderAndIsrRequest.json
"""

from typing import Any

from kstore._native.connection import Request
from kstore.errors import KafkaError, StaleBrokerEpochError, StaleControllerEpochError, UnknownTopicOrPartitionError
from kstore.model import TopicPartition
from kstore.protocol.messages.leader_and_isr import LeaderAndIsrRequest, LeaderAndIsrResponse
from kstore.server.context import Context
from kstore.server.respond import respond_later


def handle(context: Context, request: Request) -> object:
    asked = LeaderAndIsrRequest.decode(request.buffer, request.position, request.limit, request.api_version)
    return respond_later(context, request, answer(context, asked))


async def answer(context: Context, asked: Any) -> Any:
    member = context.cluster
    new_here = [
        topic.topic_name
        for topic in asked.topic_states
        if member.is_new_here(topic.topic_name, [state.partition_index for state in topic.partition_states])
    ]
    # Only what is not known yet has to be waited for; the controller sends one request after the other.
    await member.know_configs(new_here)
    try:
        member.check_sender(asked)
    except (StaleControllerEpochError, StaleBrokerEpochError) as error:
        return LeaderAndIsrResponse(error_code=error.code)
    topics = []
    for topic in asked.topic_states:
        errors = [
            LeaderAndIsrResponse.LeaderAndIsrPartitionError(
                partition_index=state.partition_index, error_code=take(context, topic, state)
            )
            for state in topic.partition_states
        ]
        topics.append(LeaderAndIsrResponse.LeaderAndIsrTopicError(topic_id=topic.topic_id, partition_errors=errors))
    member.confirmed(asked)
    context.deliver.turn_ended()
    return LeaderAndIsrResponse(topics=topics)


def take(context: Context, topic: Any, state: Any) -> int:
    if context.node_id not in state.replicas:
        return UnknownTopicOrPartitionError.code
    key = TopicPartition(topic.topic_name, state.partition_index)
    try:
        code: int = context.cluster.lead_or_follow(key, topic.topic_id, state)
    except KafkaError as error:
        return error.code
    return code
