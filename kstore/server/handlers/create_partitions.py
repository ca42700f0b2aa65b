"""CreatePartitions

API 37, versions 0-3
KIP-195: the count is the topic's new total, and it only grows
Kafka: ControllerApis.createPartitions, ReplicationControlManager.createPartitions, CreatePartitionsRequest.json
"""

from collections import Counter
from typing import Any

from kstore._native.connection import Request
from kstore.cluster.image import ClusterImage
from kstore.cluster.topic_changes import Placement, TooManyRecordsError, check_size, grow_topic
from kstore.cluster.topic_names import GROUPS_TOPIC
from kstore.errors import NONE, InvalidRequestError, KafkaError, PartlyRefusedError, UnknownTopicOrPartitionError
from kstore.protocol.messages.create_partitions import CreatePartitionsRequest, CreatePartitionsResponse
from kstore.server.context import Context
from kstore.server.respond import respond_later


def handle(context: Context, request: Request) -> object:
    asked = CreatePartitionsRequest.decode(request.buffer, request.position, request.limit, request.api_version)
    return respond_later(context, request, create(context, asked))


async def create(context: Context, asked: Any) -> Any:
    mentions = Counter(topic.name for topic in asked.topics)
    wanted = [topic for topic in asked.topics if mentions[topic.name] == 1]
    refusals: dict[str, KafkaError] = {}

    def decide(image: ClusterImage) -> list[Any]:
        records: list[Any] = []
        placement = context.topics.placement()
        for topic in wanted:
            try:
                records += grow(placement, image, topic)
                check_size(len(records))
            except TooManyRecordsError:
                raise
            except KafkaError as error:
                refusals[topic.name] = error
        return [] if asked.validate_only else records

    try:
        await context.topics.change(decide)
    except PartlyRefusedError as error:
        refusals |= error.refusals
    except KafkaError as error:
        refusals = {topic.name: error for topic in wanted}
    repeated = [name for name, count in mentions.items() if count > 1]
    refusals |= {name: InvalidRequestError(f"{name!r} is in the request more than once") for name in repeated}
    return CreatePartitionsResponse(
        results=[result(name, refusals.get(name)) for name in [*repeated, *(topic.name for topic in wanted)]]
    )


def grow(placement: Placement, image: ClusterImage, topic: Any) -> list[Any]:
    known = image.topics.get(topic.name)
    if known is None:
        raise UnknownTopicOrPartitionError(f"there is no topic {topic.name!r}")
    if topic.name == GROUPS_TOPIC:
        # Kafka's brokers count its partitions at their start only, and after the next one look for groups elsewhere.
        raise InvalidRequestError(
            f"{GROUPS_TOPIC} cannot grow: a group and its offsets lie in the partition that its name hashes to"
        )
    assignments = topic.assignments
    return grow_topic(
        known,
        count=topic.count,
        assignments=None if assignments is None else [each.broker_ids for each in assignments],
        placement=placement,
    )


def result(name: str, refusal: KafkaError | None) -> Any:
    return CreatePartitionsResponse.CreatePartitionsTopicResult(
        name=name,
        error_code=NONE if refusal is None else refusal.code,
        error_message=None if refusal is None else str(refusal),
    )
