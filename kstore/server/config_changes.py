"""Changes of configurations that one request asks for: each resource is changed whole or refused, in one write.

Kafka: ConfigAdminManager.scala, ConfigurationControlManager.java, ControllerConfigurationValidator.scala.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from kstore.cluster.image import BROKER_RESOURCE, TOPIC_RESOURCE, ClusterImage
from kstore.cluster.topic_changes import TooManyRecordsError, check_size, config_records
from kstore.cluster.topic_names import validate_topic_name
from kstore.config_def import ConfigKey
from kstore.errors import InvalidRequestError, KafkaError, UnknownTopicOrPartitionError
from kstore.log.topic_keys import TOPIC_KEYS
from kstore.server.context import Context
from kstore.server.dynamic_config import (
    changes_between,
    check_broker,
    check_broker_name,
    check_topic,
    find_broker_key,
    find_topic_key,
    usable_dynamic,
)

FindKey = Callable[[str], ConfigKey | None]


class Wish(NamedTuple):
    """What is to become of one resource: `after` makes of what is there what shall be there."""

    resource_type: int
    name: str
    after: Callable[[Mapping[str, str], FindKey], dict[str, str]]


async def change_configs(context: Context, wishes: Sequence[Wish], *, validate_only: bool) -> list[KafkaError | None]:
    """Makes the changes that are right; gives for each wish why it was refused, or None."""
    mentions = Counter((wish.resource_type, wish.name) for wish in wishes)
    refusals: list[KafkaError | None] = []

    def decide(image: ClusterImage) -> list[Any]:
        records: list[Any] = []
        refusals.clear()
        for wish in wishes:
            try:
                if mentions[wish.resource_type, wish.name] > 1:
                    raise InvalidRequestError(f"the resource {wish.name!r} is in the request more than once")
                records += decide_one(context, image, wish)
                check_size(len(records))
                refusals.append(None)
            except TooManyRecordsError:
                raise
            except KafkaError as error:
                refusals.append(error)
        return [] if validate_only else records

    try:
        await context.topics.change_configs([(wish.resource_type, wish.name) for wish in wishes], decide)
    except KafkaError as error:
        return [error] * len(wishes)
    return refusals


def decide_one(context: Context, image: ClusterImage, wish: Wish) -> list[Any]:
    """The records of one change. Raises the KafkaError that refuses it."""
    stored = image.configs.get((wish.resource_type, wish.name), {})
    if wish.resource_type == TOPIC_RESOURCE:
        after = wish.after(stored, find_topic_key)
        if not wish.name:
            raise InvalidRequestError("topics have no common configuration; the brokers' keys are their default")
        validate_topic_name(wish.name)
        check_topic(touched_or(TOPIC_KEYS, after, stored), context.config)
        if wish.name not in image.topics:
            raise UnknownTopicOrPartitionError(f"there is no topic {wish.name!r}")
    elif wish.resource_type == BROKER_RESOURCE:
        check_broker_name(wish.name, context.node_id)
        per_broker = wish.name != ""
        after = wish.after(stored, find_broker_key)
        usable = usable_dynamic(stored, per_broker=per_broker)
        check_broker(touched_or(usable, after, stored), context.config, per_broker=per_broker)
    else:
        raise InvalidRequestError(f"kstore configures topics (2) and brokers (4), not {wish.resource_type}")
    return config_records(wish.resource_type, wish.name, changes_between(stored, after))


def touched_or(known: Mapping[str, object], after: Mapping[str, str], stored: Mapping[str, str]) -> dict[str, str]:
    """What has to be right: all but what a Kafka left in this directory that kstore does not take."""
    return {name: text for name, text in after.items() if name in known or stored.get(name) != text}
