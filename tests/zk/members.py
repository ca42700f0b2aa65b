"""Brokers of one ZooKeeper cluster as processes, and what their directories and clients say."""

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tests.judge.kafka import KafkaBroker, ZooKeeper
from tests.judge.kstore import KstoreServer

Value = TypeVar("Value")
Member = KstoreServer | KafkaBroker

# Failures are noticed in seconds.
QUICK = {
    "zookeeper.session.timeout.ms": "2000",
    "controlled.shutdown.retry.backoff.ms": "500",
    "replica.lag.time.max.ms": "5000",
    "replica.fetch.backoff.ms": "100",
    "replica.fetch.wait.max.ms": "200",
    "offsets.topic.num.partitions": "4",
}


def kstore_member(
    directory: Path, broker_id: int, zookeeper: ZooKeeper, overrides: Mapping[str, str] | None = None
) -> KstoreServer:
    identity = {"broker.id": str(broker_id), "zookeeper.connect": zookeeper.connect}
    return KstoreServer(directory / f"kstore-{broker_id}", overrides=QUICK | identity | dict(overrides or {}))


def kafka_member(directory: Path, broker_id: int, zookeeper: ZooKeeper) -> KafkaBroker:
    name = directory / f"kafka-{broker_id}"
    return KafkaBroker("3.9.1", name, zookeeper=zookeeper, node_id=broker_id, overrides=QUICK, heap="256m")


def eventually(
    ask: Callable[[], Value], *, wanted: Callable[[Value], bool], timeout: float = 30, what: str = ""
) -> Value:
    """What `ask` gives as soon as it is `wanted`; fails with the last answer."""
    deadline = time.monotonic() + timeout
    while True:
        found = ask()
        if wanted(found):
            return found
        assert time.monotonic() < deadline, f"{what or 'in time'}: {found!r}"
        time.sleep(0.1)


def bootstrap(members: Iterable[Member]) -> str:
    return ",".join(member.bootstrap for member in members)


def create_topic(members: Iterable[Member], name: str, assignment: list[list[int]], **config: str) -> None:
    """A topic with the replicas of each partition."""
    admin = AdminClient({"bootstrap.servers": bootstrap(members)})
    configs = {key.replace("_", "."): value for key, value in config.items()}
    topic = NewTopic(name, len(assignment), replica_assignment=assignment, config=configs)
    admin.create_topics([topic], request_timeout=20)[name].result(30)


def partition_of(members: Iterable[Member], topic: str, index: int = 0) -> Any:
    """What the cluster says of a partition: `leader`, `isrs`, `replicas`; None where it is not known."""
    admin = AdminClient({"bootstrap.servers": bootstrap(members)})
    found = admin.list_topics(topic, timeout=10).topics[topic]
    return found.partitions.get(index)


def wait_for_isr(members: Iterable[Member], topic: str, isr: set[int], timeout: float = 40) -> Any:
    members = list(members)
    return eventually(
        lambda: partition_of(members, topic),
        wanted=lambda found: found is not None and set(found.isrs) == isr,
        timeout=timeout,
        what=f"in sync should be {isr}",
    )


def wait_for_leader(members: Iterable[Member], topic: str, leader: int, timeout: float = 30) -> Any:
    members = list(members)
    return eventually(
        lambda: partition_of(members, topic),
        wanted=lambda found: found is not None and found.leader == leader,
        timeout=timeout,
        what=f"broker {leader} should lead",
    )


class Ledger:
    """A producer with acks=all that remembers what it was promised: offset -> value."""

    def __init__(self, members: Iterable[Member], topic: str, **config: Any) -> None:
        self.topic = topic
        self.acknowledged: dict[int, bytes] = {}
        self.failed: list[Any] = []
        self._sent = 0
        options = {"bootstrap.servers": bootstrap(members), "acks": "all", "linger.ms": 2, **config}
        options |= {"message.timeout.ms": 30_000, "retry.backoff.ms": 50, "topic.metadata.refresh.interval.ms": 1000}
        self._producer = Producer(options)

    def produce(self, count: int, *, size: int = 100) -> None:
        for _ in range(count):
            value = b"%08d" % self._sent + b"x" * size
            self._sent += 1
            self._producer.produce(self.topic, value, partition=0, on_delivery=self._delivered)
            self._producer.poll(0)

    def _delivered(self, error: Any, message: Any) -> None:
        if error is not None:
            self.failed.append(error)
            return
        offset = message.offset()
        assert offset not in self.acknowledged, f"offset {offset} was given twice"
        self.acknowledged[offset] = message.value()

    def flush(self, timeout: float = 40) -> None:
        left = self._producer.flush(timeout)
        assert not left, f"{left} records have no answer"


def consumed(members: Iterable[Member], topic: str, count: int, timeout: float = 30) -> dict[int, bytes]:
    """Offset -> value of at least `count` records from the beginning, as far as they are committed."""
    consumer = Consumer({"bootstrap.servers": bootstrap(members), "group.id": "none", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, 0)])
    found: dict[int, bytes] = {}
    deadline = time.monotonic() + timeout
    try:
        while len(found) < count and time.monotonic() < deadline:
            for message in consumer.consume(500, 0.5):
                assert message.error() is None, message.error()
                found[message.offset()] = message.value()
    finally:
        consumer.close()
    return found


def log_bytes(member: Member, topic: str) -> bytes:
    """All segments of partition 0, one after the other."""
    directory = member.partition_directory(topic)
    return b"".join(file.read_bytes() for file in sorted(directory.glob("*.log")))


def wait_for_same_logs(members: Iterable[Member], topic: str, timeout: float = 20) -> bytes:
    members = list(members)
    logs = eventually(
        lambda: [log_bytes(member, topic) for member in members],
        wanted=lambda found: len(set(found)) == 1 and len(found[0]) > 0,
        timeout=timeout,
        what="the logs should be the same",
    )
    return logs[0]
