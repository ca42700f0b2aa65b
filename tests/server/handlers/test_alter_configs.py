"""AlterConfigs and IncrementalAlterConfigs against a live broker."""

import pytest

from kstore.protocol.messages.alter_configs import AlterConfigsRequest
from kstore.protocol.messages.describe_configs import DescribeConfigsRequest
from kstore.protocol.messages.incremental_alter_configs import IncrementalAlterConfigsRequest
from tests.fix_broker import batch

NONE, UNKNOWN_TOPIC, TOO_LARGE, INVALID_TOPIC, INVALID_CONFIG, INVALID_REQUEST = 0, 3, 10, 17, 40, 42
TOPIC, BROKER = 2, 4
SET, DELETE, APPEND, SUBTRACT = range(4)


def resource(kind, name, *operations):
    Config = IncrementalAlterConfigsRequest.AlterableConfig
    return IncrementalAlterConfigsRequest.AlterConfigsResource(
        resource_type=kind,
        resource_name=name,
        configs=[Config(name=key, config_operation=op, value=value) for op, key, value in operations],
    )


def change(client, *resources, version=1, **options):
    answer = client.ask(IncrementalAlterConfigsRequest(resources=list(resources), **options), version)
    return [result.error_code for result in answer.responses]


def change_one(client, kind, name, *operations, **options):
    (code,) = change(client, resource(kind, name, *operations), **options)
    return code


def replace(client, kind, name, configs, *, version=2, **options):
    wanted = AlterConfigsRequest.AlterConfigsResource(
        resource_type=kind,
        resource_name=name,
        configs=[AlterConfigsRequest.AlterableConfig(name=key, value=value) for key, value in configs.items()],
    )
    (result,) = client.ask(AlterConfigsRequest(resources=[wanted], **options), version).responses
    assert (result.resource_type, result.resource_name) == (kind, name)
    assert bool(result.error_message) == bool(result.error_code)
    return result.error_code


def own_values(client, kind, name):
    """What was set on the resource itself."""
    wanted = DescribeConfigsRequest.DescribeConfigsResource(
        resource_type=kind, resource_name=name, configuration_keys=None
    )
    (result,) = client.ask(DescribeConfigsRequest(resources=[wanted]), 4).results
    return {each.name: each.value for each in result.configs if each.config_source in (1, 2, 3)}


@pytest.mark.parametrize("version", range(2))
def test_single_keys_are_set_and_deleted(client, version):
    topic = f"single.{version}"
    client.create_topic(topic, retention_ms="1", segment_ms="2")
    code = change_one(client, TOPIC, topic, (SET, "retention.ms", "10"), (DELETE, "segment.ms", None), version=version)
    assert code == NONE
    assert own_values(client, TOPIC, topic) == {"retention.ms": "10"}


@pytest.mark.parametrize("version", range(3))
def test_a_replacement_takes_away_what_it_does_not_name(client, version):
    topic = f"replaced.{version}"
    client.create_topic(topic, retention_ms="1", segment_ms="2")
    assert replace(client, TOPIC, topic, {"segment.ms": "3"}, version=version) == NONE
    assert own_values(client, TOPIC, topic) == {"segment.ms": "3"}
    assert replace(client, TOPIC, topic, {}, version=version) == NONE
    assert own_values(client, TOPIC, topic) == {}


def test_lists_are_added_to_and_taken_from(client):
    client.create_topic("lists")
    assert change_one(client, TOPIC, "lists", (APPEND, "cleanup.policy", "compact")) == NONE
    # The default counts as what was there.
    assert own_values(client, TOPIC, "lists") == {"cleanup.policy": "delete,compact"}
    assert change_one(client, TOPIC, "lists", (SUBTRACT, "cleanup.policy", "delete")) == NONE
    assert own_values(client, TOPIC, "lists") == {"cleanup.policy": "compact"}


@pytest.mark.parametrize("operation", [APPEND, SUBTRACT])
def test_what_is_no_list_is_not_added_to(client, operation):
    topic = f"no.list.{operation}"
    client.create_topic(topic)
    assert change_one(client, TOPIC, topic, (operation, "retention.ms", "1")) == INVALID_CONFIG


@pytest.mark.parametrize(
    ("operations", "code"),
    [
        ([(SET, "retention.ms", "soon")], INVALID_CONFIG),
        ([(SET, "retention.ms", "-2")], INVALID_CONFIG),
        ([(SET, "no.such.key", "1")], INVALID_CONFIG),
        ([(SET, "log.retention.ms", "1")], INVALID_CONFIG),
        ([(SET, "retention.ms", None)], INVALID_REQUEST),
        ([(4, "retention.ms", "1")], INVALID_REQUEST),
        ([(-1, "retention.ms", "1")], INVALID_REQUEST),
        ([(SET, "retention.ms", "1"), (DELETE, "retention.ms", None)], INVALID_REQUEST),
        ([(SET, "segment.ms", "9"), (SET, "retention.ms", "soon")], INVALID_CONFIG),
        ([(SET, "min.compaction.lag.ms", "9"), (SET, "max.compaction.lag.ms", "8")], INVALID_CONFIG),
    ],
)
def test_one_bad_key_refuses_the_resource(client, operations, code):
    topic = f"bad.{abs(hash(str(operations)))}"
    client.create_topic(topic, retention_ms="5")
    assert change_one(client, TOPIC, topic, *operations) == code
    assert own_values(client, TOPIC, topic) == {"retention.ms": "5"}


def test_one_bad_resource_leaves_the_others(client):
    client.create_topic("good.1")
    client.create_topic("good.2")
    codes = change(
        client,
        resource(TOPIC, "good.1", (SET, "retention.ms", "1")),
        resource(TOPIC, "nobody", (SET, "retention.ms", "1")),
        resource(TOPIC, "a/b", (SET, "retention.ms", "1")),
        resource(TOPIC, "", (SET, "retention.ms", "1")),
        resource(8, "1", (SET, "kafka", "INFO")),
        resource(0, "x", (SET, "retention.ms", "1")),
        resource(TOPIC, "good.2", (SET, "retention.ms", "2")),
    )
    refused = [UNKNOWN_TOPIC, INVALID_TOPIC, INVALID_REQUEST, INVALID_REQUEST, INVALID_REQUEST]
    assert codes == [NONE, *refused, NONE]
    assert own_values(client, TOPIC, "good.1") == {"retention.ms": "1"}
    assert own_values(client, TOPIC, "good.2") == {"retention.ms": "2"}


def test_a_resource_that_is_named_twice_is_refused_twice(client):
    client.create_topic("named.twice")
    wish = resource(TOPIC, "named.twice", (SET, "retention.ms", "1"))
    assert change(client, wish, wish) == [INVALID_REQUEST, INVALID_REQUEST]
    assert own_values(client, TOPIC, "named.twice") == {}


def test_validating_changes_nothing(client):
    client.create_topic("only.asked")
    change_it = (SET, "retention.ms", "1")
    assert change_one(client, TOPIC, "only.asked", change_it, validate_only=True) == NONE
    assert change_one(client, TOPIC, "only.asked", (SET, "retention.ms", "x"), validate_only=True) == INVALID_CONFIG
    assert replace(client, TOPIC, "only.asked", {"retention.ms": "1"}, validate_only=True) == NONE
    assert own_values(client, TOPIC, "only.asked") == {}


def test_a_changed_topic_is_changed_at_once(client):
    client.create_topic("at.once")
    assert client.produce("at.once", batch(b"x" * 500)).error_code == NONE
    change_one(client, TOPIC, "at.once", (SET, "max.message.bytes", "300"))
    assert client.produce("at.once", batch(b"x" * 500)).error_code == TOO_LARGE
    change_one(client, TOPIC, "at.once", (DELETE, "max.message.bytes", None))
    assert client.produce("at.once", batch(b"x" * 500)).error_code == NONE


def test_a_topic_follows_the_brokers_unless_it_has_its_own_value(start_broker):
    client = start_broker().connect()
    client.create_topic("follows")
    client.create_topic("has.its.own", max_message_bytes="10000")
    assert change_one(client, BROKER, "", (SET, "message.max.bytes", "300")) == NONE
    assert client.produce("follows", batch(b"x" * 500)).error_code == TOO_LARGE
    assert client.produce("has.its.own", batch(b"x" * 500)).error_code == NONE
    client.create_topic("made.later")
    assert client.produce("made.later", batch(b"x" * 500)).error_code == TOO_LARGE
    assert change_one(client, BROKER, "", (DELETE, "message.max.bytes", None)) == NONE
    assert client.produce("follows", batch(b"x" * 500)).error_code == NONE


def test_a_brokers_own_value_wins_over_that_of_all(start_broker):
    broker = start_broker()
    client = broker.connect()
    own = str(broker.app.context.node_id)
    client.create_topic("t")
    change_one(client, BROKER, "", (SET, "message.max.bytes", "300"))
    assert change_one(client, BROKER, own, (SET, "message.max.bytes", "5000")) == NONE
    assert client.produce("t", batch(b"x" * 500)).error_code == NONE
    change_one(client, BROKER, own, (DELETE, "message.max.bytes", None))
    assert client.produce("t", batch(b"x" * 500)).error_code == TOO_LARGE


def test_brokers_are_still_changed_after_a_restart(start_broker):
    first = start_broker()
    client = first.connect()
    client.create_topic("t")
    change_one(client, BROKER, "", (SET, "message.max.bytes", "300"))
    first.stop()
    second = start_broker()
    client = second.connect()
    assert client.produce("t", batch(b"x" * 500)).error_code == TOO_LARGE
    assert own_values(client, BROKER, "") == {"message.max.bytes": "300"}


def test_the_number_of_connections_is_changed_at_once(start_broker):
    broker = start_broker()
    client = broker.connect()
    assert change_one(client, BROKER, "", (SET, "max.connections.per.ip", "1")) == NONE
    with broker.connect() as second:
        assert second.is_closed_by_the_broker()
    assert change_one(client, BROKER, "", (SET, "max.connections.per.ip", "2")) == NONE
    with broker.connect() as third:
        third.create_topic("served")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num.partitions", "3"),
        ("no.such.key", "1"),
        ("log.retention.ms", "soon"),
        ("log.retention.ms", "0"),
        ("listeners", "PLAINTEXT://:1"),
        ("num.io.threads", "1000"),
        ("ssl.keystore.location", "/x"),
        ("retention.ms", "1"),
    ],
)
def test_a_broker_refuses_what_it_cannot_change(start_broker, key, value):
    broker = start_broker()
    client = broker.connect()
    own = str(broker.app.context.node_id)
    assert change_one(client, BROKER, own, (SET, key, value)) == INVALID_REQUEST
    assert replace(client, BROKER, own, {key: value}) == INVALID_REQUEST
    assert own_values(client, BROKER, own) == {}


@pytest.mark.parametrize("name", ["4711", "one", "-1", "\u0661"])
def test_another_brokers_configuration_is_not_ours_to_change(client, name):
    assert change_one(client, BROKER, name, (SET, "log.retention.ms", "1")) == INVALID_REQUEST


def test_a_replacement_of_a_brokers_configuration_takes_away_what_it_does_not_name(start_broker):
    broker = start_broker()
    client = broker.connect()
    own = str(broker.app.context.node_id)
    change_one(client, BROKER, own, (SET, "log.retention.ms", "1"), (SET, "message.max.bytes", "300"))
    assert replace(client, BROKER, own, {"message.max.bytes": "400"}) == NONE
    assert own_values(client, BROKER, own) == {"message.max.bytes": "400"}


def test_one_answer_tells_why(client):
    Config = IncrementalAlterConfigsRequest.AlterableConfig
    wish = IncrementalAlterConfigsRequest.AlterConfigsResource(
        resource_type=TOPIC, resource_name="nobody", configs=[Config(name="retention.ms", value="1")]
    )
    (result,) = client.ask(IncrementalAlterConfigsRequest(resources=[wish]), 1).responses
    assert "nobody" in result.error_message
