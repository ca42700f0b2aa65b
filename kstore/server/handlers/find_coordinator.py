"""FindCoordinator

API 10, versions 0-6 (version 0 must be in range, or librdkafka does not use LZ4)
KIP-699 many keys a request (4)
Kafka: KafkaApis.handleFindCoordinatorRequest, FindCoordinatorRequest.json

A group's coordinator leads its partition of `__consumer_offsets`, which is made when the first group is asked for.
This broker coordinates no transactions yet, and says so with an error that a producer does not repeat: clients of
a coordinator that is not available try for ever.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from kstore._native.connection import Request
from kstore.cluster.topic_names import GROUPS_TOPIC
from kstore.errors import (
    NONE,
    CoordinatorNotAvailableError,
    InvalidRequestError,
    KafkaError,
    TransactionalIdAuthorizationError,
)
from kstore.protocol.messages.find_coordinator import FindCoordinatorRequest, FindCoordinatorResponse
from kstore.server.brokers import brokers, partition_state
from kstore.server.context import Context
from kstore.server.respond import respond, respond_later

GROUP = 0
TRANSACTION = 1
BATCHED_FROM = 4


class Node(NamedTuple):
    """Where a coordinator is, or why it is nowhere. A success is called NONE in the versions for one key."""

    id: int = -1
    host: str = ""
    port: int = -1
    error_code: int = NONE
    error_message: str = "NONE"


def handle(context: Context, request: Request) -> object:
    asked = FindCoordinatorRequest.decode(request.buffer, request.position, request.limit, request.api_version)
    keys = asked.coordinator_keys if request.api_version >= BATCHED_FROM else [asked.key]
    if asked.key_type != GROUP:
        return respond(request, answer(request, keys, [refused(refusal_for(asked.key_type))] * len(keys)))
    if keys and GROUPS_TOPIC not in context.topics.image.topics:
        return respond_later(context, request, create_and_find(context, request, keys))
    return respond(request, find(context, request, keys))


async def create_and_find(context: Context, request: Request, keys: Sequence[str]) -> Any:
    try:
        await context.groups.create_topic()
    except KafkaError as error:
        reason = CoordinatorNotAvailableError(f"{GROUPS_TOPIC} cannot be made: {error}")
        return answer(request, keys, [refused(reason)] * len(keys))
    return find(context, request, keys)


def find(context: Context, request: Request, keys: Sequence[str]) -> Any:
    return answer(request, keys, [coordinator_of(context, request, key) for key in keys])


def coordinator_of(context: Context, request: Request, group_id: str) -> Node:
    topic = context.topics.image.topics.get(GROUPS_TOPIC)
    index = context.groups.partition_for(group_id)
    if topic is not None:
        state = partition_state(context, GROUPS_TOPIC, index, topic.partitions[index])
        for broker in brokers(context, request):
            if broker.id == state.leader:
                return Node(broker.id, broker.host, broker.port)
    return refused(CoordinatorNotAvailableError(f"{GROUPS_TOPIC}-{index} has no leader"))


def refusal_for(key_type: int) -> KafkaError:
    if key_type == TRANSACTION:
        return TransactionalIdAuthorizationError("this broker has no transactions yet")
    return InvalidRequestError(f"there are no coordinators of type {key_type}")


def refused(error: KafkaError) -> Node:
    return Node(error_code=error.code, error_message=str(error))


def answer(request: Request, keys: Sequence[str], nodes: Sequence[Node]) -> Any:
    if request.api_version < BATCHED_FROM:
        (node,) = nodes
        return FindCoordinatorResponse(
            error_code=node.error_code,
            error_message=node.error_message,
            node_id=node.id,
            host=node.host,
            port=node.port,
        )
    return FindCoordinatorResponse(
        coordinators=[
            FindCoordinatorResponse.Coordinator(
                key=key,
                node_id=node.id,
                host=node.host,
                port=node.port,
                error_code=node.error_code,
                error_message=node.error_message if node.error_code else "",
            )
            for key, node in zip(keys, nodes, strict=True)
        ]
    )
