"""Real Apache Kafka for tests marked `kafka`: brokers shared by a session, a test's own brokers, the tools.

Shared brokers are for tests that make topics of their own names and leave the rest alone; who stops, kills or
configures a broker takes `start_kafka`.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.judge.kafka import KafkaBroker, ZooKeeper
from tests.judge.tools import KafkaTools

StartKafka = Callable[..., KafkaBroker]

# A shared broker lives for minutes, so its retention runs: records of 2023 would go while a test reads them.
SHARED = {"log.retention.ms": "-1"}


@pytest.fixture(scope="session")
def tools_39() -> Iterator[KafkaTools]:
    """Kafka 3.9.1's command-line tools, in one JVM."""
    tools = KafkaTools("3.9.1")
    yield tools
    tools.close()


@pytest.fixture(scope="session")
def tools_43() -> Iterator[KafkaTools]:
    """Kafka 4.3.0's command-line tools, in one JVM."""
    tools = KafkaTools("4.3.0")
    yield tools
    tools.close()


@pytest.fixture(scope="session")
def kafka_39(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """A Kafka 3.9.1 broker in KRaft mode, shared by the session."""
    with KafkaBroker("3.9.1", tmp_path_factory.mktemp("kafka-39") / "data", overrides=SHARED) as broker:
        yield broker


@pytest.fixture(scope="session")
def kafka_43(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """A Kafka 4.3.0 broker in KRaft mode, shared by the session."""
    with KafkaBroker("4.3.0", tmp_path_factory.mktemp("kafka-43") / "data", overrides=SHARED) as broker:
        yield broker


@pytest.fixture(scope="session")
def zookeeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZooKeeper]:
    with ZooKeeper(tmp_path_factory.mktemp("zookeeper")) as server:
        yield server


@pytest.fixture(scope="session")
def kafka_39_zookeeper(zookeeper: ZooKeeper, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """A Kafka 3.9.1 broker in ZooKeeper mode, shared by the session."""
    directory = tmp_path_factory.mktemp("kafka-39-zk") / "data"
    with KafkaBroker("3.9.1", directory, zookeeper=zookeeper, overrides=SHARED) as broker:
        yield broker


@pytest.fixture
def start_kafka(tmp_path: Path) -> Iterator[StartKafka]:
    """Starts brokers of this test's own: `start_kafka("3.9.1", directory, **options of KafkaBroker)`.

    Without a directory a fresh one. What still runs at the end of the test is killed.
    """
    brokers: list[KafkaBroker] = []

    def start(version: str, directory: Path | None = None, **options: object) -> KafkaBroker:
        where = directory if directory is not None else tmp_path / f"kafka-{len(brokers)}"
        broker = KafkaBroker(version, where, **options)  # type: ignore[arg-type]
        brokers.append(broker)
        broker.start()
        return broker

    yield start
    for broker in brokers:
        broker.kill()
