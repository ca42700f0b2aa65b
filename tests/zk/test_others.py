"""What Kafka's brokers and scripts write to ZooKeeper themselves is seen by a kstore that controls."""

import json
from pathlib import Path

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from tests.judge.kafka import ZooKeeper
from tests.zk.members import (
    Ledger,
    bootstrap,
    create_topic,
    eventually,
    kafka_member,
    kstore_member,
    partition_of,
    wait_for_isr,
    wait_for_leader,
)
from tests.zk.wishes import configs_of, json_at, write, znodes

pytestmark = pytest.mark.kafka


def test_a_topic_that_a_script_writes_is_led_and_grows_and_goes(
    zookeeper_of_its_own: ZooKeeper, tmp_path: Path
) -> None:
    one, two = (kstore_member(tmp_path, number, zookeeper_of_its_own) for number in (1, 2))
    path = "/brokers/topics/orders"
    with one, two, znodes(zookeeper_of_its_own) as zk:
        write(zk, "/config/topics/orders", {"version": 1, "config": {"retention.ms": "7000"}})
        # Of before topics had ids: it gets one.
        write(zk, path, {"version": 1, "partitions": {"0": [1, 2]}})
        wait_for_isr([one, two], "orders", {1, 2})
        assert json_at(zk, path)["topic_id"]
        assert configs_of(two.port, "orders", "retention_ms") == {"retention.ms": "7000"}
        ledger = Ledger([one, two], "orders")
        ledger.produce(10)
        ledger.flush()
        for count in (2, 3):  # what is watched is watched again
            found = json_at(zk, path)
            found["partitions"][str(count - 1)] = [2, 1]
            zk.set(path, json.dumps(found).encode())
            eventually(
                lambda index=count - 1: partition_of([one], "orders", index),
                wanted=lambda part: part is not None and part.leader == 2,
            )
        write(zk, "/admin/delete_topics/orders", {})
        eventually(lambda: zk.exists(path), wanted=lambda there: there is None)
        assert not zk.exists("/admin/delete_topics/orders")
        assert not one.partition_directory("orders").exists()
        # The name is free again.
        create_topic([one, two], "orders", [[2, 1]])
        wait_for_leader([one, two], "orders", 2)
        assert configs_of(one.port, "orders", "retention_ms") != {"retention.ms": "7000"}
        assert not ledger.failed


def test_in_sync_replicas_that_a_broker_has_written_itself_are_told_to_all(
    zookeeper_of_its_own: ZooKeeper, tmp_path: Path
) -> None:
    one, two = (kstore_member(tmp_path, number, zookeeper_of_its_own) for number in (1, 2))
    path = "/brokers/topics/orders/partitions/0/state"
    with one, two, znodes(zookeeper_of_its_own) as zk:
        create_topic([one, two], "orders", [[1, 2]])
        wait_for_isr([two], "orders", {1, 2})
        # As a broker of before AlterPartition does.
        zk.set(path, json.dumps(json_at(zk, path) | {"isr": [1]}).encode())
        news = {"version": 1, "partitions": [{"topic": "orders", "partition": 0}]}
        zk.create("/isr_change_notification/isr_change_", json.dumps(news).encode(), sequence=True)
        eventually(lambda: zk.get_children("/isr_change_notification"), wanted=lambda found: found == [])
        wait_for_isr([two], "orders", {1}, timeout=10)
        # What the controller writes next fits what is there.
        one.kill()
        eventually(lambda: json_at(zk, path), wanted=lambda found: found["leader"] == -1 and found["isr"] == [1])


@pytest.mark.slow
def test_a_damaged_topic_is_named_and_left_alone_and_the_others_are_led(
    zookeeper_of_its_own: ZooKeeper, tmp_path: Path
) -> None:
    """Nobody controlled the cluster until it was mended."""
    broker = kstore_member(tmp_path, 1, zookeeper_of_its_own)
    with znodes(zookeeper_of_its_own) as zk:
        zk.create("/brokers/topics/damaged", b"{", makepath=True)
        with broker:
            said = "topic damaged is left alone: znode /brokers/topics/damaged holds"
            eventually(lambda: said in broker.log_text(), wanted=bool)
            create_topic([broker], "orders", [[1]])
            # A wish to delete it waits as well: nobody knows which replicas it has.
            write(zk, "/admin/delete_topics/damaged", {})
            eventually(lambda: "not deleted before it can be understood" in broker.log_text(), wanted=bool)
            assert zk.get("/brokers/topics/damaged")[0] == b"{"
            assert zk.get_children("/admin/delete_topics") == ["damaged"]
            assert int(zk.get("/controller_epoch")[0]) == 1
            zk.set("/brokers/topics/damaged", b'{"version":1,"partitions":{"0":[1]}}')
            wait_for_leader([broker], "damaged", 1)


def test_a_topic_is_not_made_twice_and_keeps_its_configuration(zookeeper_of_its_own: ZooKeeper, tmp_path: Path) -> None:
    with kstore_member(tmp_path, 1, zookeeper_of_its_own) as broker, znodes(zookeeper_of_its_own) as zk:
        create_topic([broker], "orders", [[1]], retention_ms="7000")
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        with pytest.raises(KafkaException, match=r"TOPIC_ALREADY_EXISTS|already"):
            admin.create_topics([NewTopic("orders", 1, 1, config={"retention.ms": "1"})])["orders"].result(20)
        assert json_at(zk, "/config/topics/orders")["config"] == {"retention.ms": "7000"}


def test_a_deletion_waits_for_a_broker_that_is_away(zookeeper_of_its_own: ZooKeeper, tmp_path: Path) -> None:
    one, two = (kstore_member(tmp_path, number, zookeeper_of_its_own) for number in (1, 2))
    with one, two, znodes(zookeeper_of_its_own) as zk:
        create_topic([one, two], "orders", [[1, 2], [2, 1]])
        wait_for_isr([one, two], "orders", {1, 2})
        two.kill()
        wait_for_isr([one], "orders", {1})
        admin = AdminClient({"bootstrap.servers": bootstrap([one])})
        admin.delete_topics(["orders"], request_timeout=20)["orders"].result(30)
        eventually(lambda: one.partition_directory("orders").exists(), wanted=lambda there: not there)
        assert zk.get_children("/admin/delete_topics") == ["orders"]
        with pytest.raises(KafkaException, match=r"TOPIC_ALREADY_EXISTS|already"):
            admin.create_topics([NewTopic("orders", 1, 1)])["orders"].result(20)
        two.start()
        eventually(lambda: zk.exists("/brokers/topics/orders"), wanted=lambda there: there is None)
        assert zk.get_children("/admin/delete_topics") == []
        assert not two.partition_directory("orders").exists()


def test_a_topic_goes_to_as_many_racks_as_it_has_replicas(zookeeper_of_its_own: ZooKeeper, tmp_path: Path) -> None:
    racks = {1: "a", 2: "a", 3: "b"}
    members = [kstore_member(tmp_path, id, zookeeper_of_its_own, {"broker.rack": rack}) for id, rack in racks.items()]
    with members[0], members[1], members[2]:
        admin = AdminClient({"bootstrap.servers": bootstrap(members)})
        admin.create_topics([NewTopic("orders", 6, 2)], request_timeout=20)["orders"].result(30)
        found = eventually(
            lambda: admin.list_topics("orders", timeout=10).topics["orders"].partitions,
            wanted=lambda partitions: len(partitions) == 6,
        )
        for partition in found.values():
            assert {racks[replica] for replica in partition.replicas} == {"a", "b"}, partition.replicas


@pytest.mark.parametrize(
    ("configured", "complaint"),
    [
        (
            {"inter.broker.protocol.version": "3.8", "log.message.format.version": "3.0"},
            r"broker 2 has inter\.broker\.protocol\.version=3\.8",
        ),
        (
            {
                "listeners": "PLAINTEXT://127.0.0.1:{port},OTHER://127.0.0.1:{other}",
                "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,OTHER:PLAINTEXT",
                "inter.broker.listener.name": "OTHER",
            },
            r"broker 2 speaks to brokers on OTHER, this one on PLAINTEXT",
        ),
    ],
    ids=["an older protocol", "another listener"],
)
def test_brokers_that_speak_otherwise_are_not_joined(
    zookeeper_of_its_own: ZooKeeper, tmp_path: Path, configured: dict[str, str], complaint: str
) -> None:
    kafka = kafka_member(tmp_path, 2, zookeeper_of_its_own)
    ports = {"port": kafka.port, "other": kafka.controller_port}
    kafka.overrides |= {key: value.format(**ports) for key, value in configured.items()}
    kstore = kstore_member(tmp_path, 1, zookeeper_of_its_own)
    try:
        kafka.start()
        with pytest.raises(Exception, match=complaint):
            kstore.start()
    finally:
        kstore.kill()
        kafka.kill()
