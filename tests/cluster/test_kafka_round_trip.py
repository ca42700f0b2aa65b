"""Kafka starts on what kstore left, and kstore on what Kafka left: the same topics, configurations and records.

"Left" is after an orderly stop and after kill -9, with voters named in the file and with voters found in the log.
"""

import re
from pathlib import Path

import pytest

from kstore.cluster.bootstrap import Controller
from kstore.cluster.image import ClusterImage
from kstore.cluster.metadata_log import MetadataLog
from kstore.log.meta_properties import read_meta_properties
from kstore.protocol.messages.metadata_records import ConfigRecord
from tests.fix_kafka import StartKafka
from tests.fix_kstore import StartKstore
from tests.judge import home
from tests.judge.kafka import KafkaBroker
from tests.judge.kstore import KstoreServer
from tests.judge.process import ServerProcess
from tests.judge.tools import KafkaTools

pytestmark = pytest.mark.kafka

NOW = 1_700_000_000_000

Broker = KafkaBroker | KstoreServer


def leave(broker: ServerProcess, how: str) -> None:
    if how == "stop":
        broker.stop()
    else:
        broker.kill()


def voters_in_the_log(controller_port: int) -> dict[str, str]:
    """Kafka's stock configuration of 4.x: the file names a server to ask, and the log says who votes."""
    return {
        "controller.quorum.voters": "",
        "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller_port}",
    }


def make(tools: KafkaTools, broker: Broker, topic: str, lines: str, *options: object) -> None:
    tools.topics(broker.bootstrap, "--create", "--topic", topic, *options)
    tools.console_producer(broker.bootstrap, topic, lines)


def described(tools: KafkaTools, broker: Broker) -> dict[str, str]:
    """Topic -> id, counts and configuration, and its partitions, as Kafka's tool shows them."""
    printed = tools.topics(broker.bootstrap, "--describe")
    shown = {}
    for block in re.split(r"\n(?=Topic: )", printed.strip()):
        name = block.split()[1]
        head, *partitions = (line.strip() for line in block.splitlines())
        head, _, configs = head.partition("Configs: ")
        # What the broker says of its own is not the topic's: 4.x shows min.insync.replicas there.
        own = sorted(part for part in configs.split(",") if part and not part.startswith("min.insync"))
        shown[name] = "\n".join([head, *own, *(re.split(r"\s+Elr:", line)[0] for line in partitions)])
    return {name: text for name, text in shown.items() if not name.startswith("__")}


def read(tools: KafkaTools, broker: Broker, topic: str, count: int, partition: int = 0) -> list[str]:
    where = ("--partition", partition, "--offset", "earliest", "--max-messages", count)
    return tools.console_consumer(broker.bootstrap, topic, *where).split()


def image_of(directory: Path) -> ClusterImage:
    """What a store finds in a directory that nobody uses."""
    found = read_meta_properties(str(directory))
    assert found is not None
    metadata = MetadataLog.open(str(directory), Controller(found.node_id, found.directory_id or b""), now_ms=NOW)
    metadata.close(now_ms=NOW)
    return metadata.image


@pytest.mark.parametrize(
    ("version", "how", "voters"),
    [
        ("3.9.1", "stop", "log"),
        ("3.9.1", "kill", "file"),
        ("4.3.0", "stop", "file"),
        ("4.3.0", "kill", "log"),
    ],
)
def test_kafka_goes_on_where_kstore_left_and_kstore_where_kafka_left(
    start_kstore: StartKstore, start_kafka: StartKafka, tools_39: KafkaTools, version: str, how: str, voters: str
) -> None:
    tools = tools_39
    kstore = start_kstore()
    make(tools, kstore, "letters", "a\nb\nc\n", "--config", "retention.ms=-1", "--config", "segment.bytes=2000000")
    make(tools, kstore, "grown", "1\n")
    tools.topics(kstore.bootstrap, "--alter", "--topic", "grown", "--partitions", 3)
    make(tools, kstore, "short-lived", "x\n")
    tools.topics(kstore.bootstrap, "--delete", "--topic", "short-lived")
    seen = described(tools, kstore)
    assert set(seen) == {"letters", "grown"}
    directory = kstore.log_directory
    leave(kstore, how)
    before = image_of(directory)

    kafka = start_kafka_on(start_kafka, version, directory, voters)
    assert described(tools, kafka) == seen
    assert read(tools, kafka, "letters", 3) == ["a", "b", "c"]
    assert read(tools, kafka, "grown", 1) == ["1"]
    tools.console_producer(kafka.bootstrap, "letters", "d\n")
    make(tools, kafka, "kafkas", "k\n", "--partitions", 2, "--config", "cleanup.policy=compact")
    tools.topics(kafka.bootstrap, "--delete", "--topic", "grown")
    seen = described(tools, kafka)
    leave(kafka, how)
    between = image_of(directory)
    # An id block that was given out is never given out again, whoever asks for it.
    assert between.next_producer_id > before.next_producer_id > 0
    assert between.epoch > before.epoch

    again = start_kstore(directory)
    assert described(tools, again) == seen
    assert read(tools, again, "letters", 4) == ["a", "b", "c", "d"]
    tools.console_producer(again.bootstrap, "letters", "e\n")
    make(tools, again, "late", "l\n")
    seen = described(tools, again)
    leave(again, how)

    last = start_kafka_on(start_kafka, version, directory, voters)
    assert described(tools, last) == seen
    assert set(seen) == {"letters", "kafkas", "late"}
    assert read(tools, last, "letters", 5) == ["a", "b", "c", "d", "e"]
    assert read(tools, last, "late", 1) == ["l"]


@pytest.mark.parametrize("version", ["3.9.1", "4.3.0"])
def test_kafka_passes_over_the_damaged_end_that_kstore_kept(
    start_kstore: StartKstore, start_kafka: StartKafka, tools_39: KafkaTools, version: str
) -> None:
    tools = tools_39
    kstore = start_kstore()
    make(tools, kstore, "letters", "a\n")
    tools.console_producer(kstore.bootstrap, "letters", "b\n")
    kstore.stop()
    segment = kstore.log_directory / "letters-0" / "00000000000000000000.log"
    content = segment.read_bytes()
    segment.write_bytes(content[:-1])

    again = start_kstore(kstore.log_directory)
    assert read(tools, again, "letters", 1) == ["a"]
    again.stop()
    kept = list(segment.parent.glob("*.damaged"))
    assert [path.read_bytes() for path in kept] == [content[segment.stat().st_size : -1]]

    kafka = start_kafka(version, kstore.log_directory)
    tools.console_producer(kafka.bootstrap, "letters", "c\n")
    assert read(tools, kafka, "letters", 2) == ["a", "c"]
    kafka.stop()
    assert list(segment.parent.glob("*.damaged")) == kept


def start_kafka_on(start_kafka: StartKafka, version: str, directory: Path, voters: str) -> KafkaBroker:
    if voters == "file":
        return start_kafka(version, directory)
    broker = KafkaBroker(version, directory)
    overrides = voters_in_the_log(broker.controller_port)
    listeners = broker_listeners(broker)
    return start_kafka(version, directory, port=broker.port, overrides={**overrides, **listeners})


def broker_listeners(broker: KafkaBroker) -> dict[str, str]:
    controller = f"CONTROLLER://127.0.0.1:{broker.controller_port}"
    return {"listeners": f"PLAINTEXT://127.0.0.1:{broker.port},{controller}"}


@pytest.mark.parametrize(("version", "how"), [("3.9.1", "stop"), ("4.3.0", "stop"), ("4.3.0", "kill")])
def test_kstore_starts_on_kafkas_own_directory_and_gives_it_back(
    start_kstore: StartKstore, start_kafka: StartKafka, tools_39: KafkaTools, version: str, how: str
) -> None:
    tools = tools_39
    # A snapshot of its own after a few records, and a level and features of its own.
    kafka = start_kafka(version, overrides={"metadata.log.max.record.bytes.between.snapshots": "500"})
    directory = kafka.log_directory
    make(tools, kafka, "letters", "a\nb\n", "--partitions", 2, "--config", "retention.ms=-1")
    make(tools, kafka, "gone", "x\n")
    tools.topics(kafka.bootstrap, "--delete", "--topic", "gone")
    brokers = ("--entity-type", "brokers", "--entity-default")
    tools.configs(kafka.bootstrap, "--alter", *brokers, "--add-config", "log.retention.bytes=70000")
    seen = described(tools, kafka)
    leave(kafka, how)
    before = image_of(directory)
    assert list(directory.glob("__cluster_metadata-0/*.checkpoint"))

    kstore = start_kstore(directory)
    assert described(tools, kstore) == seen
    assert sorted(read(tools, kstore, "letters", 2, partition) for partition in written(before, directory)) == [
        ["a", "b"]
    ]
    assert "log.retention.bytes=70000" in tools.configs(kstore.bootstrap, "--describe", *brokers)
    topic = ("--entity-type", "topics", "--entity-name", "letters")
    tools.configs(kstore.bootstrap, "--alter", *topic, "--add-config", "flush.ms=9", "--delete-config", "retention.ms")
    make(tools, kstore, "more", "m\n")
    seen = described(tools, kstore)
    assert "flush.ms=9" in seen["letters"]
    leave(kstore, how)
    after = image_of(directory)
    assert after.features == before.features
    assert after.kept == before.kept

    kafka = start_kafka(version, directory)
    assert described(tools, kafka) == seen
    assert read(tools, kafka, "more", 1) == ["m"]
    assert "log.retention.bytes=70000" in tools.configs(kafka.bootstrap, "--describe", *brokers)


def written(image: ClusterImage, directory: Path) -> list[int]:
    """The partitions of `letters` with records: a producer without keys chooses one."""
    partitions = image.topics["letters"].partitions
    return [index for index in partitions if (directory / f"letters-{index}" / f"{0:020}.log").stat().st_size]


@pytest.mark.parametrize("version", home.VERSIONS)
def test_kafka_starts_on_a_snapshot_of_kstore(
    start_kstore: StartKstore, start_kafka: StartKafka, tools_39: KafkaTools, version: str
) -> None:
    kstore = start_kstore()
    make(tools_39, kstore, "letters", "a\nb\n", "--config", "retention.ms=-1")
    seen = described(tools_39, kstore)
    directory = kstore.log_directory
    kstore.stop()
    found = read_meta_properties(str(directory))
    assert found is not None
    assert found.directory_id is not None
    metadata = MetadataLog.open(str(directory), Controller(found.node_id, found.directory_id), now_ms=NOW)
    for number in range(3):
        record = ConfigRecord(resource_type=4, resource_name="", name="max.connections", value=f"{number + 700}")
        change = metadata.append([record], now_ms=NOW)
        change.run()
        metadata.complete(change, now_ms=NOW)
        snapshot = metadata.begin_snapshot(now_ms=NOW)
        assert snapshot is not None
        snapshot.run()
        metadata.complete_snapshot(snapshot, now_ms=NOW)
    metadata.close(now_ms=NOW)
    assert not (directory / "__cluster_metadata-0" / f"{0:020}.log").exists()

    kafka = start_kafka(version, directory)
    assert described(tools_39, kafka) == seen
    assert read(tools_39, kafka, "letters", 2) == ["a", "b"]
    brokers = ("--entity-type", "brokers", "--entity-default")
    assert "max.connections=702" in tools_39.configs(kafka.bootstrap, "--describe", *brokers)


def test_both_versions_of_dump_log_decode_the_metadata_log(
    start_kstore: StartKstore, tools_39: KafkaTools, tools_43: KafkaTools
) -> None:
    kstore = start_kstore()
    make(tools_39, kstore, "letters", "a\n", "--config", "retention.ms=-1")
    kstore.stop()
    directory = kstore.log_directory / "__cluster_metadata-0"
    for tools in (tools_39, tools_43):
        tools.assert_partition_is_sound(directory)
        printed = tools.dump_log(
            directory / f"{0:020}.log", deep=False, arguments=["--cluster-metadata-decoder", "--skip-record-metadata"]
        )
        for record in ("FEATURE_LEVEL_RECORD", "TOPIC_RECORD", "PARTITION_RECORD", "CONFIG_RECORD"):
            assert f'"type":"{record}"' in printed
        first = tools.dump_log(
            directory / f"{0:020}-{0:010}.checkpoint", deep=False, arguments=["--cluster-metadata-decoder"]
        )
        for record in ("SnapshotHeader", "KRaftVersion", "KRaftVoters", "SnapshotFooter"):
            assert record in first
