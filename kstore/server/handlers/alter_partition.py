"""AlterPartition

API 56, versions 2-3
KIP-497, KIP-841 topic ids (2), KIP-903 broker epochs of the replicas (3)
Kafka: KafkaController.processAlterPartition, AlterPartitionRequest.json

Every topic that this controller makes has an id, so the versions by name are not spoken.
"""

from typing import Any

from kstore._native.connection import Request
from kstore.cluster.isr_update import IsrProposal
from kstore.errors import NONE, KafkaError, UnknownTopicIdError
from kstore.model import TopicPartition
from kstore.protocol.messages.alter_partition import AlterPartitionRequest, AlterPartitionResponse
from kstore.server.context import Context
from kstore.server.respond import respond_later

EPOCHS_FROM = 3


def handle(context: Context, request: Request) -> object:
    asked = AlterPartitionRequest.decode(request.buffer, request.position, request.limit, request.api_version)
    return respond_later(context, request, answer(context, asked, request.api_version))


async def answer(context: Context, asked: Any, version: int) -> Any:
    controller = context.cluster.controller.requests
    proposals: dict[TopicPartition, IsrProposal] = {}
    try:
        names = {topic.topic_id: controller.name_of(topic.topic_id) for topic in asked.topics}
        for topic in asked.topics:
            name = names[topic.topic_id]
            if name is not None:
                for part in topic.partitions:
                    proposals[TopicPartition(name, part.partition_index)] = proposal_of(asked, part, version)
        results = await controller.isr_proposed(proposals, broker_epoch=asked.broker_epoch)
    except KafkaError as error:
        return AlterPartitionResponse(error_code=error.code)
    return AlterPartitionResponse(
        topics=[
            AlterPartitionResponse.TopicData(
                topic_id=topic.topic_id,
                partitions=[result(context, names[topic.topic_id], part, results) for part in topic.partitions],
            )
            for topic in asked.topics
        ]
    )


def proposal_of(asked: Any, part: Any, version: int) -> IsrProposal:
    if version >= EPOCHS_FROM:
        isr = {each.broker_id: each.broker_epoch for each in part.new_isr_with_epochs}
    else:
        isr = dict.fromkeys(part.new_isr, -1)
    return IsrProposal(asked.broker_id, part.leader_epoch, part.partition_epoch, isr, part.leader_recovery_state)


def result(context: Context, name: str | None, part: Any, results: dict[TopicPartition, KafkaError | None]) -> Any:
    data = AlterPartitionResponse.PartitionData(partition_index=part.partition_index)
    if name is None:
        data.error_code = UnknownTopicIdError.code
        return data
    key = TopicPartition(name, part.partition_index)
    error = results[key]
    data.error_code = NONE if error is None else error.code
    state = context.cluster.controller.requests.state(key)
    if error is None and state is not None:
        data.leader_id = state.leader
        data.leader_epoch = state.leader_epoch
        data.isr = list(state.isr)
        data.leader_recovery_state = state.leader_recovery_state
        data.partition_epoch = state.partition_epoch
    return data
