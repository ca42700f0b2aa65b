"""kafka-python: pure Python, idempotent by default, with its own codecs."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.errors import TopicAlreadyExistsError
from kafka.structs import OffsetAndMetadata

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


def grouped(bootstrap: str, group: str, topic: str, **settings: Any) -> KafkaConsumer:
    timing = {"session_timeout_ms": 10_000, "heartbeat_interval_ms": 300}
    consumer = KafkaConsumer(
        topic, bootstrap_servers=bootstrap, group_id=group, auto_offset_reset="earliest", **(timing | settings)
    )
    # One that leads a group before it knows the topic's partitions assigns none of them, and does not ask again.
    deadline = time.monotonic() + 20
    while not consumer.partitions_for_topic(topic):
        assert time.monotonic() < deadline
    return consumer


def poll_until(consumers: list[KafkaConsumer], holds: Callable[[list[list[Any]]], bool]) -> list[list[Any]]:
    """Polls all in turn until `holds` for what each has read."""
    read: list[list[Any]] = [[] for _ in consumers]
    deadline = time.monotonic() + 40
    while not holds(read):
        assert time.monotonic() < deadline, [len(each) for each in read]
        for found, consumer in zip(read, consumers, strict=True):
            for records in consumer.poll(timeout_ms=100).values():
                found += records
    return read


# Its cooperative assignor is left out: a consumer whose fetch is on its way while a partition is taken from it never
# fetches again. Cooperative rebalances are tested with confluent-kafka and Java.
@pytest.mark.parametrize(
    "assignor",
    [RangePartitionAssignor, RoundRobinPartitionAssignor],
)
def test_group_shares_commits_and_goes_on(
    bootstrap: str, new_topic: conftest.NewTopic, new_group: conftest.NewGroup, assignor: Any
) -> None:
    topic, group = new_topic(partitions=2), new_group()
    producer = KafkaProducer(bootstrap_servers=bootstrap)

    def send(first: int) -> None:
        for number in range(first, first + 20):
            producer.send(topic, b"%d" % number, partition=number % 2).get(30)

    options = {"partition_assignment_strategy": [assignor], "enable_auto_commit": False}
    one, two = (grouped(bootstrap, group, topic, **options) for _ in range(2))
    poll_until([one, two], lambda _: len(one.assignment()) == len(two.assignment()) == 1)
    send(0)
    read = poll_until([one, two], lambda read: sum(map(len, read)) == 20)
    assert sorted(int(record.value) for each in read for record in each) == list(range(20))
    for consumer in (one, two):
        consumer.commit()
        (partition,) = consumer.assignment()
        assert consumer.committed(partition) == 10
    one.close()
    poll_until([two], lambda _: len(two.assignment()) == 2)
    send(20)
    (rest,) = poll_until([two], lambda read: len(read[0]) == 20)
    assert sorted(int(record.value) for record in rest) == list(range(20, 40))
    two.close()
    producer.close()


def test_groups_are_administered(bootstrap: str, new_topic: conftest.NewTopic, new_group: conftest.NewGroup) -> None:
    topic, group = new_topic(), new_group()
    partition = TopicPartition(topic, 0)
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    producer.send(topic, b"x", partition=0).get(30)
    producer.close()
    consumer = grouped(bootstrap, group, topic)
    poll_until([consumer], lambda read: len(read[0]) == 1)
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    listed = {each["group_id"]: each for each in admin.list_groups()}
    assert (listed[group]["protocol_type"], listed[group]["group_state"]) == ("consumer", "Stable")
    described = admin.describe_groups([group])[group]
    assert (described["group_state"], len(described["members"])) == ("Stable", 1)
    consumer.close()  # commits
    assert admin.list_group_offsets({group: None})[group][partition].offset == 1
    admin.alter_group_offsets(group, {partition: OffsetAndMetadata(0, "", -1)})
    assert admin.list_group_offsets({group: [partition]})[group][partition].offset == 0
    admin.delete_group_offsets(group, [partition])
    assert admin.list_group_offsets({group: None})[group] == {}
    admin.delete_groups([group])
    assert group not in {each["group_id"] for each in admin.list_groups()}
    admin.close()
