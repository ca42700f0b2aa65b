"""DescribeConfigs against a live broker."""

import pytest

from kstore.log.topic_keys import TOPIC_KEYS
from kstore.protocol.messages.describe_configs import DescribeConfigsRequest
from kstore.protocol.messages.incremental_alter_configs import IncrementalAlterConfigsRequest

NONE, UNKNOWN_TOPIC, INVALID_TOPIC, INVALID_REQUEST = 0, 3, 17, 42
TOPIC, BROKER, BROKER_LOGGER = 2, 4, 8
OF_TOPIC, OF_BROKER, OF_ALL_BROKERS, OF_FILE, BY_DEFAULT = 1, 2, 3, 4, 5


def describe(client, kind, name, *, keys=None, version=4, **options):
    resource = DescribeConfigsRequest.DescribeConfigsResource(
        resource_type=kind, resource_name=name, configuration_keys=keys
    )
    (result,) = client.ask(DescribeConfigsRequest(resources=[resource], **options), version).results
    assert (result.resource_type, result.resource_name) == (kind, name)
    return result


def entries(client, kind, name, **options):
    result = describe(client, kind, name, **options)
    assert result.error_code == NONE, result.error_message
    return {config.name: config for config in result.configs}


def set_broker(client, name, **values):
    Config = IncrementalAlterConfigsRequest.AlterableConfig
    resource = IncrementalAlterConfigsRequest.AlterConfigsResource(
        resource_type=BROKER,
        resource_name=name,
        configs=[Config(name=key.replace("_", "."), config_operation=0, value=value) for key, value in values.items()],
    )
    (result,) = client.ask(IncrementalAlterConfigsRequest(resources=[resource]), 1).responses
    assert result.error_code == NONE, result.error_message


@pytest.mark.parametrize("version", range(5))
def test_a_topic_has_every_key_in_every_version(client, version):
    name = f"described.{version}"
    client.create_topic(name, retention_ms="99")
    configs = entries(client, TOPIC, name, version=version)
    assert list(configs) == sorted(TOPIC_KEYS)
    assert (configs["retention.ms"].value, configs["segment.bytes"].value) == ("99", "1073741824")
    if version == 0:
        assert (configs["retention.ms"].is_default, configs["segment.bytes"].is_default) == (False, True)
    else:
        assert (configs["retention.ms"].config_source, configs["segment.bytes"].config_source) == (OF_TOPIC, BY_DEFAULT)
    if version >= 3:
        assert (configs["retention.ms"].config_type, configs["preallocate"].config_type) == (5, 1)
        assert configs["retention.ms"].documentation is None


@pytest.mark.parametrize("keys", [["retention.ms"], ["retention.ms", "no.such.key"]])
def test_keys_may_be_chosen(client, keys):
    client.create_topic(f"chosen.{len(keys)}")
    assert list(entries(client, TOPIC, f"chosen.{len(keys)}", keys=keys)) == ["retention.ms"]


def test_no_keys_are_all_keys(client):
    client.create_topic("all.keys")
    assert len(entries(client, TOPIC, "all.keys", keys=[])) == len(TOPIC_KEYS)


def test_synonyms_are_told_to_who_asks(start_broker):
    broker = start_broker(overrides={"log.retention.hours": "2"})
    client = broker.connect()
    client.create_topic("many.sources", retention_ms="7")
    set_broker(client, "", log_retention_ms="8")
    set_broker(client, str(broker.app.context.node_id), log_retention_ms="9")
    assert entries(client, TOPIC, "many.sources")["retention.ms"].synonyms == []
    described = entries(client, TOPIC, "many.sources", include_synonyms=True)["retention.ms"]
    assert [(each.name, each.value, each.source) for each in described.synonyms] == [
        ("retention.ms", "7", OF_TOPIC),
        ("log.retention.ms", "9", OF_BROKER),
        ("log.retention.ms", "8", OF_ALL_BROKERS),
        ("log.retention.hours", "2", OF_FILE),
        ("log.retention.hours", "168", BY_DEFAULT),
    ]


def test_documentation_is_told_to_who_asks(client):
    client.create_topic("documented")
    described = entries(client, TOPIC, "documented", include_documentation=True)
    assert "CreateTime" in described["message.timestamp.type"].documentation
    assert "no effect" in described["remote.storage.enable"].documentation


def test_a_broker_has_its_keys_with_their_sources(start_broker):
    broker = start_broker(overrides={"num.partitions": "3"})
    client = broker.connect()
    configs = entries(client, BROKER, str(broker.app.context.node_id))
    assert (configs["num.partitions"].value, configs["num.partitions"].config_source) == ("3", OF_FILE)
    assert configs["num.partitions"].read_only
    assert not configs["log.retention.ms"].read_only
    assert configs["log.dirs"].value == broker.config.log_dirs[0]


def test_the_common_configuration_of_brokers_is_what_was_set(start_broker):
    client = start_broker().connect()
    assert entries(client, BROKER, "") == {}
    set_broker(client, "", log_retention_ms="123")
    configs = entries(client, BROKER, "")
    assert [(each.name, each.value, each.config_source) for each in configs.values()] == [
        ("log.retention.ms", "123", OF_ALL_BROKERS)
    ]


@pytest.mark.parametrize(
    ("kind", "name", "code"),
    [
        (TOPIC, "nobody", UNKNOWN_TOPIC),
        (TOPIC, "not/legal", INVALID_TOPIC),
        (TOPIC, "", INVALID_TOPIC),
        (BROKER, "4711", INVALID_REQUEST),
        (BROKER, "one", INVALID_REQUEST),
        (BROKER, "-1", INVALID_REQUEST),
        (BROKER_LOGGER, "1", INVALID_REQUEST),
        (0, "x", INVALID_REQUEST),
        (16, "x", INVALID_REQUEST),
        (-128, "x", INVALID_REQUEST),
    ],
)
def test_what_is_not_there_is_refused_with_a_reason(client, kind, name, code):
    result = describe(client, kind, name)
    assert (result.error_code, result.configs) == (code, [])
    assert result.error_message


def test_one_bad_resource_leaves_the_others(client):
    client.create_topic("good")
    Resource = DescribeConfigsRequest.DescribeConfigsResource
    resources = [
        Resource(resource_type=TOPIC, resource_name="nobody", configuration_keys=None),
        Resource(resource_type=TOPIC, resource_name="good", configuration_keys=["retention.ms"]),
    ]
    results = client.ask(DescribeConfigsRequest(resources=resources), 4).results
    assert [(result.error_code, len(result.configs)) for result in results] == [(UNKNOWN_TOPIC, 0), (NONE, 1)]


def test_a_resource_that_is_asked_for_often_is_described_once(client):
    client.create_topic("often")
    often = DescribeConfigsRequest.DescribeConfigsResource(
        resource_type=TOPIC, resource_name="often", configuration_keys=None
    )
    (result,) = client.ask(DescribeConfigsRequest(resources=[often] * 1000), 4).results
    assert (result.error_code, result.resource_name) == (NONE, "often")
