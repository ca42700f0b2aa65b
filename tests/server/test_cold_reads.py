"""Consumers of records that are on the disk only: a thread waits for the disk, and nobody else waits for them."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from kstore.log.work import LookUp
from kstore.protocol.messages.delete_topics import DeleteTopicsRequest
from kstore.protocol.messages.list_offsets import ListOffsetsRequest
from kstore.server import cold_reads
from tests.fix_broker import Broker, Client, StartBroker, batch, fetch_request, records_in
from tests.fix_cold import bytes_read, evict

NONE, UNKNOWN_TOPIC = 0, 3
BATCHES = 100
VALUE = os.urandom(9_000)
WAIT_S = 30


class Gate:
    """Stands before the threads that wait for the disk; `passed` counts what went through it."""

    def __init__(self) -> None:
        self.is_open = threading.Event()
        self.arrived = threading.Semaphore(0)
        self.passed = 0
        self.bring_in_all = cold_reads.bring_in_all

    def __call__(self, missing: Sequence[LookUp | None]) -> None:
        self.arrived.release()
        assert self.is_open.wait(WAIT_S)
        self.passed += 1
        self.bring_in_all(missing)

    def wait_for_somebody(self) -> None:
        assert self.arrived.acquire(timeout=WAIT_S)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    made = Gate()
    monkeypatch.setattr(cold_reads, "bring_in_all", made)
    yield made
    made.is_open.set()


@pytest.fixture
def broker(start_broker: StartBroker, cold_path: Path) -> Broker:
    return start_broker(cold_path)


def filled(broker: Broker, topic: str = "old", *, partitions: int = 1) -> Client:
    """A connection to a broker with a topic of many segments, all of them cold."""
    client = broker.connect()
    client.create_topic(topic, partitions, segment_bytes=str(256 * 1024), index_interval_bytes=str(12 * 1024))
    for partition in range(partitions):
        for number in range(BATCHES):
            records = batch(VALUE, timestamp=1_000 + number)
            assert client.produce(topic, records, partition=partition, acks=1).error_code == NONE
    evict(broker.config.log_dirs[0])
    return client


def has_nothing(client: Client) -> bool:
    client.socket.setblocking(False)
    try:
        return not client.socket.recv(1)
    except BlockingIOError:
        return True
    finally:
        client.socket.settimeout(WAIT_S)


def offsets_in(part: object) -> list[int]:
    return [record.offset for record in records_in(part.records)]  # type: ignore[attr-defined]


def by_time(topic: str, timestamp: int) -> ListOffsetsRequest:
    part = ListOffsetsRequest.ListOffsetsPartition(partition_index=0, timestamp=timestamp, current_leader_epoch=-1)
    wanted = ListOffsetsRequest.ListOffsetsTopic(name=topic, partitions=[part])
    return ListOffsetsRequest(replica_id=-1, isolation_level=0, topics=[wanted])


@pytest.mark.parametrize("isolation_level", [0, 1])
@pytest.mark.parametrize("version", [4, 9, 12, 17])
def test_old_records_are_read_from_the_disk(broker: Broker, version: int, isolation_level: int) -> None:
    client = broker.connect()
    name: str | bytes = "old"
    client = filled(broker)
    if version >= 13:
        name = broker.call(lambda app: app.context.replicas.get("old", 0).log.topic_id)
    for offset in range(0, BATCHES, 7):
        request = fetch_request({(name, 0): offset}, partition_max_bytes=30_000, isolation_level=isolation_level)
        (part,) = client.ask(request, version).responses[0].partitions
        assert part.error_code == NONE
        assert offsets_in(part)[0] == offset


def test_producers_go_on_while_a_consumer_waits_for_the_disk(broker: Broker, gate: Gate) -> None:
    consumer = filled(broker)
    consumer.send(fetch_request({("old", 0): 10}), 12)
    gate.wait_for_somebody()
    producer = broker.connect()
    for number in range(50):
        assert producer.produce("old", batch(b"new")).base_offset == BATCHES + number
    assert producer.values("old", BATCHES + 49) == [b"new"], "and consumers at the tail go on"
    assert has_nothing(consumer)
    gate.is_open.set()
    (part,) = consumer.receive().responses[0].partitions
    assert offsets_in(part)[0] == 10


def test_one_thread_does_for_a_look_up(broker: Broker, gate: Gate) -> None:
    consumer = filled(broker)
    gate.is_open.set()
    assert offsets_in(consumer.fetch("old", 10))[0] == 10
    assert gate.passed == 1
    assert offsets_in(consumer.fetch("old", 10))[0] == 10
    assert gate.passed == 1, "what is cached needs none"


def test_answers_keep_the_order_of_their_requests(broker: Broker, gate: Gate) -> None:
    client = filled(broker)
    client.send(fetch_request({("old", 0): 10}), 12)
    client.send(by_time("old", -1), 7)
    client.send(fetch_request({("old", 0): BATCHES}), 12)
    client.send(by_time("old", 1_050), 7)
    gate.wait_for_somebody()
    gate.wait_for_somebody()
    assert has_nothing(client)
    gate.is_open.set()
    assert offsets_in(client.receive().responses[0].partitions[0])[0] == 10
    assert client.receive().topics[0].partitions[0].offset == BATCHES
    assert client.receive().responses[0].partitions[0].records == b""
    assert client.receive().topics[0].partitions[0].offset == 50


def test_client_that_has_gone_meanwhile_is_forgotten(broker: Broker, gate: Gate) -> None:
    for request, version in ((fetch_request({("old", 0): 10}), 12), (by_time("old", 1_050), 7)):
        client = filled(broker) if not gate.passed else broker.connect()
        evict(broker.config.log_dirs[0])
        client.send(request, version)
        gate.wait_for_somebody()
        client.close()
        broker.wait_for(lambda app: not app.listeners.connections)
        gate.is_open.set()
        broker.wait_for(lambda app: not app._background)
        gate.is_open.clear()
    gate.is_open.set()
    assert offsets_in(broker.connect().fetch("old", 10))[0] == 10


def test_nothing_more_is_looked_up_for_a_client_that_has_gone(broker: Broker, gate: Gate) -> None:
    client = filled(broker, partitions=3 * cold_reads.PIECE)
    client.send(fetch_request({("old", n): 10 for n in range(3 * cold_reads.PIECE)}), 12)
    gate.wait_for_somebody()
    client.close()
    broker.wait_for(lambda app: not app.listeners.connections)
    gate.is_open.set()
    broker.wait_for(lambda app: not app._background)
    assert gate.passed == 1, "a piece of what was asked for"


def test_topic_that_was_deleted_meanwhile_is_unknown(broker: Broker, gate: Gate) -> None:
    client = filled(broker)
    client.send(fetch_request({("old", 0): 10}), 12)
    client.send(by_time("old", 1_050), 7)
    gate.wait_for_somebody()
    gate.wait_for_somebody()
    other = broker.connect()
    assert other.ask(DeleteTopicsRequest(topic_names=["old"], timeout_ms=5000), 4).responses[0].error_code == NONE
    gate.is_open.set()
    assert client.receive().responses[0].partitions[0].error_code == UNKNOWN_TOPIC
    assert client.receive().topics[0].partitions[0].error_code == UNKNOWN_TOPIC


def test_offset_that_retention_takes_meanwhile_is_out_of_range(broker: Broker, gate: Gate) -> None:
    client = filled(broker)
    client.send(fetch_request({("old", 0): 10}), 12)
    gate.wait_for_somebody()
    broker.call(lambda app: app.context.replicas.get("old", 0).log.maybe_increment_log_start_offset(50))
    gate.is_open.set()
    assert client.receive().responses[0].partitions[0].error_code == 1


def test_times_are_looked_up_without_a_wait_of_the_loop(broker: Broker) -> None:
    client = filled(broker)
    before = broker.call(lambda app: bytes_read())
    for timestamp, offset in ((1_000, 0), (1_050, 50), (1_099, 99), (1_100, -1), (-3, 99)):
        assert client.ask(by_time("old", timestamp), 7).topics[0].partitions[0].offset == offset
        evict(broker.config.log_dirs[0])
    assert broker.call(lambda app: bytes_read()) == before


def test_old_records_that_are_too_few_wait_for_more(broker: Broker, gate: Gate) -> None:
    client = filled(broker)
    request = fetch_request({("old", 0): BATCHES - 1}, min_bytes=len(VALUE) + 1_000, max_wait_ms=20_000)
    broker.call(lambda app: app.context.replicas.get("old", 0).log.forget_positions())
    client.send(request, 12)
    gate.wait_for_somebody()
    gate.is_open.set()
    broker.wait_for(lambda app: len(app.context.deliver.fetches) == 1)
    assert has_nothing(client)
    broker.connect().produce("old", batch(VALUE))
    assert offsets_in(client.receive().responses[0].partitions[0]) == [BATCHES - 1, BATCHES]


def test_records_that_got_cold_while_others_were_waited_for_are_read_again(broker: Broker, gate: Gate) -> None:
    gate.is_open.set()
    client = filled(broker, partitions=2)
    offsets = {("old", 0): 10, ("old", 1): BATCHES}
    client.ask(fetch_request(offsets, partition_max_bytes=10_000), 12)
    client.send(fetch_request(offsets, partition_max_bytes=10_000, min_bytes=15_000, max_wait_ms=20_000), 12)
    broker.wait_for(lambda app: len(app.context.deliver.fetches) == 1)
    evict(broker.config.log_dirs[0])
    passed = gate.passed
    broker.connect().produce("old", batch(VALUE), partition=1)
    parts = client.receive().responses[0].partitions
    assert [offsets_in(part)[0] for part in parts] == [10, BATCHES]
    assert gate.passed > passed


@pytest.mark.parametrize(
    "ask", [lambda client: client.fetch("old", 10), lambda client: client.ask(by_time("old", 1_050), 7)]
)
def test_pages_that_are_dropped_as_they_come_are_waited_for_in_the_end(
    broker: Broker, ask: Callable[[Client], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = filled(broker)
    attempts = []
    monkeypatch.setattr(cold_reads, "bring_in_all", lambda missing: attempts.append(missing))
    ask(client)
    assert len(attempts) == 2


def test_a_broker_stops_while_a_thread_waits_for_the_disk(broker: Broker, gate: Gate) -> None:
    client = filled(broker)
    client.send(fetch_request({("old", 0): 10}), 12)
    gate.wait_for_somebody()
    threading.Timer(0.05, gate.is_open.set).start()
    broker.stop()
    assert gate.passed == 1
