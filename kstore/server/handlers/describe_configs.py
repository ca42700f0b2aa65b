"""DescribeConfigs

API 32, versions 0-4
KIP-133, KIP-226 sources and synonyms (1), KIP-569 types and documentation (3)
Kafka: ConfigHelper.scala, DescribeConfigsRequest.json
"""

from typing import Any

from kstore._native.connection import Request
from kstore.cluster.image import BROKER_RESOURCE, TOPIC_RESOURCE, ClusterImage
from kstore.cluster.topic_names import validate_topic_name
from kstore.errors import InvalidRequestError, KafkaError, UnknownTopicOrPartitionError
from kstore.protocol.messages.describe_configs import DescribeConfigsRequest, DescribeConfigsResponse
from kstore.server.config_keys import reason_for
from kstore.server.context import Context
from kstore.server.describe_config import (
    ConfigEntry,
    describe_broker,
    describe_cluster_default,
    describe_topic,
)
from kstore.server.dynamic_config import check_broker_name, find_broker_key, find_topic_key
from kstore.server.respond import respond, respond_later


def handle(context: Context, request: Request) -> object:
    version = request.api_version
    asked = DescribeConfigsRequest.decode(request.buffer, request.position, request.limit, version)
    if context.cluster is not None:
        return respond_later(context, request, as_stored(context, asked, version))
    return respond(request, answer(context, context.topics.image, asked, version))


async def as_stored(context: Context, asked: Any, version: int) -> Any:
    """In a cluster: as the configurations are now, whatever this broker holds of the topics."""
    try:
        resources = [(resource.resource_type, resource.resource_name) for resource in asked.resources]
        image = await context.topics.image_with_configs(resources)
    except KafkaError as error:
        return DescribeConfigsResponse(
            results=[
                DescribeConfigsResponse.DescribeConfigsResult(
                    error_code=error.code,
                    error_message=str(error),
                    resource_type=resource.resource_type,
                    resource_name=resource.resource_name,
                )
                for resource in asked.resources
            ]
        )
    return answer(context, image, asked, version)


def answer(context: Context, image: ClusterImage, asked: Any, version: int) -> Any:
    results = []
    # A resource is described once, however often a small request asks for it.
    resources = {(resource.resource_type, resource.resource_name): resource for resource in asked.resources}
    told: dict[object, list[Any]] = {}
    for resource in resources.values():
        result = DescribeConfigsResponse.DescribeConfigsResult(
            error_message=None,
            resource_type=resource.resource_type,
            resource_name=resource.resource_name,
        )
        try:
            key = what_is_described(image, resource)
            if key not in told:
                told[key] = [
                    described(entry, resource.resource_type, asked, version)
                    for entry in entries(context, image, resource)
                ]
            result.configs = told[key]
        except KafkaError as error:
            result.error_code, result.error_message = error.code, str(error)
        results.append(result)
    return DescribeConfigsResponse(results=results)


def what_is_described(image: ClusterImage, resource: Any) -> object:
    """Equal for resources that have the same entries: most topics of a cluster have the brokers' configuration."""
    name, keys = resource.resource_name, resource.configuration_keys
    if resource.resource_type == TOPIC_RESOURCE and name in image.topics:
        return frozenset(image.topic_config(name).items()), tuple(keys or ())
    return resource.resource_type, name


def entries(context: Context, image: ClusterImage, resource: Any) -> list[ConfigEntry]:
    """The entries that are asked for. Raises the KafkaError that refuses the resource."""
    name, keys = resource.resource_name, resource.configuration_keys
    if resource.resource_type == TOPIC_RESOURCE:
        validate_topic_name(name)
        if name not in image.topics:
            raise UnknownTopicOrPartitionError(f"there is no topic {name!r}")
        return describe_topic(image.topic_config(name), context.config, keys)
    if resource.resource_type == BROKER_RESOURCE:
        check_broker_name(name, context.node_id)
        return describe_broker(context.config, keys) if name else describe_cluster_default(context.config, keys)
    raise InvalidRequestError(f"kstore configures topics (2) and brokers (4), not {resource.resource_type}")


def described(entry: ConfigEntry, resource_type: int, asked: Any, version: int) -> Any:
    return DescribeConfigsResponse.DescribeConfigsResourceResult(
        name=entry.name,
        value=entry.value,
        read_only=entry.read_only,
        is_default=version == 0 and entry.is_default,
        config_source=entry.source,
        is_sensitive=entry.is_sensitive,
        synonyms=[
            DescribeConfigsResponse.DescribeConfigsSynonym(
                name=synonym.name, value=synonym.value, source=synonym.source
            )
            for synonym in entry.synonyms
            if asked.include_synonyms
        ],
        config_type=entry.type_id,
        documentation=documentation(entry.name, resource_type) if asked.include_documentation else None,
    )


def documentation(name: str, resource_type: int) -> str | None:
    """What the key may be, and why it changes nothing here if that is so."""
    key = find_topic_key(name) if resource_type == TOPIC_RESOURCE else find_broker_key(name)
    if key is None:
        return None
    reason = reason_for(key)
    return key.expected if reason is None else f"{key.expected}; has no effect: {reason}"
