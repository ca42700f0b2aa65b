"""The same requests to Kafka 3.9.1 and to kstore give the same bytes on disk.

Produce requests come from a seed: many partitions at once, all codecs, batches of one record and of many,
with and without producer ids, duplicates and gaps among them, into topics that roll by size, time and full
index. Then both are stopped and their partition directories are compared file by file.
"""

import random
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from kafka.protocol.producer import ProduceRequest

from tests.fix_kafka import StartKafka
from tests.fix_kstore import StartKstore
from tests.interop.pair import differing
from tests.judge.topics import create_topic
from tests.judge.wire_client import CODECS, WireClient, batch, message

pytestmark = pytest.mark.kafka

# Client timestamps of 2023: what the clock says must not matter.
START = 1_700_000_000_000
KEPT = {"retention.ms": "-1"}
TOPICS: dict[str, dict[str, str]] = {
    "defaults": KEPT,
    "by-size": KEPT | {"segment.bytes": "40000", "index.interval.bytes": "1000"},
    "by-time": KEPT | {"segment.ms": "60000", "index.interval.bytes": "0"},
    "by-index": KEPT | {"segment.index.bytes": "100", "index.interval.bytes": "300"},
}
PARTITIONS = 3
PRODUCERS = 4


class Step(NamedTuple):
    acks: int
    version: int
    batches: dict[tuple[str, int], bytes]


class SeededProducers:
    """Idempotent producers whose next step may be a repetition, a gap, or a new epoch."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.next_sequence: dict[tuple[int, str, int], int] = {}
        self.epochs = [0] * PRODUCERS
        self.last: dict[tuple[str, int], bytes] = {}

    def batch(self, partition: tuple[str, int], records: list[Any], codec: str) -> bytes:
        if self.dice.random() < 0.05 and partition in self.last:
            return self.last[partition]  # a duplicate: answered, not appended
        producer = self.dice.randrange(PRODUCERS)
        if self.dice.random() < 0.01:
            self.epochs[producer] += 1
            for key in [key for key in self.next_sequence if key[0] == producer]:
                self.next_sequence[key] = 0
        sequence = self.next_sequence.get((producer, *partition), 0)
        if self.dice.random() < 0.03:
            sequence += 7  # a gap: refused, not appended
        else:
            self.next_sequence[producer, *partition] = sequence + len(records)
        data = batch(
            records,
            codec=codec,
            producer_id=5000 + producer,
            producer_epoch=self.epochs[producer],
            base_sequence=sequence,
        )
        self.last[partition] = data
        return data


def seeded_steps(seed: int, count: int) -> Iterator[Step]:
    dice = random.Random(seed)
    producers = SeededProducers(dice)
    everything = [(topic, partition) for topic in TOPICS for partition in range(PARTITIONS)]
    for step in range(count):
        batches = {}
        for partition in dice.sample(everything, dice.choice([1, 1, 2, 5, len(everything)])):
            codec = dice.choice(["none", "none", *CODECS])
            records = seeded_records(dice, START + step * 1000)
            if dice.random() < 0.6:
                batches[partition] = producers.batch(partition, records, codec)
            else:
                headers = (("h", b"1"), ("", None)) if dice.random() < 0.2 else ()
                batches[partition] = batch(records, codec=codec, headers=headers)
        yield Step(dice.choice([-1, 1]), dice.choice(range(3, 12)), batches)


def seeded_records(dice: random.Random, now: int) -> list[tuple[int, bytes | None, bytes | None]]:
    count = dice.choice([1, 1, 2, 5, 20, 60])
    largest = dice.choice([0, 10, 100, 100, 1000])
    records: list[tuple[int, bytes | None, bytes | None]] = []
    for _ in range(count):
        key = dice.choice([None, b"", dice.randbytes(8)])
        value = None if dice.random() < 0.1 else dice.randbytes(dice.randint(0, largest)) * dice.choice([1, 3])
        records.append((now + dice.randint(-700, 700), key, value))
    return records


def produce_request(step: Step) -> ProduceRequest:
    by_topic: dict[str, list[Any]] = {}
    for (topic, partition), data in step.batches.items():
        by_topic.setdefault(topic, []).append({"index": partition, "records": data})
    topics = [{"name": topic, "partition_data": data} for topic, data in by_topic.items()]
    return message(ProduceRequest, acks=step.acks, timeout_ms=30_000, topic_data=topics)


def answers(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The answer by partition, without what may differ (messages are for people)."""
    return {
        f"{topic['name']}-{partition['index']}": partition | {"error_message": None}
        for topic in answer["responses"]
        for partition in topic["partition_responses"]
    }


def producer_snapshot(file: Path) -> set[tuple[int, ...]]:
    """The entries of a .snapshot (ProducerStateManager.java): their order is a hash table's."""
    data = file.read_bytes()
    version, _, count = struct.unpack_from(">hIi", data)
    assert version == 1
    entry = struct.Struct(">qhiqiqiq")
    assert len(data) == 10 + count * entry.size
    return {entry.unpack_from(data, 10 + i * entry.size) for i in range(count)}


def assert_same_partition(kafka: Path, kstore: Path) -> None:
    kinds = {".log", ".index", ".timeindex", ".txnindex", ".snapshot"}
    names = {file.name for file in kafka.iterdir() if file.suffix in kinds}
    ours = {file.name for file in kstore.iterdir() if file.suffix in kinds}
    assert names <= ours
    # kstore's recovery point moves on between rolls, and producer state is saved where it stands.
    assert {name.rpartition(".")[2] for name in ours - names} <= {"snapshot"}
    for name in sorted(names):
        if name.endswith(".snapshot"):
            assert producer_snapshot(kstore / name) == producer_snapshot(kafka / name), kstore / name
        else:
            assert (kstore / name).read_bytes() == (kafka / name).read_bytes(), kstore / name
    epochs = "leader-epoch-checkpoint"
    assert (kstore / epochs).read_text() == (kafka / epochs).read_text()


@pytest.mark.parametrize("seed", [1, 2])
def test_same_requests_give_the_same_bytes(start_kafka: StartKafka, start_kstore: StartKstore, seed: int) -> None:
    kafka = start_kafka("3.9.1")
    kstore = start_kstore()
    with WireClient(kafka.port) as to_kafka, WireClient(kstore.port) as to_kstore:
        for topic, configs in TOPICS.items():
            create_topic(to_kafka, topic, PARTITIONS, configs)
            create_topic(to_kstore, topic, PARTITIONS, configs)
        refused = 0
        for number, step in enumerate(seeded_steps(seed, 300)):
            expected = answers(to_kafka.ask(produce_request(step), step.version))
            given = answers(to_kstore.ask(produce_request(step), step.version))
            assert differing(expected, given) == [], f"step {number}, version {step.version}"
            refused += sum(answer["error_code"] != 0 for answer in expected.values())
    assert refused > 10  # or the seed does not test what it says
    kafka.stop()
    kstore.stop()
    for topic in TOPICS:
        for partition in range(PARTITIONS):
            ours = kstore.partition_directory(topic, partition)
            assert_same_partition(kafka.partition_directory(topic, partition), ours)
            assert topic == "defaults" or len(list(ours.glob("*.log"))) > 2
