"""StopReplica

API 5, version 4: what a controller at inter.broker.protocol.version 3.9 sends
KIP-570 leader epochs
Kafka: KafkaApis.handleStopReplicaRequest, ReplicaManager.stopReplicas, StopReplicaRequest.json
"""

from typing import Any

from kstore._native.connection import Request
from kstore.errors import (
    NONE,
    FencedLeaderEpochError,
    KafkaStorageError,
    StaleBrokerEpochError,
    StaleControllerEpochError,
)
from kstore.model import TopicPartition
from kstore.protocol.messages.stop_replica import StopReplicaRequest, StopReplicaResponse
from kstore.server.context import Context
from kstore.server.respond import respond

# Says nothing of the epoch; says that the topic is deleted (LeaderAndIsr.NoEpoch, EpochDuringDelete).
ANY_EPOCH = (-1, -2)


def handle(context: Context, request: Request) -> object:
    asked = StopReplicaRequest.decode(request.buffer, request.position, request.limit, request.api_version)
    try:
        context.cluster.check_sender(asked)
    except (StaleControllerEpochError, StaleBrokerEpochError) as error:
        return respond(request, StopReplicaResponse(error_code=error.code))
    errors = [
        StopReplicaResponse.StopReplicaPartitionError(
            topic_name=topic.topic_name,
            partition_index=state.partition_index,
            error_code=stop(context, TopicPartition(topic.topic_name, state.partition_index), state),
        )
        for topic in asked.topic_states
        for state in topic.partition_states
    ]
    return respond(request, StopReplicaResponse(partition_errors=errors))


def stop(context: Context, key: TopicPartition, state: Any) -> int:
    """Lets go of one replica; NONE also for one that is not here (rule 46)."""
    replicas = context.replicas
    if key in replicas.offline and state.delete_partition:
        return KafkaStorageError.code
    held = replicas.partitions.get(key)
    if held is not None and state.leader_epoch not in ANY_EPOCH and state.leader_epoch < held.leader_epoch:
        return FencedLeaderEpochError.code
    if state.delete_partition:
        context.deliver(replicas.delete(key, now_ms=context.clock.now_ms()))
    else:
        context.deliver(replicas.stop(key))
    return NONE
