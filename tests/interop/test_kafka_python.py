"""kafka-python: pure Python, idempotent by default, with its own codecs."""

import time
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.errors import TopicAlreadyExistsError

from tests.interop import conftest


def produce(bootstrap: str, topic: str, values: list[bytes], **settings: Any) -> list[int]:
    """The offsets that were acknowledged."""
    producer = KafkaProducer(bootstrap_servers=bootstrap, linger_ms=20, **settings)
    futures = [producer.send(topic, value, key=b"k", partition=0, headers=[("h", b"1")]) for value in values]
    producer.flush(30)
    offsets = [future.get(30).offset for future in futures]
    producer.close()
    return offsets


def consume(bootstrap: str, topic: str, count: int, offset: int = 0, **settings: Any) -> list[Any]:
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id=None, **settings)
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    consumer.seek(partition, offset)
    found: list[Any] = []
    deadline = time.monotonic() + 30
    while len(found) < count and time.monotonic() < deadline:
        for records in consumer.poll(timeout_ms=500).values():
            found += records
    consumer.close()
    return found


@pytest.mark.parametrize("codec", [None, "gzip", "snappy", "lz4", "zstd"])
@pytest.mark.parametrize(
    "settings",
    [{"acks": 1, "enable_idempotence": False}, {"acks": "all", "enable_idempotence": False}, {}],
    ids=["acks-1", "acks-all", "idempotent"],
)
def test_producer_and_consumer(
    bootstrap: str, new_topic: conftest.NewTopic, codec: str | None, settings: dict[str, Any]
) -> None:
    topic = new_topic()
    values = [b"value %d " % number * (number % 20) for number in range(500)]
    assert produce(bootstrap, topic, values, compression_type=codec, **settings) == list(range(500))
    read = consume(bootstrap, topic, 500)
    assert [record.value for record in read] == values
    assert {(record.key, tuple(record.headers)) for record in read} == {(b"k", (("h", b"1"),))}


def test_acks_0_arrives(bootstrap: str, new_topic: conftest.NewTopic) -> None:
    topic = new_topic()
    produce(bootstrap, topic, [b"a", b"b"], acks=0, enable_idempotence=False)
    assert [record.value for record in consume(bootstrap, topic, 2)] == [b"a", b"b"]


def test_consumer_finds_offsets(bootstrap: str, new_topic: conftest.NewTopic) -> None:
    topic = new_topic()
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    for number in range(10):
        producer.send(topic, b"%d" % number, partition=0, timestamp_ms=1_700_000_000_000 + number * 1000).get(30)
    producer.close()
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id=None)
    partition = TopicPartition(topic, 0)
    assert consumer.beginning_offsets([partition]) == {partition: 0}
    assert consumer.end_offsets([partition]) == {partition: 10}
    found = consumer.offsets_for_times({partition: 1_700_000_000_000 + 6_500})[partition]
    assert (found.offset, found.timestamp) == (7, 1_700_000_007_000)
    consumer.close()
    assert [record.value for record in consume(bootstrap, topic, 2, offset=8)] == [b"8", b"9"]


@pytest.mark.parametrize("isolation", ["read_committed", "read_uncommitted"])
def test_isolation_levels(bootstrap: str, new_topic: conftest.NewTopic, isolation: str) -> None:
    topic = new_topic()
    produce(bootstrap, topic, [b"seen"])
    assert len(consume(bootstrap, topic, 1, isolation_level=isolation)) == 1


def test_admin_makes_and_deletes_topics(bootstrap: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    name = "made-by-kafka-python"
    admin.create_topics([NewTopic(name=name, num_partitions=2, replication_factor=1)])
    with pytest.raises(TopicAlreadyExistsError):
        admin.create_topics([NewTopic(name=name, num_partitions=2, replication_factor=1)])
    deadline = time.monotonic() + 20
    while name not in admin.list_topics():
        assert time.monotonic() < deadline
    admin.delete_topics([name])
    while name in admin.list_topics():
        assert time.monotonic() < deadline
    admin.close()
