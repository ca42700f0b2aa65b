"""CreateTopics

API 19, versions 0-7
KIP-4, validate only (1), KIP-464 the broker's default counts (4), KIP-525 configuration in the answer (5), KIP-516
topic ids (7)
Kafka: ControllerApis.createTopics, ReplicationControlManager.createTopics, CreateTopicsRequest.json

All topics of a request that are accepted are one change of the metadata; each of the others has its own refusal.
"""

from collections import Counter
from typing import Any

from kstore._native.connection import Request
from kstore.cluster.image import ClusterImage
from kstore.cluster.topic_changes import Counts, TooManyRecordsError, TopicCreation
from kstore.cluster.topic_names import METADATA_TOPIC
from kstore.errors import (
    InvalidConfigError,
    InvalidReplicaAssignmentError,
    InvalidRequestError,
    KafkaError,
    PartlyRefusedError,
)
from kstore.model import ZERO_UUID
from kstore.protocol.messages.create_topics import CreateTopicsRequest, CreateTopicsResponse
from kstore.server.context import Context
from kstore.server.describe_config import describe_topic
from kstore.server.dynamic_config import check_topic
from kstore.server.respond import respond_later

CONFIGS_FROM = 5


def handle(context: Context, request: Request) -> object:
    asked = CreateTopicsRequest.decode(request.buffer, request.position, request.limit, request.api_version)
    return respond_later(context, request, create(context, asked, tells_configs=request.api_version >= CONFIGS_FROM))


async def create(context: Context, asked: Any, *, tells_configs: bool) -> Any:
    mentions = Counter(topic.name for topic in asked.topics)
    wanted = [topic for topic in asked.topics if mentions[topic.name] == 1 and topic.name != METADATA_TOPIC]
    results: list[Any] = []
    told = Told(context) if tells_configs else None

    def decide(image: ClusterImage) -> list[Any]:
        creation = context.topics.creation(image)
        for topic in wanted:
            results.append(accept(context, topic, creation, told, validate_only=asked.validate_only))
        return [] if asked.validate_only else creation.records

    try:
        await context.topics.change(decide)
    except PartlyRefusedError as error:
        lost = error.refusals
        results[:] = [refused(made.name, lost[made.name]) if made.name in lost else made for made in results]
    except KafkaError as error:
        results[:] = [refused(topic.name, error) for topic in wanted]
    for name, count in mentions.items():
        if count > 1:
            results.append(refused(name, InvalidRequestError(f"{name!r} is {count} times in the request")))
        elif name == METADATA_TOPIC:
            results.append(refused(name, InvalidRequestError(f"{name!r} is the metadata log itself")))
    return CreateTopicsResponse(topics=results)


class Told:
    """The configurations in the answer. Topics of one request often have the same one, which is made once."""

    def __init__(self, context: Context) -> None:
        self._config = context.config
        self._made: dict[frozenset[tuple[str, str]], list[Any]] = {}

    def of(self, configs: dict[str, str]) -> list[Any]:
        key = frozenset(configs.items())
        if key not in self._made:
            self._made[key] = [
                CreateTopicsResponse.CreatableTopicConfigs(
                    name=entry.name,
                    # What the request gives is told as it is, not as it is understood.
                    value=configs.get(entry.name, entry.value),
                    read_only=entry.read_only,
                    config_source=entry.source,
                    is_sensitive=entry.is_sensitive,
                )
                for entry in describe_topic(configs, self._config)
            ]
        return self._made[key]


def accept(context: Context, topic: Any, creation: TopicCreation, told: Told | None, *, validate_only: bool) -> Any:
    """What becomes of one topic; it is added to `creation` or refused."""
    try:
        creation.check_name(topic.name)
        configs = configs_of(topic)
        check_topic(configs, context.config)
        created = creation.add(
            topic.name,
            Counts(topic.num_partitions, topic.replication_factor),
            assignments=assignments_of(topic),
            configs=configs,
        )
    except TooManyRecordsError:
        raise
    except KafkaError as error:
        return refused(topic.name, error)
    return CreateTopicsResponse.CreatableTopicResult(
        name=topic.name,
        # A topic that was only checked has no id yet.
        topic_id=ZERO_UUID if validate_only else created.topic_id,
        error_message=None,
        num_partitions=created.partitions,
        replication_factor=created.replication_factor,
        configs=told.of(configs) if told is not None else [],
    )


def configs_of(topic: Any) -> dict[str, str]:
    nulls = [config.name for config in topic.configs if config.value is None]
    if nulls:
        raise InvalidConfigError(f"no value is given for {', '.join(nulls)}")
    return {config.name: config.value for config in topic.configs}


def assignments_of(topic: Any) -> dict[int, list[int]]:
    assignments: dict[int, list[int]] = {}
    for each in topic.assignments:
        if each.partition_index in assignments:
            raise InvalidReplicaAssignmentError(f"partition {each.partition_index} is assigned twice")
        assignments[each.partition_index] = each.broker_ids
    return assignments


def refused(name: str, error: KafkaError) -> Any:
    return CreateTopicsResponse.CreatableTopicResult(name=name, error_code=error.code, error_message=str(error))
