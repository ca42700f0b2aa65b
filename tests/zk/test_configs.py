"""Configurations in a cluster: any broker reads and changes them, whatever it holds, and nothing is overwritten."""

import threading
from pathlib import Path

import pytest

from tests.judge.kafka import ZooKeeper
from tests.zk.members import create_topic, eventually, kafka_member, kstore_member
from tests.zk.wishes import BROKER, configs_of, json_at, set_configs, znodes

pytestmark = pytest.mark.kafka


def test_a_broker_without_a_replica_changes_a_key_and_keeps_the_others(
    zookeeper_of_its_own: ZooKeeper, tmp_path: Path
) -> None:
    # The first one controls, the second one has the only replica: both had lost what they had not read.
    one, two = (kstore_member(tmp_path, number, zookeeper_of_its_own) for number in (1, 2))
    with one, two, znodes(zookeeper_of_its_own) as zk:
        create_topic([one, two], "orders", [[2]], min_insync_replicas="2")
        for broker, key in ((one, "retention_ms"), (two, "segment_ms"), (one, "max_message_bytes")):
            assert set_configs(broker.port, "orders", **{key: "7000"}) == 0
        wanted = {
            "min.insync.replicas": "2",
            "retention.ms": "7000",
            "segment.ms": "7000",
            "max.message.bytes": "7000",
        }
        assert json_at(zk, "/config/topics/orders")["config"] == wanted
        for broker in (one, two):
            assert configs_of(broker.port, "orders", *wanted) == wanted


def test_changes_at_the_same_moment_are_all_there_afterwards(zookeeper_of_its_own: ZooKeeper, tmp_path: Path) -> None:
    one, two = (kstore_member(tmp_path, number, zookeeper_of_its_own) for number in (1, 2))
    keys = [
        "retention_ms",
        "segment_ms",
        "max_message_bytes",
        "flush_ms",
        "segment_index_bytes",
        "file_delete_delay_ms",
    ]
    with one, two, znodes(zookeeper_of_its_own) as zk:
        create_topic([one, two], "orders", [[1, 2]])
        codes: list[int] = []

        def change(port: int, key: str) -> None:
            codes.append(set_configs(port, "orders", **{key: "9000"}))

        ports = [one.port, two.port] * 3
        threads = [threading.Thread(target=change, args=pair) for pair in zip(ports, keys, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert codes == [0] * len(keys)
        found = json_at(zk, "/config/topics/orders")["config"]
        assert found == {key.replace("_", "."): "9000" for key in keys}


def test_kafka_and_kstore_take_each_others_changes(zookeeper_of_its_own: ZooKeeper, tmp_path: Path) -> None:
    kstore = kstore_member(tmp_path, 1, zookeeper_of_its_own)
    kafka = kafka_member(tmp_path, 2, zookeeper_of_its_own)
    try:
        kstore.start()
        kafka.start()
        create_topic([kstore, kafka], "orders", [[1, 2]])
        assert set_configs(kafka.port, "orders", retention_ms="5000") == 0
        assert set_configs(kstore.port, "orders", segment_ms="6000") == 0
        for broker in (kstore, kafka):
            found = configs_of(broker.port, "orders", "retention_ms", "segment_ms")
            assert found == {"retention.ms": "5000", "segment.ms": "6000"}
        # Each has taken it into its running log, not only read it for the answer.
        said = "the configuration of orders is {'retention.ms': '5000', 'segment.ms': '6000'}"
        eventually(kstore.log_text, wanted=lambda text: said in text)
    finally:
        kstore.kill()
        kafka.kill()


def test_a_topic_that_is_gone_is_not_configured(zookeeper_of_its_own: ZooKeeper, tmp_path: Path) -> None:
    with kstore_member(tmp_path, 1, zookeeper_of_its_own) as broker, znodes(zookeeper_of_its_own) as zk:
        assert set_configs(broker.port, "none", retention_ms="1") == 3
        assert not zk.exists("/config/topics/none")


def test_brokers_are_configured_for_themselves_and_together(zookeeper_of_its_own: ZooKeeper, tmp_path: Path) -> None:
    one, two = (kstore_member(tmp_path, number, zookeeper_of_its_own) for number in (1, 2))
    with one, two, znodes(zookeeper_of_its_own) as zk:
        create_topic([one, two], "orders", [[1, 2]])
        assert set_configs(one.port, "", kind=BROKER, log_retention_ms="70000000", message_max_bytes="2000000") == 0
        assert set_configs(two.port, "2", kind=BROKER, log_retention_ms="80000000") == 0
        assert json_at(zk, "/config/brokers/2")["config"] == {"log.retention.ms": "80000000"}
        together = {"log.retention.ms": "70000000", "message.max.bytes": "2000000"}
        assert json_at(zk, "/config/brokers/<default>")["config"] == together
        two.stop()
        two.start()
        for broker, retention in ((one, "70000000"), (two, "80000000")):
            eventually(
                lambda port=broker.port: configs_of(port, "orders", "retention_ms", "max_message_bytes"),
                wanted=lambda found, value=retention: found == {"retention.ms": value, "max.message.bytes": "2000000"},
            )
        # A broker's own are set by itself.
        assert set_configs(one.port, "2", kind=BROKER, log_retention_ms="1") == 42
