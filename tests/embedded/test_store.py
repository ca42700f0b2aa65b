"""Several topics in one directory, which is a broker's, and a Kafka's."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka.partitioner.default import murmur2 as kafka_murmur2

import kstore
from tests.embedded.programs import run_program
from tests.fix_broker import StartBroker

NOW = 1_700_000_000_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[kstore.LogStore]:
    with kstore.LogStore.open(tmp_path / "data", background=False) as store:
        yield store


def values(log: kstore.Log | kstore.ReadonlyLog, *where: int) -> list[bytes | None]:
    return [record.value for record in log.read(*where)]


def test_a_topic_has_the_partitions_that_it_was_made_with(store: kstore.LogStore) -> None:
    store.create("orders", partitions=3)
    assert store.topics == {"orders": 3}
    assert "orders" in store
    assert list(store) == ["orders"]
    for partition in range(3):
        store.log("orders", partition).append(b"%d" % partition)
    assert [values(store.log("orders", partition)) for partition in range(3)] == [[b"0"], [b"1"], [b"2"]]
    with pytest.raises(kstore.UnknownTopicOrPartitionError):
        store.log("orders", 3)


def test_a_topic_is_made_once(store: kstore.LogStore) -> None:
    store.create("orders")
    with pytest.raises(kstore.TopicAlreadyExistsError):
        store.create("orders")
    store.create("orders", exist_ok=True, partitions=7)
    assert store.topics == {"orders": 1}


def test_names_that_kafka_refuses_are_refused(store: kstore.LogStore) -> None:
    with pytest.raises(kstore.KafkaError, match="a/b"):
        store.create("a/b")
    assert store.topics == {}


def test_what_was_stored_is_there_after_close_and_open(tmp_path: Path) -> None:
    with kstore.LogStore.open(tmp_path / "data") as store:
        store.create("orders", partitions=2, segment_bytes=1_000_000)
        store.log("orders", 1).append(b"value")
    with kstore.LogStore.open(tmp_path / "data") as store:
        assert store.topics == {"orders": 2}
        assert values(store.log("orders", 1)) == [b"value"]
        assert store._host.replicas.get("orders", 1).log.config.segment_bytes == 1_000_000


def test_what_was_stored_is_there_after_a_kill(tmp_path: Path) -> None:
    run_program(
        "import kstore, os, signal, sys\n"
        "store = kstore.LogStore.open(sys.argv[1])\n"
        "store.create('orders')\n"
        "store.log('orders').extend(b'%d' % i for i in range(100))\n"
        "os.kill(os.getpid(), signal.SIGKILL)",
        tmp_path,
    )
    with kstore.LogStore.open(tmp_path) as store:
        assert values(store.log("orders")) == [b"%d" % i for i in range(100)]


def test_a_topic_can_be_deleted_and_made_again(store: kstore.LogStore) -> None:
    store.create("orders")
    old = store.log("orders")
    old.append(b"old")
    store.delete("orders")
    with pytest.raises(kstore.UnknownTopicOrPartitionError, match="was deleted"):
        old.append(b"late")
    with pytest.raises(kstore.UnknownTopicOrPartitionError, match="was deleted"):
        old.flush()
    with pytest.raises(kstore.UnknownTopicOrPartitionError, match="was deleted"):
        next(old.follow())
    with pytest.raises(kstore.UnknownTopicOrPartitionError, match="no topic 'orders'"):
        store.delete("orders")
    store.create("orders")
    assert values(store.log("orders")) == []


def test_a_topic_can_grow_but_not_shrink(store: kstore.LogStore) -> None:
    store.create("orders")
    store.grow("orders", 3)
    assert store.topics == {"orders": 3}
    store.log("orders", 2).append(b"value")
    with pytest.raises(kstore.KafkaError, match="cannot shrink"):
        store.grow("orders", 2)


def test_options_of_a_topic_change_while_its_logs_are_open(tmp_path: Path) -> None:
    clock = kstore.ManualClock(NOW)
    with kstore.LogStore.open(tmp_path, clock=clock, background=False) as store:
        store.create("orders")
        log = store.log("orders")
        log.append(b"value")
        clock.advance(10_000_000)
        store.tend()
        assert values(log) == [b"value"]
        store.configure("orders", retention_ms=1000)
        clock.advance(10_000_000)
        store.tend()
        assert (log.start_offset, log.end_offset) == (1, 1)


def test_the_codec_of_the_topic_is_that_of_its_batches(store: kstore.LogStore) -> None:
    store.create("orders", compression_type="zstd")
    store.create("others")
    for topic in store:
        store.log(topic, compression="lz4").append(bytes(1000))
    codecs = [batch.compression for topic in ("orders", "others") for batch in store.log(topic).read_batches()]
    assert codecs == [4, 3]


def test_keys_belong_to_the_partition_that_kafka_says(store: kstore.LogStore) -> None:
    store.create("orders", partitions=7)
    for i in range(300):
        key = bytes(range(i % 11)) + b"key-%d" % i
        assert store.partition_for("orders", key) == (kafka_murmur2(key) & 0x7FFFFFFF) % 7
    with pytest.raises(kstore.UnknownTopicOrPartitionError):
        store.partition_for("others", b"key")


def test_logs_of_a_closed_store_are_closed(tmp_path: Path) -> None:
    store = kstore.LogStore.open(tmp_path)
    store.create("orders")
    log = store.log("orders")
    store.close()
    store.close()
    with pytest.raises(kstore.ClosedError):
        log.append(b"")
    with pytest.raises(kstore.ClosedError):
        store.create("others")
    with pytest.raises(kstore.ClosedError), store:
        pass


def test_a_log_can_be_closed_before_its_store(store: kstore.LogStore) -> None:
    store.create("orders")
    with store.log("orders") as log:
        log.append(b"value")
    with pytest.raises(kstore.ClosedError):
        log.append(b"")
    assert values(store.log("orders")) == [b"value"]


def test_a_store_in_memory_leaves_nothing() -> None:
    with kstore.LogStore.open(None) as store:
        store.create("orders")
        store.log("orders").append(b"value")
        store.flush()
        assert os.path.isdir(store.path)
    assert not os.path.exists(store.path)


def test_a_broker_serves_what_a_store_has_made_and_the_other_way_round(
    tmp_path: Path, start_broker: StartBroker
) -> None:
    with kstore.LogStore.open(tmp_path / "data") as store:
        store.create("orders", partitions=2)
        store.log("orders", 1).append(b"from the store", timestamp_ms=NOW)
    broker = start_broker(tmp_path / "data")
    client = broker.connect()
    assert client.values("orders", partition=1) == [b"from the store"]
    client.create_topic("others")
    broker.stop()
    with kstore.LogStore.open(tmp_path / "data") as store:
        assert store.topics == {"orders": 2, "others": 1}
        store.log("others").append(b"value")


def test_a_directory_that_a_broker_uses_says_by_whom(tmp_path: Path, start_broker: StartBroker) -> None:
    start_broker(tmp_path / "data")
    with pytest.raises(kstore.DirectoryInUseError, match="this process"):
        kstore.LogStore.open(tmp_path / "data")


def test_a_store_takes_a_single_log_in(tmp_path: Path) -> None:
    with kstore.Log.open(tmp_path / "events") as log:
        log.extend([b"0", b"1"])
    for _ in range(2):
        with kstore.LogStore.open(tmp_path / "events") as store:
            assert store.topics == {"log": 1}
            assert values(store.log("log"))[:2] == [b"0", b"1"]
            store.log("log").append(b"more")
    with pytest.raises(kstore.ConfigError, match=r"LogStore\.open opens it"):
        kstore.Log.open(tmp_path / "events")


def test_a_store_takes_partitions_of_elsewhere_in_with_their_topic_ids(tmp_path: Path) -> None:
    with kstore.LogStore.open(tmp_path / "first") as first:
        first.create("orders", partitions=3)
        first.log("orders", 2).append(b"value")
        topic_id = first._host.metadata.image.topics["orders"].id
    (tmp_path / "second").mkdir()
    (tmp_path / "first" / "orders-2").rename(tmp_path / "second" / "orders-2")
    with kstore.LogStore.open(tmp_path / "second") as second:
        assert second.topics == {"orders": 3}
        assert values(second.log("orders", 2)) == [b"value"]
        assert values(second.log("orders", 0)) == []
        assert second._host.metadata.image.topics["orders"].id == topic_id


def test_a_path_that_log_dirs_cannot_say_is_refused(tmp_path: Path) -> None:
    with pytest.raises(kstore.ConfigError, match="commas"):
        kstore.LogStore.open(tmp_path / "a,b")


def test_a_forked_child_is_refused(tmp_path: Path) -> None:
    done = run_program(
        """
import os, sys, kstore
store = kstore.LogStore.open(sys.argv[1], background=False)
store.create("orders")
log = store.log("orders")
child = os.fork()
if not child:
    for use in (lambda: log.append(b""), lambda: store.create("x"), lambda: store.topics):
        try:
            use()
        except kstore.ForkedError as error:
            print("refused", flush=True)
    store.close()
    os._exit(0)
os.waitpid(child, 0)
log.append(b"parent")
store.close()
print(sorted(os.listdir(sys.argv[1])).count(".kafka_cleanshutdown"))
""",
        tmp_path,
    )
    assert done.stdout.splitlines() == ["refused"] * 3 + ["1"]
