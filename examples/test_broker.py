"""A broker in a pytest test: a few milliseconds to start, nothing to install, nothing left behind.

    pytest examples/test_broker.py

`count_words` is the program under test: it speaks to any Kafka. The tests speak to it through a client of their own, or
put records straight into the broker and read them there.
"""

from collections import Counter
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

import kstore


def count_words(bootstrap_servers: str, lines: int) -> None:
    """Reads `lines` records of the topic `lines` and writes a record a word to the topic `counts`."""
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "count-words"})
    producer = Producer({"bootstrap.servers": bootstrap_servers, "enable.idempotence": True})
    consumer.assign([TopicPartition("lines", 0, 0)])
    counts: Counter[str] = Counter()
    for message in consumer.consume(lines, timeout=30):
        counts.update((message.value() or b"").decode().split())
    for word, count in counts.items():
        producer.produce("counts", key=word, value=str(count))
    producer.flush()
    consumer.close()


@pytest.fixture
def clock() -> kstore.ManualClock:
    return kstore.ManualClock()


@pytest.fixture
def broker(clock: kstore.ManualClock) -> Iterator[kstore.Broker]:
    with kstore.Broker(clock=clock) as broker:
        yield broker


def test_words_are_counted_over_all_lines(broker: kstore.Broker) -> None:
    broker.log("lines").extend([b"to be or not", b"to be"])
    count_words(broker.bootstrap_servers, 2)
    counts = {record.key: record.value for record in broker.log("counts").read()}
    assert counts == {b"to": b"2", b"be": b"2", b"or": b"1", b"not": b"1"}


def test_counts_of_last_year_are_gone(broker: kstore.Broker, clock: kstore.ManualClock) -> None:
    broker.create("counts", retention_ms=1000)
    log = broker.log("counts")
    log.append(b"2", key=b"to")
    clock.advance(days=365)
    broker.tend()
    assert list(log.read()) == []
    assert log.end_offset == 1
