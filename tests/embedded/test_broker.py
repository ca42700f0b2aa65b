"""A whole broker in the test's own process: over memory or a directory, seen by clients and by this process."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition
from kafka.partitioner.default import murmur2

import kstore
from tests.embedded.programs import run_program
from tests.fix_broker import Client, batch, records_in

NOW = 1_700_000_000_000


@pytest.fixture
def broker() -> Iterator[kstore.Broker]:
    with kstore.Broker() as broker:
        yield broker


@pytest.fixture
def client(broker: kstore.Broker) -> Iterator[Client]:
    with Client(broker.port) as client:
        yield client


def values(log: kstore.Log) -> list[bytes | None]:
    return [record.value for record in log.read()]


def test_a_client_reads_at_once_what_is_appended_here(broker: kstore.Broker, client: Client) -> None:
    log = broker.log("orders")
    assert log.append(b"value", key=b"k") == 0
    assert client.values("orders") == [b"value"]
    assert broker.topics == {"orders": 1}
    assert broker.bootstrap_servers == f"127.0.0.1:{broker.port}"


def test_what_a_client_produces_is_read_here(broker: kstore.Broker, client: Client) -> None:
    client.create_topic("orders")
    log = broker.log("orders")
    following = log.follow()
    assert client.produce("orders", batch(b"from afar")).error_code == 0
    assert next(following).value == b"from afar"
    assert values(log) == [b"from afar"]


def test_a_fetch_that_waits_hears_of_an_append_here(broker: kstore.Broker, client: Client) -> None:
    log = broker.log("orders")
    found: list[list[bytes | None]] = []
    waiting = threading.Thread(
        target=lambda: found.append(
            [record.value for record in records_in(client.fetch("orders", 0, max_wait_ms=30_000, min_bytes=1).records)]
        )
    )
    waiting.start()
    deadline = time.monotonic() + 30
    while not broker._host.do(lambda: len(broker._host.app.context.deliver.fetches)):
        assert time.monotonic() < deadline
    log.append(b"value")
    waiting.join()
    assert found == [[b"value"]]


def test_members_of_a_group_need_not_wait_for_others(broker: kstore.Broker) -> None:
    broker.log("orders").extend([b"0", b"1"])
    consumer = Consumer(
        {"bootstrap.servers": broker.bootstrap_servers, "group.id": "here", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe(["orders"])
    assert [message.value() for message in consumer.consume(2, timeout=30)] == [b"0", b"1"]
    assert broker._host.app.context.config.value("group.initial.rebalance.delay.ms") == 0
    consumer.commit(asynchronous=False)
    assert [each.offset for each in consumer.committed([TopicPartition("orders", 0)], timeout=30)] == [2]
    consumer.close()


def test_topics_are_made_and_deleted_here(broker: kstore.Broker) -> None:
    broker.create("orders", partitions=3, retention_ms=1000)
    with pytest.raises(kstore.TopicAlreadyExistsError):
        broker.create("orders")
    broker.create("orders", exist_ok=True)
    assert broker.topics == {"orders": 3}
    log = broker.log("orders", 2)
    broker.delete("orders")
    assert broker.topics == {}
    with pytest.raises(kstore.UnknownTopicOrPartitionError, match="was deleted"):
        log.append(b"late")


def test_no_topic_is_made_where_that_is_forbidden() -> None:
    with (
        kstore.Broker(config={"auto.create.topics.enable": "false"}) as broker,
        pytest.raises(kstore.UnknownTopicOrPartitionError),
    ):
        broker.log("orders")


def test_bad_configuration_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(kstore.ConfigError, match=r"did you mean log\.retention\.hours"):
        kstore.Broker(tmp_path / "data", config={"log.retention.hour": "1"})
    with kstore.Broker() as broker, pytest.raises(OSError, match="cannot listen"):
        kstore.Broker(tmp_path / "data", port=broker.port)
    with kstore.Broker(tmp_path / "data") as again:
        again.log("orders").append(b"value")


def test_a_broker_over_a_directory_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    for expected in range(3):
        with kstore.Broker(tmp_path / "data") as broker:
            assert broker.log("orders").append(b"value") == expected
    assert (tmp_path / "data" / ".kafka_cleanshutdown").exists()


def test_what_cannot_be_opened_leaves_nothing_in_memory() -> None:
    with kstore.Broker() as broker:
        directories = set(os.listdir(os.path.dirname(broker.path)))
        with pytest.raises(OSError, match="cannot listen"):
            kstore.Broker(port=broker.port)
        with pytest.raises(kstore.ConfigError):
            kstore.Broker(config={"nonsense": "1"})
        assert broker.path in {os.path.join(os.path.dirname(broker.path), each) for each in directories}
        mine = f"-{os.getpid()}-"
        left = {each for each in os.listdir(os.path.dirname(broker.path)) if mine in each}
        assert left == {each for each in directories if mine in each}


def test_keys_belong_to_the_partition_that_clients_say(broker: kstore.Broker) -> None:
    broker.create("orders", partitions=3)
    assert broker.partition_for("orders", b"key") == murmur2(b"key") % (1 << 31) % 3


def test_two_brokers_do_not_share_a_directory(tmp_path: Path) -> None:
    with kstore.Broker(tmp_path / "data"), pytest.raises(kstore.DirectoryInUseError, match="this process uses"):
        kstore.Broker(tmp_path / "data")


def test_a_broker_in_memory_leaves_nothing(broker: kstore.Broker) -> None:
    assert os.path.isdir(broker.path)
    broker.close()
    assert not os.path.exists(broker.path)


def test_a_closed_broker_refuses_and_so_do_its_logs() -> None:
    broker = kstore.Broker()
    log = broker.log("orders")
    log.append(b"value")
    broker.close()
    broker.close()
    for use in (lambda: log.append(b""), lambda: broker.topics, lambda: broker.create("x"), broker.tend):
        with pytest.raises(kstore.ClosedError, match="is closed"):
            use()
    with pytest.raises(kstore.ClosedError), broker:
        pass


def test_who_follows_a_log_of_a_broker_that_is_closed_is_told() -> None:
    broker = kstore.Broker()
    threading.Timer(0.01, broker.close).start()
    with pytest.raises(kstore.ClosedError):
        next(broker.log("orders").follow())


def test_follow_ends_when_nothing_comes(broker: kstore.Broker) -> None:
    log = broker.log("orders")
    log.append(b"value")
    assert [record.value for record in log.follow(0, timeout_s=0.01)] == [b"value"]


def test_threads_append_to_a_broker(broker: kstore.Broker) -> None:
    log = broker.log("orders", compression="lz4")

    def work(number: int) -> None:
        for i in range(100):
            log.append(b"%d" % i, key=b"%d" % number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    with log.batch() as batch:
        for i in range(100):
            batch.append(b"%d" % i, key=b"batch")
    for thread in threads:
        thread.join()
    found: dict[bytes | None, list[bytes | None]] = {}
    for record in log.read():
        found.setdefault(record.key, []).append(record.value)
    assert found == {key: [b"%d" % i for i in range(100)] for key in (b"0", b"1", b"2", b"3", b"batch")}


def test_an_append_is_durable_after_a_flush(tmp_path: Path) -> None:
    with kstore.Broker(tmp_path / "data") as broker:
        log = broker.log("orders")
        log.append(b"value")
        log.flush()
        assert log.flushed_offset == 1


def test_the_clock_can_be_moved() -> None:
    clock = kstore.ManualClock(NOW)
    with kstore.Broker(clock=clock, config={"log.retention.ms": "1000"}) as broker:
        log = broker.log("orders")
        log.append(b"value")
        assert next(log.read()).timestamp_ms == NOW
        clock.advance(86_400_000)
        broker.tend()
        assert (log.start_offset, log.end_offset) == (1, 1)


def test_a_broker_that_nobody_closes_ends_in_order_with_the_process(tmp_path: Path) -> None:
    done = run_program(
        "import kstore, sys\n"
        "kstore.Broker(sys.argv[1]).log('orders').append(b'value')\n"
        "broker = kstore.Broker(); broker.log('x').append(b''); print(broker.path)",
        tmp_path / "data",
    )
    assert done.returncode == 0
    assert (tmp_path / "data" / ".kafka_cleanshutdown").exists()
    assert not Path(done.stdout.strip()).exists()


def test_a_forked_child_is_refused_and_the_broker_lives_on() -> None:
    done = run_program(
        """
import os, sys, kstore
broker = kstore.Broker()
log = broker.log("orders")
child = os.fork()
if not child:
    try:
        log.append(b"child")
    except kstore.ForkedError:
        print("refused", flush=True)
    broker.close()
    sys.exit(0)
os.waitpid(child, 0)
log.append(b"parent")
print([record.value for record in log.read()])
broker.close()
"""
    )
    assert done.stdout.splitlines() == ["refused", "[b'parent']"]
