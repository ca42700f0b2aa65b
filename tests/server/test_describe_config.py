"""Values, sources and synonyms are those that Kafka's own tool shows for the same configuration."""

from pathlib import Path

import pytest

from kstore.server.config import ServerConfig
from kstore.server.config_keys import OWN_DEFAULTS
from kstore.server.describe_config import (
    DEFAULT_CONFIG,
    DYNAMIC_BROKER_CONFIG,
    DYNAMIC_DEFAULT_BROKER_CONFIG,
    DYNAMIC_TOPIC_CONFIG,
    STATIC_BROKER_CONFIG,
    ConfigEntry,
    Synonym,
    describe_broker,
    describe_cluster_default,
    describe_topic,
)
from tests.fix_kafka import StartKafka
from tests.judge.java import wait_until
from tests.judge.tools import KafkaTools

SOURCES = {
    DYNAMIC_TOPIC_CONFIG: "DYNAMIC_TOPIC_CONFIG",
    DYNAMIC_BROKER_CONFIG: "DYNAMIC_BROKER_CONFIG",
    DYNAMIC_DEFAULT_BROKER_CONFIG: "DYNAMIC_DEFAULT_BROKER_CONFIG",
    STATIC_BROKER_CONFIG: "STATIC_BROKER_CONFIG",
    DEFAULT_CONFIG: "DEFAULT_CONFIG",
}


def by_name(entries: list[ConfigEntry]) -> dict[str, ConfigEntry]:
    return {entry.name: entry for entry in entries}


def topic(name: str, own: str | None, *overrides: str, **dynamic: dict[str, str]) -> ConfigEntry:
    config = ServerConfig.from_arguments("/data", 9092, overrides)
    config = config.with_dynamic(dynamic.get("cluster", {}), dynamic.get("broker", {}))
    return by_name(describe_topic({} if own is None else {name: own}, config))[name]


def test_a_topics_value_comes_from_the_first_of_its_places() -> None:
    places = [
        Synonym("retention.bytes", "5", DYNAMIC_TOPIC_CONFIG),
        Synonym("log.retention.bytes", "4", DYNAMIC_BROKER_CONFIG),
        Synonym("log.retention.bytes", "3", DYNAMIC_DEFAULT_BROKER_CONFIG),
        Synonym("log.retention.bytes", "2", STATIC_BROKER_CONFIG),
        Synonym("log.retention.bytes", "-1", DEFAULT_CONFIG),
    ]
    broker, cluster = {"log.retention.bytes": "4"}, {"log.retention.bytes": "3"}
    static = "log.retention.bytes=2"
    for number, entry in enumerate(
        (
            topic("retention.bytes", "5", static, broker=broker, cluster=cluster),
            topic("retention.bytes", None, static, broker=broker, cluster=cluster),
            topic("retention.bytes", None, static, cluster=cluster),
            topic("retention.bytes", None, static),
            topic("retention.bytes", None),
        )
    ):
        assert entry.value == places[number].value
        assert entry.source == places[number].source
        assert entry.synonyms[0] == places[number]
        assert entry.is_default == (entry.source == DEFAULT_CONFIG)
    assert topic("retention.bytes", "5", static, broker=broker, cluster=cluster).synonyms == tuple(places)


def test_a_value_from_a_key_in_hours_has_no_place_to_show() -> None:
    entry = topic("retention.ms", None, "log.retention.hours=1")
    assert (entry.value, entry.source, entry.synonyms) == ("3600000", DEFAULT_CONFIG, ())


def test_names_choose_what_is_described_and_none_means_all() -> None:
    config = ServerConfig.from_arguments("/data", 9092)
    assert [entry.name for entry in describe_topic({}, config, ["flush.ms", "nothing"])] == ["flush.ms"]
    assert len(describe_topic({}, config, None)) == len(describe_topic({}, config, [])) == 36
    assert [entry.name for entry in describe_broker(config, ["listeners"])] == ["listeners"]


def test_secrets_are_hidden_wherever_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "server.properties"
    path.write_text("password.encoder.secret=abc\nmetric.reporters=x.Y\nreporter.token=def\n")
    described = by_name(describe_broker(ServerConfig.from_file(str(path))))
    for name in ("password.encoder.secret", "reporter.token"):
        entry = described[name]
        assert entry.is_sensitive
        assert entry.value is None
        assert entry.synonyms == (Synonym(name, None, STATIC_BROKER_CONFIG),)


def test_a_key_that_only_a_start_reads_is_read_only() -> None:
    described = by_name(describe_broker(ServerConfig.from_arguments("/data", 9092)))
    assert described["num.partitions"].read_only
    assert not described["log.retention.ms"].read_only
    assert not topic("retention.ms", None).read_only


def test_internal_keys_are_shown_only_when_they_are_set() -> None:
    name = "producer.id.expiration.check.interval.ms"
    assert name not in by_name(describe_broker(ServerConfig.from_arguments("/data", 9092)))
    assert name in by_name(describe_broker(ServerConfig.from_arguments("/data", 9092, [f"{name}=5"])))


def test_the_brokers_common_configuration_is_what_was_set_there() -> None:
    config = ServerConfig.from_arguments("/data", 9092).with_dynamic({"log.retention.bytes": "7"}, {})
    assert describe_cluster_default(config) == [
        ConfigEntry(
            "log.retention.bytes",
            "7",
            DYNAMIC_DEFAULT_BROKER_CONFIG,
            read_only=False,
            is_sensitive=False,
            type_id=5,
            synonyms=(Synonym("log.retention.bytes", "7", DYNAMIC_DEFAULT_BROKER_CONFIG),),
        )
    ]


def as_shown(entry: ConfigEntry) -> str:
    """The line that ConfigCommand prints."""
    synonyms = ", ".join(
        f"{SOURCES[synonym.source]}:{synonym.name}={'null' if synonym.value is None else synonym.value}"
        for synonym in entry.synonyms
    )
    value = "null" if entry.value is None else entry.value
    return f"{entry.name}={value} sensitive={str(entry.is_sensitive).lower()} synonyms={{{synonyms}}}"


def lines(printed: str) -> dict[str, str]:
    found = [line.strip() for line in printed.splitlines() if line.startswith("  ")]
    return {line.partition("=")[0]: line for line in found}


@pytest.mark.kafka
def test_kafkas_tool_shows_the_same_of_a_broker_and_a_topic(start_kafka: StartKafka, tools_39: KafkaTools) -> None:
    overrides = {"log.retention.minutes": "600", "log.segment.bytes": "5000000", "message.max.bytes": " 2000000"}
    broker = start_kafka("3.9.1", overrides=overrides)
    own = {"retention.ms": "5000", "cleanup.policy": "compact,delete"}
    cluster = {"log.retention.bytes": "7000", "max.connections": "300"}
    this = {"max.connections": "200", "log.index.interval.bytes": "5000"}
    tools_39.topics(broker.bootstrap, "--create", "--topic", "one", *(f"--config={key}={own[key]}" for key in own))

    def alter(configs: dict[str, str], *entity: str) -> None:
        added = ",".join(f"{key}={value}" for key, value in configs.items())
        tools_39.configs(broker.bootstrap, "--alter", "--entity-type", "brokers", *entity, "--add-config", added)

    def described(*entity: str) -> dict[str, str]:
        return lines(tools_39.configs(broker.bootstrap, "--describe", "--entity-type", *entity))

    alter(cluster, "--entity-default")
    alter(this, "--entity-name", "1")
    config = ServerConfig.from_file(str(broker.properties_file)).with_dynamic(cluster, this)
    everything = ("--all", "--entity-name", "1")
    wait_until(  # a broker takes a change up when it reads its own metadata log
        lambda: "=200 " in described("brokers", *everything)["max.connections"],
        timeout=30,
        what="the broker's configuration changes",
    )

    mine = {entry.name: as_shown(entry) for entry in describe_topic(own, config)}
    assert mine == described("topics", "--all", "--entity-name", "one")
    mine = {entry.name: as_shown(entry) for entry in describe_cluster_default(config)}
    assert mine == described("brokers", "--entity-default")

    theirs = described("brokers", *everything)
    mine = {entry.name: as_shown(entry) for entry in describe_broker(config)}
    assert theirs.keys() <= mine.keys()
    for name, line in theirs.items():
        if name not in OWN_DEFAULTS:
            assert mine[name] == line
