"""DeleteTopics

API 20, versions 0-6
KIP-4, TOPIC_DELETION_DISABLED (3), messages (5), KIP-516 by topic id (6)
Kafka: ControllerApis.deleteTopics, ReplicationControlManager.deleteTopics, DeleteTopicsRequest.json
"""

from collections import Counter
from typing import Any, NamedTuple

from kstore._native.connection import Request
from kstore.cluster.image import ClusterImage, TopicImage
from kstore.cluster.topic_changes import delete_topics
from kstore.errors import (
    InvalidRequestError,
    KafkaError,
    TopicDeletionDisabledError,
    UnknownTopicIdError,
    UnknownTopicOrPartitionError,
)
from kstore.model import ZERO_UUID, uuid_to_text
from kstore.protocol.messages.delete_topics import DeleteTopicsRequest, DeleteTopicsResponse
from kstore.server.context import Context
from kstore.server.respond import respond, respond_later

DISABLED_HAS_A_CODE_FROM = 3


class Mention(NamedTuple):
    """One topic of a request, as it is named there."""

    name: str | None
    topic_id: bytes = ZERO_UUID


def handle(context: Context, request: Request) -> object:
    version = request.api_version
    asked = DeleteTopicsRequest.decode(request.buffer, request.position, request.limit, version)
    mentions = [Mention(name) for name in asked.topic_names]
    mentions += [Mention(topic.name, topic.topic_id) for topic in asked.topics]
    if not context.config.delete_topic_enable:
        refusal = TopicDeletionDisabledError if version >= DISABLED_HAS_A_CODE_FROM else InvalidRequestError
        error = refusal("delete.topic.enable is false")
        results = [refused(mention, error) for mention in mentions]
        return respond(request, DeleteTopicsResponse(responses=results))
    return respond_later(context, request, delete(context, mentions))


async def delete(context: Context, mentions: list[Mention]) -> Any:
    results: list[Any] = []
    doomed: dict[bytes, TopicImage] = {}

    def decide(image: ClusterImage) -> list[Any]:
        found: list[tuple[Mention, TopicImage]] = []
        counts = Counter(mentions)
        for mention in counts:
            try:
                found.append((mention, find(image, mention, counts[mention])))
            except KafkaError as error:
                results.append(refused(mention, error))
        mentioned = Counter(topic.id for _, topic in found)
        for mention, topic in found:
            if mentioned[topic.id] == 1:
                doomed[topic.id] = topic
            elif mention.name is not None:
                # Said once for the two: by its name and by its id.
                message = f"{topic.name!r} is asked for by name and by id"
                results.append(refused(Mention(topic.name, topic.id), InvalidRequestError(message)))
        return delete_topics(list(doomed.values()))

    try:
        await context.topics.change(decide)
    except KafkaError as error:
        # Where another broker controls, nobody has looked for them.
        asked = [Mention(topic.name, topic.id) for topic in doomed.values()] if doomed or results else Counter(mentions)
        results += [refused(mention, error) for mention in asked]
    else:
        results += [
            DeleteTopicsResponse.DeletableTopicResult(name=topic.name, topic_id=topic.id) for topic in doomed.values()
        ]
    return DeleteTopicsResponse(responses=results)


def find(image: ClusterImage, mention: Mention, count: int) -> TopicImage:
    """The topic that is meant. Raises the KafkaError for a mention that is none, or no topic's."""
    name, topic_id = mention
    if name is None and topic_id == ZERO_UUID:
        raise InvalidRequestError("a topic is asked for without a name or an id")
    if name is not None and topic_id != ZERO_UUID:
        raise InvalidRequestError("a topic is asked for by name or by id, not by both")
    if count > 1:
        raise InvalidRequestError(f"the topic is asked for {count} times")
    if name is None:
        name = image.topic_names.get(topic_id)
        if name is None:
            raise UnknownTopicIdError(f"no topic has the id {uuid_to_text(topic_id)}")
    topic = image.topics.get(name)
    if topic is None:
        raise UnknownTopicOrPartitionError(f"there is no topic {name!r}")
    return topic


def refused(mention: Mention, error: KafkaError) -> Any:
    return DeleteTopicsResponse.DeletableTopicResult(
        name=mention.name, topic_id=mention.topic_id, error_code=error.code, error_message=str(error)
    )
