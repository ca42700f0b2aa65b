"""A configuration starts a broker or stops the start, and says why."""

import sys
from pathlib import Path

import pytest

from kstore.errors import ConfigError
from kstore.server.config import ServerConfig
from kstore.server.endpoints import Endpoint

# What the two Kafkas ship as config/kraft/server.properties and config/server.properties.
STOCK_39 = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@localhost:9093
listeners=PLAINTEXT://:9092,CONTROLLER://:9093
inter.broker.listener.name=PLAINTEXT
advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
num.network.threads=3
num.io.threads=8
socket.send.buffer.bytes=102400
socket.receive.buffer.bytes=102400
socket.request.max.bytes=104857600
log.dirs=/tmp/kraft-combined-logs
num.partitions=1
num.recovery.threads.per.data.dir=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.retention.hours=168
log.segment.bytes=1073741824
log.retention.check.interval.ms=300000
"""
STOCK_43 = STOCK_39.replace("controller.quorum.voters=1@", "controller.quorum.bootstrap.servers=") + (
    "share.coordinator.state.topic.replication.factor=1\nshare.coordinator.state.topic.min.isr=1\n"
)


def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "server.properties"
    path.write_text(text, encoding="latin-1")
    return str(path)


def faults(tmp_path: Path, text: str, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        ServerConfig.from_file(write(tmp_path, text), overrides)
    return [line.removeprefix(f"{tmp_path}/") for line in str(caught.value).splitlines()]


@pytest.mark.parametrize("text", [STOCK_39, STOCK_43])
def test_stock_kraft_configuration_starts_and_its_controller_is_not_bound(tmp_path: Path, text: str) -> None:
    config = ServerConfig.from_file(write(tmp_path, text))
    assert config.listeners == (Endpoint("PLAINTEXT", "", 9092),)
    assert config.advertised_listeners == (Endpoint("PLAINTEXT", "localhost", 9092),)
    assert config.node_id == 1
    assert config.log_dirs == ("/tmp/kraft-combined-logs",)
    assert "listener CONTROLLER://:9093 is not bound: this broker is its own controller" in config.notes


def test_a_key_without_effect_is_named_once_with_the_reason(tmp_path: Path) -> None:
    notes = ServerConfig.from_file(write(tmp_path, STOCK_39 + "num.io.threads=4\n")).notes
    about = [note for note in notes if note.startswith("num.io.threads")]
    assert about == ["num.io.threads has no effect: one event loop does the work of these threads and queues"]
    assert not any(note.startswith("num.partitions") for note in notes)


def test_without_a_file_every_replication_factor_is_one() -> None:
    config = ServerConfig.from_arguments("/data", 19092)
    assert str(config.listeners[0]) == "PLAINTEXT://127.0.0.1:19092"
    assert config.advertised_listeners == config.listeners
    assert (config.log_dirs, config.metadata_dir, config.node_id) == (("/data",), "/data", -1)
    for name in ("default", "offsets.topic", "transaction.state.log", "share.coordinator.state.topic"):
        assert config.value(f"{name}.replication.factor") == 1
    assert config.notes == []


def test_with_a_file_the_factors_are_kafkas(tmp_path: Path) -> None:
    config = ServerConfig.from_file(write(tmp_path, ""))
    assert config.value("offsets.topic.replication.factor") == 3


def test_overrides_win_over_the_file(tmp_path: Path) -> None:
    config = ServerConfig.from_file(write(tmp_path, "num.partitions=2\n"), ["num.partitions=3", "log.dirs=/a,/b,/a"])
    assert config.num_partitions == 3
    assert config.log_dirs == ("/a", "/b")


def test_the_last_of_two_equal_keys_wins(tmp_path: Path) -> None:
    assert ServerConfig.from_file(write(tmp_path, "num.partitions=2\nnum.partitions : 5")).num_partitions == 5


def test_faults_name_file_line_key_and_what_would_be_right(tmp_path: Path) -> None:
    text = "# first\nlog.retention.horus=5\nlisteners=PLAINTEXT://:1,\\\n  EXTRA://:2\n\nnum.partitions=0\n"
    unknown = "log.retention.horus: no Kafka knows this key; did you mean log.retention.hours?"
    assert faults(tmp_path, text) == [
        f"server.properties:2: {unknown}",
        "server.properties:6: num.partitions: '0' is not an int, 1 or more",
    ]


def test_faults_of_overrides_say_so(tmp_path: Path) -> None:
    assert faults(tmp_path, "", "num.partitions=x") == ["--override: num.partitions: 'x' is not an int, 1 or more"]
    with pytest.raises(ConfigError, match="key=value"):
        ServerConfig.from_arguments("/data", 1, ["num.partitions"])


def test_a_file_that_is_not_there_or_not_readable_as_properties_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.properties: cannot be read: No such file"):
        ServerConfig.from_file(str(tmp_path / "nowhere.properties"))
    assert faults(tmp_path, "a=b\nc=\\u12x4\n")[0].startswith("server.properties:2: ")


@pytest.mark.parametrize(
    "line",
    [
        "ssl.keystore.location=/k",
        "ssl.client.auth=none",
        "sasl.enabled.mechanisms=PLAIN",
        "listener.name.plaintext.sasl.enabled.mechanisms=PLAIN",
        "listener.name.plaintext.plain.sasl.jaas.config=x",
        "listener.name.plaintext.ssl.client.auth=required",
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "listeners=SSL://:9093",
        "listeners=PLAINTEXT://:9092,SASL_PLAINTEXT://:9093",
        "security.inter.broker.protocol=SASL_SSL",
    ],
)
def test_what_asks_for_more_than_a_plain_broker_stops_the_start(tmp_path: Path, line: str) -> None:
    found = faults(tmp_path, f"\n{line}\n")
    assert len(found) == 1
    assert found[0].startswith(f"server.properties:2: {line.partition('=')[0]}: ")
    assert "kstore" in found[0]


def test_a_named_listener_of_protocol_ssl_stops_the_start(tmp_path: Path) -> None:
    text = "listeners=IN://:9092,OUT://:9093\nlistener.security.protocol.map=IN:PLAINTEXT,OUT:SSL\n"
    message = "OUT://:9093 is SSL; kstore has PLAINTEXT only, until it has TLS and SASL"
    assert faults(tmp_path, text) == [f"server.properties:1: listeners: {message}"]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("process.roles=controller\ncontroller.listener.names=C", "process.roles"),
        ("process.roles=broker", "process.roles"),
        ("node.id=1\ncontroller.quorum.voters=1@a:1,2@b:1,3@c:1", "controller.quorum.voters"),
        ("node.id=1\ncontroller.quorum.voters=2@a:1", "controller.quorum.voters"),
        ("controller.quorum.bootstrap.servers=a:1,b:1", "controller.quorum.bootstrap.servers"),
        ("node.id=1\nbroker.id=2", "broker.id"),
        ("listeners=PLAINTEXT:9092", "listeners"),
        ("listeners=PLAINTEXT://:99999", "listeners"),
        ("listeners=A://:1,A://:2\nlistener.security.protocol.map=A:PLAINTEXT", "listeners"),
        ("listeners=INSIDE://:9092", "listeners"),
        ("listeners=CONTROLLER://:9092\ncontroller.listener.names=CONTROLLER", "listeners"),
        ("listener.security.protocol.map=A:TCP", "listener.security.protocol.map"),
        ("listeners=PLAINTEXT://0.0.0.0:9092", "listeners"),
        ("advertised.listeners=PLAINTEXT://0.0.0.0:9092", "advertised.listeners"),
        ("advertised.listeners=OTHER://here:9092", "advertised.listeners"),
        ("inter.broker.listener.name=OTHER", "inter.broker.listener.name"),
        ("queued.max.request.bytes=1000", "queued.max.request.bytes"),
        ("max.connections.per.ip=0", "max.connections.per.ip"),
        ("max.connections.per.ip.overrides=here", "max.connections.per.ip.overrides"),
        ("log.dirs=,", "log.dirs"),
        ("log.retention.ms=0", "log.retention.ms"),
        ("log.roll.ms=0", "log.roll.ms"),
    ],
)
def test_keys_that_contradict_stop_the_start(tmp_path: Path, text: str, key: str) -> None:
    assert any(f": {key}: " in fault for fault in faults(tmp_path, text))


def test_a_custom_key_needs_a_plugin_and_must_not_look_like_one_of_kafkas(tmp_path: Path) -> None:
    assert "no Kafka knows this key" in faults(tmp_path, "cruise.control.reporter.bootstrap.servers=x")[0]
    plugin = "metric.reporters=com.example.Reporter\n"
    notes = ServerConfig.from_file(write(tmp_path, plugin + "cruise.control.reporter.bootstrap.servers=x")).notes
    assert any(note.startswith("cruise.control.reporter.bootstrap.servers has no effect") for note in notes)
    assert "did you mean num.partitions?" in faults(tmp_path, plugin + "num.partition=3")[0]


def test_a_value_that_a_provider_should_give_stops_the_start(tmp_path: Path) -> None:
    text = "config.providers=file\nconfig.providers.file.class=x.Y\nnum.partitions=${file:/secrets:count}\n"
    message = "num.partitions: kstore asks no config providers; write the value itself"
    assert faults(tmp_path, text) == [f"server.properties:3: {message}"]


def test_keys_of_kafkas_own_plugins_are_known(tmp_path: Path) -> None:
    notes = ServerConfig.from_file(write(tmp_path, "super.users=User:me\nrsm.config.dir=/x\n")).notes
    assert [note.partition(" ")[0] for note in notes] == ["super.users", "rsm.config.dir"]


def test_listener_prefix_is_known(tmp_path: Path) -> None:
    text = "listener.name.plaintext.max.connections=7\nlistener.name.plaintext.num.network.threads=2\n"
    config = ServerConfig.from_file(write(tmp_path, text))
    assert config.listener_connection_limits == {"PLAINTEXT": 7}
    assert [note.partition(" ")[0] for note in config.notes] == ["listener.name.plaintext.num.network.threads"]
    assert "did you mean" in faults(tmp_path, "listener.name.plaintext.max.connection=7")[0]


def test_limits_are_finite_by_default_and_the_largest_request_fits() -> None:
    config = ServerConfig.from_arguments("/data", 1)
    assert 0 < config.max_connections < 2**31 - 1
    assert 0 < config.max_connections_per_ip < 2**31 - 1
    assert config.socket_request_max_bytes <= config.queued_max_request_bytes < 2**30
    big = ServerConfig.from_arguments("/data", 1, ["socket.request.max.bytes=500000000"])
    assert big.queued_max_request_bytes == 500_000_000
    assert ServerConfig.from_arguments("/data", 1, ["queued.max.request.bytes=-1"]).queued_max_request_bytes == -1


def test_ip_overrides_are_read() -> None:
    config = ServerConfig.from_arguments("/d", 1, ["max.connections.per.ip.overrides=host:3,127.0.0.1:5"])
    assert config.ip_connection_limits == {"host": 3, "127.0.0.1": 5}


def test_topic_defaults_come_from_the_brokers_keys() -> None:
    defaults = ServerConfig.from_arguments("/d", 1, ["log.retention.minutes=3", "log.segment.bytes=14"]).topic_defaults
    assert defaults["retention.ms"] == 180_000
    assert defaults["segment.bytes"] == 14
    assert defaults["max.message.bytes"] == 1_048_588


def test_dynamic_values_win_the_brokers_own_before_the_clusters() -> None:
    config = ServerConfig.from_arguments("/d", 1, ["max.connections=10"])
    changed = config.with_dynamic({"max.connections": "20", "log.retention.ms": "7"}, {"max.connections": "30"})
    assert (config.max_connections, changed.max_connections) == (10, 30)
    assert changed.topic_defaults["retention.ms"] == 7
    assert changed.with_dynamic({}, {}).max_connections == 10


def test_empty_host_is_advertised_by_the_machines_name() -> None:
    config = ServerConfig.from_arguments("/d", 1, ["listeners=PLAINTEXT://:9092"])
    assert config.listeners[0].host == ""
    assert config.advertised_listeners[0].host


def test_ipv6_addresses_are_read_and_written() -> None:
    config = ServerConfig.from_arguments("/d", 1, host="::1")
    assert config.listeners == (Endpoint("PLAINTEXT", "::1", 1),)
    assert str(config.listeners[0]) == "PLAINTEXT://[::1]:1"


def test_reading_a_file_leaves_the_properties_package_whole(tmp_path: Path) -> None:
    ServerConfig.from_file(write(tmp_path, ""))
    sys.modules.pop("javaproperties", None)
    import javaproperties

    assert javaproperties.loads("a=1") == {"a": "1"}


def test_what_matters_to_a_cluster_only_has_an_effect_there(tmp_path: Path) -> None:
    alone = ServerConfig.from_file(write(tmp_path, STOCK_39 + "auto.leader.rebalance.enable=false\n"))
    assert any(note.startswith("auto.leader.rebalance.enable has no effect") for note in alone.notes)
    member = ["zookeeper.connect=localhost:2181", "inter.broker.protocol.version=3.9", "broker.id=1"]
    joined = ServerConfig.from_arguments(str(tmp_path), 9092, [*member, "unclean.leader.election.enable=true"])
    assert not any("inter.broker.protocol.version" in note or "unclean" in note for note in joined.notes)
    assert (joined.controlled_shutdown_enable, joined.controlled_shutdown_retry_backoff_ms) == (True, 5000)
    assert joined.topic_defaults["unclean.leader.election.enable"] is True
