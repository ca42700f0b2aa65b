"""confluent-kafka: librdkafka's newest, its producer, its consumer with assigned partitions, its admin client."""

import time
from typing import Any

import pytest
from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from tests.interop import conftest

Records = list[tuple[bytes | None, bytes | None]]


def produce(bootstrap: str, topic: str, records: Records, partition: int = 0, **settings: Any) -> list[Message]:
    """The delivery reports of all records, in order."""
    reports: list[Message] = []

    def delivered(error: KafkaError | None, report: Message) -> None:
        assert error is None, error
        reports.append(report)

    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20} | settings)
    for key, value in records:
        producer.produce(topic, value, key, partition, on_delivery=delivered)
    assert producer.flush(60) == 0
    return reports


def consume(
    bootstrap: str, topic: str, count: int, *, partition: int = 0, offset: int = OFFSET_BEGINNING, **settings: Any
) -> list[Message]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "nobody", "enable.auto.commit": False} | settings)
    consumer.assign([TopicPartition(topic, partition, offset)])
    found: list[Message] = []
    deadline = time.monotonic() + 30
    while len(found) < count and time.monotonic() < deadline:
        for message in consumer.consume(count - len(found), timeout=1):
            assert message.error() is None, message.error()
            found.append(message)
    consumer.close()
    assert len(found) == count
    return found


def numbered(count: int) -> Records:
    return [(f"key {number}".encode(), b"v" * (number % 300)) for number in range(count)]


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
@pytest.mark.parametrize("settings", [{"acks": 1}, {"acks": "all"}, {"enable.idempotence": True}])
def test_producer_and_consumer(
    bootstrap: str, new_topic: conftest.NewTopic, codec: str, settings: dict[str, Any]
) -> None:
    topic = new_topic()
    records = numbered(2000)
    reports = produce(bootstrap, topic, records, **{"compression.type": codec} | settings)
    assert [report.offset() for report in reports] == list(range(2000))
    read = consume(bootstrap, topic, 2000)
    assert [(message.key(), message.value()) for message in read] == records
    assert [message.offset() for message in read] == list(range(2000))


def test_acks_0_arrives(bootstrap: str, new_topic: conftest.NewTopic) -> None:
    topic = new_topic()
    produce(bootstrap, topic, numbered(500), acks=0)
    assert len(consume(bootstrap, topic, 500)) == 500


def test_headers_timestamps_and_nulls(bootstrap: str, new_topic: conftest.NewTopic) -> None:
    topic = new_topic()
    producer = Producer({"bootstrap.servers": bootstrap})
    headers: list[tuple[str, bytes | None]] = [("a", b"1"), ("a", b"2"), ("empty", b""), ("null", None)]
    producer.produce(topic, None, "k", 0, timestamp=1_700_000_000_123, headers=headers)
    assert producer.flush(30) == 0
    (message,) = consume(bootstrap, topic, 1)
    assert (message.key(), message.value(), message.headers()) == (b"k", None, headers)
    assert message.timestamp() == (1, 1_700_000_000_123)


def test_log_append_time(bootstrap: str, new_topic: conftest.NewTopic) -> None:
    topic = new_topic(message__timestamp__type="LogAppendTime")
    before = time.time() * 1000
    producer = Producer({"bootstrap.servers": bootstrap, "compression.type": "lz4"})
    producer.produce(topic, b"v", timestamp=1_700_000_000_123)
    assert producer.flush(30) == 0
    (message,) = consume(bootstrap, topic, 1)
    kind, stamp = message.timestamp()
    assert kind == 2
    assert before - 1 <= stamp <= time.time() * 1000 + 1


def test_consumer_finds_offsets(bootstrap: str, new_topic: conftest.NewTopic) -> None:
    topic = new_topic(partitions=2)
    producer = Producer({"bootstrap.servers": bootstrap})
    for number in range(100):
        producer.produce(topic, str(number), partition=1, timestamp=1_700_000_000_000 + number * 1000)
    assert producer.flush(30) == 0
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "nobody"})
    assert consumer.get_watermark_offsets(TopicPartition(topic, 1), timeout=10) == (0, 100)
    assert consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=10) == (0, 0)
    wanted = [TopicPartition(topic, 1, 1_700_000_000_000 + 41_500), TopicPartition(topic, 0, 0)]
    assert [found.offset for found in consumer.offsets_for_times(wanted, timeout=10)] == [42, OFFSET_END]
    consumer.close()
    assert consume(bootstrap, topic, 3, partition=1, offset=97)[0].value() == b"97"


def test_end_of_partition_is_told_and_the_tail_followed(bootstrap: str, new_topic: conftest.NewTopic) -> None:
    topic = new_topic()
    settings = {"bootstrap.servers": bootstrap, "group.id": "nobody", "enable.partition.eof": True}
    settings["enable.auto.commit"] = False  # nothing to commit to: groups have no coordinator yet
    consumer = Consumer(settings)
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    ended = consumer.poll(30)
    assert ended is not None
    assert ended.error().code() == KafkaError._PARTITION_EOF
    produce(bootstrap, topic, [(None, b"news")])
    news = consumer.poll(30)
    assert news is not None
    assert news.value() == b"news"
    consumer.close()


def test_offset_out_of_range_resets(bootstrap: str, new_topic: conftest.NewTopic) -> None:
    topic = new_topic()
    produce(bootstrap, topic, [(None, b"only")])
    (message,) = consume(bootstrap, topic, 1, offset=1000, **{"auto.offset.reset": "earliest"})
    assert message.value() == b"only"


@pytest.mark.parametrize("isolation", ["read_committed", "read_uncommitted"])
def test_isolation_levels(bootstrap: str, new_topic: conftest.NewTopic, isolation: str) -> None:
    topic = new_topic()
    produce(bootstrap, topic, numbered(10), **{"enable.idempotence": True})
    assert len(consume(bootstrap, topic, 10, **{"isolation.level": isolation})) == 10


def test_too_large_record_is_refused(bootstrap: str, new_topic: conftest.NewTopic) -> None:
    topic = new_topic(max__message__bytes="1000")
    errors: list[KafkaError] = []
    producer = Producer({"bootstrap.servers": bootstrap})
    producer.produce(topic, b"v" * 2000, on_delivery=lambda error, _: errors.append(error))
    producer.flush(30)
    assert [error.code() for error in errors] == [KafkaError.MSG_SIZE_TOO_LARGE]


def test_record_without_key_is_refused_by_a_compacted_topic(bootstrap: str, new_topic: conftest.NewTopic) -> None:
    topic = new_topic(cleanup__policy="compact")
    errors: list[KafkaError] = []
    producer = Producer({"bootstrap.servers": bootstrap})
    producer.produce(topic, b"v", on_delivery=lambda error, _: errors.append(error))
    producer.flush(30)
    assert [error.code() for error in errors] == [KafkaError.INVALID_RECORD]


def wait(futures: dict[Any, Any]) -> list[Any]:
    return [future.result(30) for future in futures.values()]


def test_admin_makes_grows_describes_and_deletes_topics(bootstrap: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    name = "made-by-confluent"
    wait(admin.create_topics([NewTopic(name, 2, 1, config={"retention.ms": "-1"})]))
    with pytest.raises(KafkaException) as refused:
        wait(admin.create_topics([NewTopic(name, 2, 1)]))
    assert refused.value.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS
    wait(admin.create_partitions([NewPartitions(name, 5)]))
    deadline = time.monotonic() + 20
    while len(wait(admin.describe_topics(TopicCollection([name])))[0].partitions) != 5:
        assert time.monotonic() < deadline
    assert name in admin.list_topics(timeout=10).topics
    wait(admin.delete_topics([name]))
    while name in admin.list_topics(timeout=10).topics:
        assert time.monotonic() < deadline


def test_admin_describes_and_alters_configurations(bootstrap: str, new_topic: conftest.NewTopic) -> None:
    topic = new_topic(retention__ms="77777777")
    admin = AdminClient({"bootstrap.servers": bootstrap})
    resource = ConfigResource(ResourceType.TOPIC, topic)
    entries = wait(admin.describe_configs([resource]))[0]
    assert entries["retention.ms"].value == "77777777"
    assert not entries["retention.ms"].is_default
    assert entries["segment.bytes"].is_default
    change = ConfigEntry("retention.ms", "88888888", incremental_operation=AlterConfigOpType.SET)
    wait(admin.incremental_alter_configs([ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[change])]))
    deadline = time.monotonic() + 20
    while wait(admin.describe_configs([resource]))[0]["retention.ms"].value != "88888888":
        assert time.monotonic() < deadline


def test_admin_lists_and_deletes_offsets(bootstrap: str, new_topic: conftest.NewTopic) -> None:
    topic = new_topic()
    produce(bootstrap, topic, numbered(10))
    admin = AdminClient({"bootstrap.servers": bootstrap})
    partition = TopicPartition(topic, 0)
    deleted = wait(admin.delete_records([TopicPartition(topic, 0, 4)]))[0]
    assert deleted.low_watermark == 4
    assert wait(admin.list_offsets({partition: OffsetSpec.earliest()}))[0].offset == 4
    assert wait(admin.list_offsets({partition: OffsetSpec.latest()}))[0].offset == 10
    newest = admin.list_offsets(
        {partition: OffsetSpec.max_timestamp()}, isolation_level=IsolationLevel.READ_UNCOMMITTED
    )
    assert 0 <= wait(newest)[0].offset < 10  # deleted or not: Kafka says the same


def test_admin_describes_the_cluster(bootstrap: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    described = admin.describe_cluster(request_timeout=10).result(30)
    assert [f"{node.host}:{node.port}" for node in described.nodes] == [bootstrap]
