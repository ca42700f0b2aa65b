"""What may be changed at run time, to what, and what is left of stored changes."""

from collections.abc import Mapping

import pytest

from kstore.cluster.image import BROKER_RESOURCE, ClusterImage
from kstore.errors import InvalidConfigError, InvalidRequestError
from kstore.server.config import ServerConfig
from kstore.server.dynamic_config import (
    APPEND,
    DELETE,
    SET,
    SUBTRACT,
    Operation,
    after_operations,
    after_replacement,
    changes_between,
    check_broker,
    check_broker_name,
    check_topic,
    effective_config,
    find_broker_key,
    find_topic_key,
    usable_dynamic,
)


def config(*overrides: str) -> ServerConfig:
    return ServerConfig.from_arguments("/data", 9092, overrides)


def after(current: Mapping[str, str], *operations: tuple[str, int, str | None]) -> dict[str, str]:
    return after_operations(current, [Operation(*operation) for operation in operations], find_topic_key)


def test_set_and_delete_change_one_key_each() -> None:
    current = {"retention.ms": "5", "segment.ms": "6"}
    assert after(current, ("retention.ms", SET, "7"), ("flush.ms", SET, "1")) == {
        "retention.ms": "7",
        "segment.ms": "6",
        "flush.ms": "1",
    }
    assert after(current, ("retention.ms", DELETE, None), ("flush.ms", DELETE, None)) == {"segment.ms": "6"}
    assert current == {"retention.ms": "5", "segment.ms": "6"}


@pytest.mark.parametrize(
    ("current", "operation", "value", "expected"),
    [
        ({}, APPEND, "compact", "delete,compact"),  # to the default
        ({"cleanup.policy": "compact"}, APPEND, "delete,compact", "compact,delete"),
        ({"cleanup.policy": "compact,delete"}, SUBTRACT, "delete", "compact"),
        ({"cleanup.policy": "compact,delete"}, SUBTRACT, "delete,compact", ""),
        ({}, SUBTRACT, "compact", "delete"),
        ({"cleanup.policy": ""}, APPEND, "compact", "compact"),
    ],
)
def test_lists_are_appended_to_and_subtracted_from(
    current: Mapping[str, str], operation: int, value: str, expected: str
) -> None:
    assert after(current, ("cleanup.policy", operation, value)) == {"cleanup.policy": expected}


@pytest.mark.parametrize("operation", [APPEND, SUBTRACT])
@pytest.mark.parametrize("name", ["retention.ms", "no.such.key"])
def test_what_is_no_list_is_not_appended_to(name: str, operation: int) -> None:
    with pytest.raises(InvalidConfigError, match=name):
        after({}, (name, operation, "1"))


@pytest.mark.parametrize(
    "operations",
    [
        [("retention.ms", SET, "1"), ("retention.ms", DELETE, None)],
        [("retention.ms", SET, None)],
        [("cleanup.policy", APPEND, None)],
        [("retention.ms", 7, "1")],
    ],
    ids=["twice", "null", "null append", "no operation"],
)
def test_a_wish_of_the_wrong_form_is_refused(operations: list[tuple[str, int, str | None]]) -> None:
    with pytest.raises(InvalidRequestError):
        after({}, *operations)


def test_a_replacement_is_all_there_is() -> None:
    assert after_replacement([("retention.ms", "5")]) == {"retention.ms": "5"}
    with pytest.raises(InvalidRequestError, match="retention"):
        after_replacement([("retention.ms", "5"), ("retention.ms", "6")])
    with pytest.raises(InvalidRequestError, match="retention"):
        after_replacement([("retention.ms", None)])


def test_changes_name_what_is_new_and_what_goes() -> None:
    assert changes_between({"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "9", "d": "4"}) == {
        "b": "9",
        "c": None,
        "d": "4",
    }


def test_a_topic_is_checked_over_the_brokers_own_values() -> None:
    check_topic({"retention.ms": "5"}, config())
    with pytest.raises(InvalidConfigError, match=r"max\.compaction\.lag\.ms"):
        check_topic({"max.compaction.lag.ms": "10"}, config("log.cleaner.min.compaction.lag.ms=20"))


@pytest.mark.parametrize("name", ["", "1"])
def test_all_brokers_and_this_one_can_be_named(name: str) -> None:
    check_broker_name(name, 1)


@pytest.mark.parametrize("name", ["2", "-1", "one", "01x", "1 "])
def test_another_broker_cannot_be_named(name: str) -> None:
    with pytest.raises(InvalidRequestError):
        check_broker_name(name, 1)


@pytest.mark.parametrize(
    ("configs", "per_broker"),
    [
        ({"log.retention.ms": "5", "max.connections": "100", "message.max.bytes": "9"}, False),
        ({"log.retention.ms": "5", "max.connections.per.ip.overrides": "127.0.0.1:5"}, True),
        ({"num.io.threads": "16"}, False),
        ({"num.io.threads": "4"}, True),
        ({"listener.name.plaintext.max.connections": "7"}, False),
        ({"leader.replication.throttled.rate": "1000"}, True),
        ({}, True),
    ],
)
def test_what_kafka_changes_at_run_time_can_be_changed(configs: Mapping[str, str], per_broker: bool) -> None:
    check_broker(configs, config(), per_broker=per_broker)


@pytest.mark.parametrize(
    ("configs", "why"),
    [
        ({"num.partitions": "3"}, "only read when a broker starts"),
        ({"log.retention.hours": "3"}, "only read when a broker starts"),
        ({"log.retention.ns": "3"}, "did you mean log.retention.ms"),
        ({"log.retention.ms": "soon"}, "'soon' is not a long"),
        ({"log.retention.ms": "0"}, "log.retention.ms: must be -1"),
        ({"max.connections.per.ip.overrides": "x"}, "host:connections"),
        ({"max.connections.per.ip": "0"}, "max.connections.per.ip: 0 lets in only"),
        ({"listeners": "PLAINTEXT://:1"}, "when it starts"),
        ({"ssl.keystore.location": "/x"}, "no TLS"),
        ({"listener.name.plaintext.ssl.keystore.location": "/x"}, "no TLS"),
        ({"num.io.threads": "17"}, "17 is less than half of 8, or more than twice"),
        ({"num.io.threads": "3"}, "3 is less than half of 8"),
        ({"log.cleaner.threads": "0"}, "log.cleaner.threads: must be 1 or more"),
    ],
)
def test_what_cannot_be_changed_is_refused_by_name(configs: Mapping[str, str], why: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        check_broker(configs, config(), per_broker=True)
    assert why in str(caught.value)
    assert next(iter(configs)) in str(caught.value)


def test_what_each_broker_has_of_its_own_cannot_be_set_for_all() -> None:
    with pytest.raises(InvalidRequestError, match="for each broker"):
        check_broker({"principal.builder.class": "x.Y"}, config(), per_broker=False)
    check_broker({"principal.builder.class": "x.Y"}, config(), per_broker=True)


def test_threads_are_counted_from_what_is_in_effect() -> None:
    changed = config().with_dynamic({"num.io.threads": "16"}, {})
    check_broker({"num.io.threads": "32"}, changed, per_broker=False)
    with pytest.raises(InvalidRequestError):
        check_broker({"num.io.threads": "7"}, changed, per_broker=False)


def test_broker_keys_are_found_with_a_listeners_prefix() -> None:
    key = find_broker_key("listener.name.plaintext.max.connections")
    assert key is not None
    assert key.name == "max.connections"
    assert find_broker_key("listener.name.plaintext.nothing") is None


def test_stored_values_that_cannot_take_effect_are_left_out() -> None:
    stored = {
        "log.retention.ms": "5",
        "max.connections": "many",
        "num.partitions": "3",
        "kafkas.newest.key": "x",
        "principal.builder.class": "x.Y",
        "listener.name.sasl_ssl.ssl.keystore.password": "secret",
    }
    assert usable_dynamic(stored, per_broker=False) == {"log.retention.ms": "5"}
    assert set(usable_dynamic(stored, per_broker=True)) == {"log.retention.ms", "principal.builder.class"}


def test_what_is_in_effect_is_the_file_under_the_stored_changes() -> None:
    image = ClusterImage(
        configs={
            (BROKER_RESOURCE, ""): {"max.connections": "20", "log.retention.ms": "7"},
            (BROKER_RESOURCE, "1"): {"max.connections": "30"},
            (BROKER_RESOURCE, "2"): {"max.connections": "40"},
        }
    )
    effective = effective_config(config("max.connections=10"), image, 1)
    assert effective.max_connections == 30
    assert effective.topic_defaults["retention.ms"] == 7


def test_stored_changes_that_contradict_the_file_do_not_stop_a_start() -> None:
    image = ClusterImage(configs={(BROKER_RESOURCE, ""): {"max.connections.per.ip": "0"}})
    assert effective_config(config(), image, 1).max_connections_per_ip == 5000
