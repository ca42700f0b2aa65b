"""Metadata

API 3, versions 0-12 KIP-4 auto-creation by the client's leave (4), KIP-430 authorized operations (8-10),
KIP-516 topic ids (10, 12) Kafka: KafkaApis.handleTopicMetadataRequest, MetadataRequest.json
"""

import contextlib
from typing import Any

from kstore._native.connection import PENDING, Request
from kstore.cluster.image import TopicImage
from kstore.cluster.topic_names import GROUPS_TOPIC, INTERNAL_TOPICS, validate_topic_name
from kstore.errors import (
    NONE,
    InvalidRequestError,
    InvalidTopicError,
    KafkaError,
    UnknownTopicIdError,
    UnknownTopicOrPartitionError,
)
from kstore.model import ZERO_UUID
from kstore.protocol.messages.metadata import MetadataRequest, MetadataResponse
from kstore.server.brokers import (
    CLUSTER_OPERATIONS,
    OPERATIONS_NOT_ASKED,
    TOPIC_OPERATIONS,
    brokers,
    controller_id,
    partition_state,
)
from kstore.server.context import Context
from kstore.server.respond import respond, respond_later

# Internal topics that nobody makes yet.
NOT_YET = INTERNAL_TOPICS - {GROUPS_TOPIC}


def handle(context: Context, request: Request) -> object:
    asked = MetadataRequest.decode(request.buffer, request.position, request.limit, request.api_version)
    refuse_early_ids(asked, request.api_version)
    missing = missing_topics(context, asked)
    if not missing:
        return respond(request, answer(context, request, asked))

    async def create_and_answer() -> Any:
        if GROUPS_TOPIC in missing:
            with contextlib.suppress(KafkaError):
                await context.groups.create_topic()
        await context.topics.auto_create([name for name in missing if name != GROUPS_TOPIC])
        return answer(context, request, asked)

    respond_later(context, request, create_and_answer())
    return PENDING


def refuse_early_ids(asked: Any, version: int) -> None:
    """Versions 10 and 11 have a topic id in the request that a broker must not be asked by (KIP-516)."""
    if version < 12 and any(topic.topic_id != ZERO_UUID or topic.name is None for topic in asked.topics or ()):
        raise InvalidRequestError(f"version {version} of Metadata cannot ask by topic id")


def missing_topics(context: Context, asked: Any) -> list[str]:
    """Names that are asked for, are not there, and may be created because somebody asks."""
    if not asked.topics or not asked.allow_auto_topic_creation or not context.config.auto_create_topics_enable:
        return []
    topics = context.topics.image.topics
    # A topic of transactions is made by who knows what it has to look like, not by who asks for it.
    return [
        topic.name
        for topic in asked.topics
        if topic.name is not None and topic.name not in topics and topic.name not in NOT_YET
    ]


def answer(context: Context, request: Request, asked: Any) -> Any:
    everything = asked.topics is None or (request.api_version == 0 and not asked.topics)
    image = context.topics.image
    if everything:
        topics = [describe(context, topic, asked) for topic in image.topics.values()]
    else:
        # A topic is described once, however often a small request asks for it.
        mentions = {(wanted.name, wanted.topic_id): wanted for wanted in asked.topics}
        topics = [find(context, wanted, asked) for wanted in mentions.values()]
    return MetadataResponse(
        brokers=[
            MetadataResponse.MetadataResponseBroker(node_id=id, host=host, port=port, rack=rack)
            for id, host, port, rack in brokers(context, request)
        ],
        cluster_id=context.cluster_id,
        controller_id=controller_id(context),
        topics=topics,
        cluster_authorized_operations=(
            CLUSTER_OPERATIONS if asked.include_cluster_authorized_operations else OPERATIONS_NOT_ASKED
        ),
    )


def find(context: Context, wanted: Any, asked: Any) -> Any:
    """The topic that is asked for by name, or by id where there is none, or why it cannot be described."""
    image = context.topics.image
    by_id = wanted.name is None
    name = image.topic_names.get(wanted.topic_id) if by_id else wanted.name
    topic = image.topics.get(name) if name is not None else None
    if topic is not None:
        return describe(context, topic, asked)
    error_code = UnknownTopicIdError.code if by_id else UnknownTopicOrPartitionError.code
    if not by_id:
        try:
            validate_topic_name(wanted.name)
        except InvalidTopicError as error:
            error_code = error.code
    return MetadataResponse.MetadataResponseTopic(
        error_code=error_code,
        name=wanted.name,
        topic_id=wanted.topic_id if by_id else ZERO_UUID,
        partitions=[],
        topic_authorized_operations=OPERATIONS_NOT_ASKED,
    )


def describe(context: Context, topic: TopicImage, asked: Any) -> Any:
    partitions = []
    for index, partition in topic.partitions.items():
        state = partition_state(context, topic.name, index, partition)
        partitions.append(
            MetadataResponse.MetadataResponsePartition(
                error_code=state.error_code,
                partition_index=index,
                leader_id=state.leader,
                leader_epoch=partition.leader_epoch,
                replica_nodes=list(partition.replicas),
                isr_nodes=list(partition.isr),
                offline_replicas=state.offline_replicas,
            )
        )
    return MetadataResponse.MetadataResponseTopic(
        error_code=NONE,
        name=topic.name,
        topic_id=topic.id,
        is_internal=topic.name in INTERNAL_TOPICS,
        partitions=partitions,
        topic_authorized_operations=(
            TOPIC_OPERATIONS if asked.include_topic_authorized_operations else OPERATIONS_NOT_ASKED
        ),
    )
