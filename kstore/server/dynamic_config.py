"""Changing configurations at run time: what may be changed, and to what.

A change is worked out on what is there and checked as a whole: one bad key refuses the resource
(KIP-339). Topics refuse with INVALID_CONFIG, brokers with INVALID_REQUEST, as Kafka does
(ConfigurationControlManager.java, ConfigAdminManager.scala, KAFKA-13609).
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from kstore.cluster.image import ClusterImage
from kstore.config_def import ConfigKey
from kstore.errors import ConfigError, InvalidConfigError, InvalidRequestError
from kstore.log.topic_keys import TOPIC_KEYS, validate
from kstore.server.config import ServerConfig
from kstore.server.config_keys import broker_key, closest_key, split_listener_prefix

log = logging.getLogger(__name__)

# ConfigResource.Type
TOPIC = 2
BROKER = 4
BROKER_LOGGER = 8

# AlterConfigOp.OpType
SET = 0
DELETE = 1
APPEND = 2
SUBTRACT = 3

# Kafka moves a number of threads by no more than this factor at once (DynamicThreadPool).
THREAD_KEYS = {
    "background.threads",
    "log.cleaner.threads",
    "num.io.threads",
    "num.network.threads",
    "num.recovery.threads.per.data.dir",
    "num.replica.fetchers",
}

# Kafka can change these while it runs; kstore binds its listeners once.
ONLY_AT_START = {"advertised.listeners", "listener.security.protocol.map", "listeners"}


class Operation(NamedTuple):
    """One wish of an IncrementalAlterConfigs request."""

    name: str
    operation: int
    value: str | None


def after_operations(
    current: Mapping[str, str],
    operations: Iterable[Operation],
    find_key: Callable[[str], ConfigKey | None],
) -> dict[str, str]:
    """`current` after `operations`. Raises InvalidRequestError, InvalidConfigError."""
    operations = list(operations)
    _check_form([(each.name, each.value) for each in operations if each.operation != DELETE], operations)
    result = dict(current)
    for name, operation, value in operations:
        if operation == SET:
            result[name] = value or ""
        elif operation == DELETE:
            result.pop(name, None)
        elif operation in (APPEND, SUBTRACT):
            key = find_key(name)
            if key is None or key.type != "list":
                verb = "append to" if operation == APPEND else "subtract from"
                raise InvalidConfigError(f"{name}: nothing can {verb} it, for it is not a list")
            result[name] = _changed_list(result.get(name, key.default), operation, value or "")
        else:
            raise InvalidRequestError(f"{name}: {operation} is no operation")
    return result


def after_replacement(configs: Iterable[tuple[str, str | None]]) -> dict[str, str]:
    """What AlterConfigs leaves: `configs` and nothing else. Raises InvalidRequestError."""
    configs = list(configs)
    _check_form(configs, [Operation(name, SET, value) for name, value in configs])
    return {name: value or "" for name, value in configs}


def _check_form(values: list[tuple[str, str | None]], operations: list[Operation]) -> None:
    names = [each.name for each in operations]
    if len(set(names)) != len(names):
        raise InvalidRequestError(f"a key is given twice: {max(names, key=names.count)}")
    if nulls := [name for name, value in values if value is None]:
        raise InvalidRequestError(f"no value is given for {', '.join(nulls)}")


def _changed_list(current: str | None, operation: int, value: str) -> str:
    parts = [part for part in (current or "").split(",") if part]
    for part in value.split(","):
        if operation == APPEND and part not in parts:
            parts.append(part)
        elif operation == SUBTRACT and part in parts:
            parts.remove(part)
    return ",".join(parts)


def changes_between(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str | None]:
    """Key -> new value, or None for a key that goes."""
    gone: dict[str, str | None] = {name: None for name in before if name not in after}
    return gone | {name: value for name, value in after.items() if before.get(name) != value}


def check_topic(configs: Mapping[str, str], config: ServerConfig) -> None:
    """Whether a topic may have `configs`. Raises InvalidConfigError."""
    validate(configs, config.topic_defaults)


def find_topic_key(name: str) -> ConfigKey | None:
    return TOPIC_KEYS.get(name)


def find_broker_key(name: str) -> ConfigKey | None:
    """The key called `name`, a listener's prefix aside."""
    prefixed = split_listener_prefix(name)
    return broker_key(prefixed.name if prefixed else name)


def check_broker_name(name: str, broker_id: int) -> None:
    """`name` is empty for all brokers, or this broker's id. Raises InvalidRequestError."""
    if name and not (name.isdecimal() and name.isascii() and int(name) == broker_id):
        raise InvalidRequestError(f"broker {name!r} is not this one, {broker_id}, nor empty for all")


def check_broker(configs: Mapping[str, str], config: ServerConfig, *, per_broker: bool) -> None:
    """Whether brokers may be changed to have `configs`: this one, or all where `per_broker` is False.

    Raises InvalidRequestError.
    """
    for name, text in configs.items():
        if fault := _broker_fault(name, text, per_broker=per_broker):
            raise InvalidRequestError(fault)
    try:
        if per_broker:
            changed = config.with_dynamic(config.cluster, configs)
        else:
            changed = config.with_dynamic(configs, config.broker)
    except ConfigError as error:
        raise InvalidRequestError(str(error)) from error
    for name in sorted(THREAD_KEYS):
        _check_threads(name, before=config.value(name), after=changed.value(name))


def _broker_fault(name: str, text: str, *, per_broker: bool) -> str | None:
    key = find_broker_key(name)
    if key is None:
        closest = closest_key(name)
        return f"{name}: no Kafka knows this key" + (f"; did you mean {closest}?" if closest else "")
    if key.mode == "ro":
        return f"{name}: is only read when a broker starts"
    if name in ONLY_AT_START:
        return f"{name}: kstore binds its listeners when it starts"
    if key.effect == "refused":
        return f"{name}: kstore has no TLS and no SASL yet"
    if not per_broker and key.mode == "broker":
        return f"{name}: has to be set for each broker"
    try:
        key.parse(text)
    except InvalidConfigError as error:
        return str(error)
    return None


def _check_threads(name: str, *, before: int, after: int) -> None:
    if not max(1, before // 2) <= after <= before * 2:
        raise InvalidRequestError(f"{name}: {after} is less than half of {before}, or more than twice as many")


def usable_dynamic(configs: Mapping[str, str], *, per_broker: bool) -> dict[str, str]:
    """Those of the stored dynamic `configs` that can take effect.

    Kafka stores keys that kstore does not take, and ignores what is not valid (fromPersistentProps).
    """
    return {name: text for name, text in configs.items() if _broker_fault(name, text, per_broker=per_broker) is None}


def effective_config(started_with: ServerConfig, image: ClusterImage, broker_id: int) -> ServerConfig:
    """What is in effect on this broker: the configuration that it was started with, under the stored changes."""
    cluster = usable_dynamic(image.configs.get((BROKER, ""), {}), per_broker=False)
    broker = usable_dynamic(image.configs.get((BROKER, str(broker_id)), {}), per_broker=True)
    if not cluster and not broker:
        return started_with
    try:
        return started_with.with_dynamic(cluster, broker)
    except ConfigError as error:
        # Each value was right when it was set; the file has changed since.
        log.warning("the configuration changed at run time does not fit the one of the file: %s", error)
        return started_with
