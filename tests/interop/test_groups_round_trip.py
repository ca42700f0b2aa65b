"""Groups outlive a change of broker: kstore reads what Kafka wrote into `__consumer_offsets`, Kafka what kstore wrote,
and Kafka's own dump finds nothing wrong with it."""

import re
import time
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from kstore.coordinator.group.records import partition_for
from tests.fix_kafka import StartKafka
from tests.fix_kstore import StartKstore
from tests.judge.java import wait_until
from tests.judge.kafka import KafkaBroker
from tests.judge.kstore import KstoreServer
from tests.judge.tools import KafkaTools

pytestmark = pytest.mark.kafka

Broker = KafkaBroker | KstoreServer

TOPIC = "orders"
PARTITIONS = 4  # of the topic of offsets
KSTORE = {"offsets.topic.num.partitions": str(PARTITIONS), "group.initial.rebalance.delay.ms": "0"}
GROUPS = [f"group-{number}" for number in range(12)]


def create(broker: Broker) -> None:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_topics([NewTopic(TOPIC, 3, 1)])[TOPIC].result(30)
    wait_until(lambda: TOPIC in admin.list_topics(timeout=10).topics, timeout=20, what="the topic is there")
    produce(broker, 30)


def produce(broker: Broker, count: int) -> None:
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    for number in range(count):
        producer.produce(TOPIC, str(number), partition=number % 3)
    assert producer.flush(60) == 0


def consumer_of(broker: Broker, group: str, **settings: Any) -> Consumer:
    timing = {"session.timeout.ms": 10_000, "auto.offset.reset": "earliest", "enable.auto.commit": False}
    return Consumer({"bootstrap.servers": broker.bootstrap, "group.id": group} | timing | settings)


def commit(broker: Broker, salt: int) -> dict[tuple[str, int], tuple[int, str]]:
    """Every group commits on its own; gives what is then known of (group, partition)."""
    known = {}
    for number, group in enumerate(GROUPS):
        consumer = consumer_of(broker, group)
        offsets = [TopicPartition(TOPIC, part, number + part + salt, f"{group}/{part}/{salt}") for part in range(3)]
        for told in consumer.commit(offsets=offsets, asynchronous=False):
            assert told.error is None
        consumer.close()
        known |= {(group, each.partition): (each.offset, each.metadata) for each in offsets}
    return known


def committed(broker: Broker) -> dict[tuple[str, int], tuple[int, str]]:
    found = {}
    for group in GROUPS:
        consumer = consumer_of(broker, group)
        for each in consumer.committed([TopicPartition(TOPIC, part) for part in range(3)], timeout=30):
            assert each.error is None
            found[group, each.partition] = each.offset, each.metadata
        consumer.close()
    return found


def read_as_member(broker: Broker, count: int, **settings: Any) -> None:
    """A member of the group "members" reads `count` records that nobody of it has read, commits and leaves."""
    consumer = consumer_of(broker, "members", **settings)
    consumer.subscribe([TOPIC])
    read, deadline = 0, time.monotonic() + 40
    while read < count:
        assert time.monotonic() < deadline, f"{read} of {count}"
        message = consumer.poll(0.2)
        read += message is not None and message.error() is None
    consumer.commit(asynchronous=False)
    assert consumer.poll(0.3) is None
    consumer.close()


def described(tools: KafkaTools, broker: Broker, group: str) -> dict[int, tuple[str, str]]:
    """Partition -> committed offset and lag, as Kafka's tool shows them."""
    printed = tools.groups(broker.bootstrap, "--describe", "--group", group)
    rows = [line.split() for line in printed.splitlines() if re.search(rf"\s{TOPIC}\s", line)]
    return {int(row[2]): (row[3], row[5]) for row in rows}


def assert_dump_is_sound(tools: KafkaTools, broker: Broker) -> None:
    for number in range(PARTITIONS):
        tools.assert_partition_is_sound(broker.partition_directory("__consumer_offsets", number))
    number = partition_for("group-3", PARTITIONS)
    (log,) = sorted(broker.partition_directory("__consumer_offsets", number).glob("*.log"))[:1]
    printed = tools.dump_log(log, arguments=["--offsets-decoder"])
    assert re.search(r'"group":"group-3","topic":"orders","partition":1', printed), printed[-3000:]
    assert "Error" not in printed


@pytest.mark.parametrize(("version", "how"), [("3.9.1", "stop"), ("4.3.0", "stop"), ("4.3.0", "kill")])
def test_kafka_goes_on_with_kstores_groups_and_kstore_with_kafkas(
    start_kstore: StartKstore, start_kafka: StartKafka, tools_39: KafkaTools, version: str, how: str
) -> None:
    kstore = start_kstore(overrides={"node.id": "1", **KSTORE})
    create(kstore)
    known = commit(kstore, salt=0)
    read_as_member(kstore, 30)
    assert committed(kstore) == known
    leave(kstore, how)
    if how == "stop":
        assert_dump_is_sound(tools_39, kstore)

    kafka = start_kafka(version, kstore.log_directory)
    assert committed(kafka) == known
    assert described(tools_39, kafka, "members") == dict.fromkeys(range(3), ("10", "0"))
    produce(kafka, 15)
    read_as_member(kafka, 15, **{"partition.assignment.strategy": "cooperative-sticky"})
    known = commit(kafka, salt=100)
    tools_39.groups(kafka.bootstrap, "--delete", "--group", "group-5")
    leave(kafka, how)

    again = start_kstore(kstore.log_directory, overrides=KSTORE)
    known |= {("group-5", part): (-1001, "") for part in range(3)}
    assert {key: (offset, text or "") for key, (offset, text) in committed(again).items()} == known
    assert described(tools_39, again, "members") == dict.fromkeys(range(3), ("15", "0"))
    produce(again, 3)
    read_as_member(again, 3)


def leave(broker: Broker, how: str) -> None:
    broker.stop() if how == "stop" else broker.kill()
