"""What the library leaves in a directory, Apache Kafka serves; what Kafka leaves, the library opens."""

import time
from pathlib import Path

import pytest

import kstore
from tests.fix_broker import Client, batch, records_in
from tests.fix_kafka import StartKafka
from tests.judge.tools import KafkaTools

pytestmark = pytest.mark.kafka

VERSIONS = pytest.mark.parametrize("version", ["3.9.1", "4.3.0"])


def served(client: Client, topic: str, partition: int = 0) -> list[tuple[int, int, bytes | None, bytes | None]]:
    """The records that a consumer is given, once the partition has a leader after the start."""
    deadline = time.monotonic() + 60
    while (answer := client.fetch(topic, 0, partition=partition)).error_code:
        assert time.monotonic() < deadline, answer
    return [(each.offset, each.timestamp, each.key, each.value) for each in records_in(answer.records)]


def produce(client: Client, topic: str, value: bytes, *, partition: int) -> None:
    """Until the partition has a leader again it is refused."""
    deadline = time.monotonic() + 60
    while (answer := client.produce(topic, batch(value), partition=partition)).error_code:
        assert time.monotonic() < deadline, answer


def appended(log: kstore.Log) -> list[tuple[int, int, bytes | None, bytes | None]]:
    return [(each.offset, each.timestamp, each.key, each.value) for each in log.read()]


@VERSIONS
def test_kafka_serves_a_store_and_the_store_goes_on_with_what_kafka_wrote(
    version: str, tmp_path: Path, start_kafka: StartKafka
) -> None:
    data = tmp_path / "data"
    with kstore.LogStore.open(data) as store:
        store.create("orders", partitions=2, max_message_bytes=123_456)
        log = store.log("orders", 1, compression="zstd")
        log.extend(kstore.Message(b"value %d" % i, key=b"k", headers={"h": b"v"}) for i in range(100))
        log.append(b"alone")
        expected = appended(log)
    kafka = start_kafka(version, data)
    with Client(kafka.port) as client:
        assert served(client, "orders", 1) == expected
        produce(client, "orders", b"from kafka", partition=1)
    kafka.stop()
    with kstore.LogStore.open(data) as store:
        assert store.topics["orders"] == 2
        log = store.log("orders", 1)
        assert [record.value for record in log.read(101)] == [b"from kafka"]
        assert log.append(b"and on") == 102
        assert store._host.replicas.get("orders", 0).log.config.max_message_bytes == 123_456


@VERSIONS
def test_kafka_serves_a_log_that_a_store_took_in(version: str, tmp_path: Path, start_kafka: StartKafka) -> None:
    data = tmp_path / "events"
    with kstore.Log.open(data, compression="lz4", segment_bytes=2000) as log:
        for i in range(100):
            log.append(b"value %d" % i * 10)
        log.delete_before(5)
        expected = appended(log)
    with kstore.LogStore.open(data) as store:
        assert appended(store.log("log")) == expected
    kafka = start_kafka(version, data)
    with Client(kafka.port) as client:
        found = []
        offset = 5
        while offset < 100:
            deadline = time.monotonic() + 60
            while (answer := client.fetch("log", offset)).error_code:
                assert time.monotonic() < deadline, answer
            found += [(each.offset, each.timestamp, each.key, each.value) for each in records_in(answer.records)]
            offset = found[-1][0] + 1
        assert found == expected


@VERSIONS
def test_kafkas_tool_reads_every_file_of_a_log(version: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    tools = request.getfixturevalue("tools_39" if version == "3.9.1" else "tools_43")
    assert isinstance(tools, KafkaTools)
    with kstore.Log.open(tmp_path, compression="snappy", segment_bytes=4000, index_interval_bytes=300) as log:
        for i in range(50):
            log.extend(kstore.Message(b"%d" % i * j, key=b"k", headers=[("h", None)]) for j in range(1, 20))
        path = Path(log.path)
    tools.assert_partition_is_sound(path)
