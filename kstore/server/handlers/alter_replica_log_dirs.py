"""AlterReplicaLogDirs

API 34, versions 0-2
KIP-113: a replica is copied to another log directory of this broker, and answered before it is there
Kafka: KafkaApis.handleAlterReplicaLogDirsRequest, ReplicaManager.alterReplicaLogDirs, AlterReplicaLogDirsRequest.json
"""

from typing import Any

from kstore._native.connection import Request
from kstore.errors import NONE
from kstore.model import TopicPartition
from kstore.protocol.messages.alter_replica_log_dirs import AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse
from kstore.server.context import Context
from kstore.server.respond import respond


def handle(context: Context, request: Request) -> object:
    asked = AlterReplicaLogDirsRequest.decode(request.buffer, request.position, request.limit, request.api_version)
    # A partition that is named twice goes where it was named last.
    wishes = {
        TopicPartition(topic.name, index): wanted.path
        for wanted in asked.dirs
        for topic in wanted.topics
        for index in topic.partitions
    }
    topics: dict[str, list[Any]] = {}
    for key, error in context.log_dir_moves.ask(wishes).items():
        result = AlterReplicaLogDirsResponse.AlterReplicaLogDirPartitionResult(
            partition_index=key.partition, error_code=NONE if error is None else error.code
        )
        topics.setdefault(key.topic, []).append(result)
    return respond(
        request,
        AlterReplicaLogDirsResponse(
            results=[
                AlterReplicaLogDirsResponse.AlterReplicaLogDirTopicResult(topic_name=name, partitions=partitions)
                for name, partitions in topics.items()
            ]
        ),
    )
