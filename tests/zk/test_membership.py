"""Joining and leaving a cluster, and the topics of one: a real ZooKeeper, and one or two kstore brokers."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions
from kazoo.client import KazooClient

from kstore.protocol.messages.create_topics import CreateTopicsRequest
from kstore.protocol.messages.delete_topics import DeleteTopicsRequest
from tests.fix_broker import Client
from tests.judge.java import JudgeError
from tests.judge.kafka import ZooKeeper
from tests.judge.kstore import KstoreServer
from tests.zk.members import (
    Ledger,
    bootstrap,
    consumed,
    create_topic,
    eventually,
    kstore_member,
    partition_of,
    wait_for_isr,
    wait_for_leader,
)

pytestmark = pytest.mark.kafka

NOT_CONTROLLER = 41


@contextmanager
def znodes(zookeeper: ZooKeeper) -> Iterator[KazooClient]:
    client = KazooClient(zookeeper.connect)
    client.start(10)
    try:
        yield client
    finally:
        client.stop()
        client.close()


def json_at(client: KazooClient, path: str) -> Any:
    return json.loads(client.get(path)[0])


def test_a_broker_writes_what_kafka_would(zookeeper_of_its_own: ZooKeeper, tmp_path: Path) -> None:
    with kstore_member(tmp_path, 7, zookeeper_of_its_own) as broker, znodes(zookeeper_of_its_own) as client:
        create_topic([broker], "orders", [[7]], retention_ms="5000")
        cluster_id = json_at(client, "/cluster/id")["id"]
        properties = (broker.log_directory / "meta.properties").read_text().split()
        assert properties == [f"cluster.id={cluster_id}", "broker.id=7", "version=0"]
        assert json_at(client, "/controller")["brokerid"] == 7
        assert client.get("/controller_epoch")[0] == b"1"
        registration = json_at(client, "/brokers/ids/7")
        assert registration["endpoints"] == [f"PLAINTEXT://127.0.0.1:{broker.port}"]
        assert json_at(client, "/brokers/topics/orders")["partitions"] == {"0": [7]}
        state = {"controller_epoch": 1, "leader": 7, "version": 1, "leader_epoch": 0, "isr": [7]}
        found = json_at(client, "/brokers/topics/orders/partitions/0/state")
        # What is kstore's own, and Kafka passes over.
        assert found.pop("kstore_isr_incarnations") == {"7": registration["kstore_incarnation"]}
        assert found == state
        assert json_at(client, "/config/topics/orders") == {"version": 1, "config": {"retention.ms": "5000"}}
        assert not (broker.log_directory / "__cluster_metadata-0").exists()
        broker.stop()
        assert not client.exists("/brokers/ids/7")
        assert not client.exists("/controller")
        broker.start()
        assert partition_of([broker], "orders").leader == 7
        assert json_at(client, "/brokers/ids/7")["kstore_incarnation"] == registration["kstore_incarnation"]


def test_a_directory_of_a_node_on_its_own_is_refused_and_left_alone(
    zookeeper_of_its_own: ZooKeeper, tmp_path: Path
) -> None:
    broker = kstore_member(tmp_path, 1, zookeeper_of_its_own)
    with KstoreServer(broker.log_directory, overrides={"node.id": "1"}) as alone:
        alone.stop()
    before = (broker.log_directory / "meta.properties").read_bytes()
    with pytest.raises(JudgeError, match=r"zookeeper\.connect would forget them"):
        broker.start()
    assert (broker.log_directory / "meta.properties").read_bytes() == before


def test_a_zookeeper_that_is_not_there_stops_the_start(zookeeper_of_its_own: ZooKeeper, tmp_path: Path) -> None:
    zookeeper_of_its_own.stop()
    broker = kstore_member(tmp_path, 1, zookeeper_of_its_own, {"zookeeper.connection.timeout.ms": "500"})
    with pytest.raises(JudgeError, match=r"zookeeper\.connect: .* gave no answer within 500 ms"):
        broker.start()


def test_a_broker_that_stops_hands_over_before_it_goes(zookeeper_of_its_own: ZooKeeper, tmp_path: Path) -> None:
    one, two = (kstore_member(tmp_path, number, zookeeper_of_its_own) for number in (1, 2))
    with one, two:
        create_topic([one, two], "orders", [[1, 2]])
        ledger = Ledger([one, two], "orders")
        ledger.produce(100)
        ledger.flush()
        one.stop()
        found = wait_for_leader([two], "orders", 2, timeout=3)
        assert set(found.isrs) == {2}
        ledger.produce(100)
        ledger.flush()
        one.start()
        wait_for_isr([one, two], "orders", {1, 2})
        assert not ledger.failed
        assert consumed([one, two], "orders", 200) == ledger.acknowledged


def test_a_follower_that_sleeps_leaves_the_isr_and_comes_back(zookeeper_of_its_own: ZooKeeper, tmp_path: Path) -> None:
    # Its session outlives its sleep: the leader has to notice.
    patient = {"zookeeper.session.timeout.ms": "10000", "replica.lag.time.max.ms": "1500"}
    one, two = (kstore_member(tmp_path, number, zookeeper_of_its_own, patient) for number in (1, 2))
    with one, two:
        create_topic([one, two], "orders", [[1, 2]])
        ledger = Ledger([one], "orders")
        two.signal(signal.SIGSTOP)
        try:
            ledger.produce(10)
            ledger.flush()
            assert set(partition_of([one], "orders").isrs) == {1}
        finally:
            two.signal(signal.SIGCONT)
        wait_for_isr([one], "orders", {1, 2})
        assert not ledger.failed


def test_topics_are_changed_by_the_controller_alone(zookeeper_of_its_own: ZooKeeper, tmp_path: Path) -> None:
    one, two = (kstore_member(tmp_path, number, zookeeper_of_its_own) for number in (1, 2))
    with one, two, znodes(zookeeper_of_its_own) as zk:
        with Client(two.port) as client:
            wanted = CreateTopicsRequest.CreatableTopic(name="orders", num_partitions=1, replication_factor=2)
            (refused,) = client.ask(CreateTopicsRequest(topics=[wanted]), 7).topics
            assert refused.error_code == NOT_CONTROLLER
            doomed = DeleteTopicsRequest.DeleteTopicState(name="orders")
            (refused,) = client.ask(DeleteTopicsRequest(topics=[doomed]), 6).responses
            assert (refused.name, refused.error_code) == ("orders", NOT_CONTROLLER)
        create_topic([one, two], "orders", [[1, 2]])
        admin = AdminClient({"bootstrap.servers": bootstrap([one, two])})
        admin.create_partitions([NewPartitions("orders", 3)])["orders"].result(20)
        assert len(admin.list_topics("orders", timeout=10).topics["orders"].partitions) == 3

        entry = ConfigEntry("retention.ms", "7000", incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ConfigResource.Type.TOPIC, "orders", incremental_configs=[entry])
        admin.incremental_alter_configs([resource])[resource].result(20)
        for each in (one, two):

            def told(port: str = each.bootstrap) -> str:
                asked = ConfigResource(ConfigResource.Type.TOPIC, "orders")
                admin = AdminClient({"bootstrap.servers": port})
                return str(admin.describe_configs([asked])[asked].result(20)["retention.ms"].value)

            eventually(told, wanted=lambda value: value == "7000")

        admin.delete_topics(["orders"])["orders"].result(20)
        eventually(lambda: zk.exists("/brokers/topics/orders"), wanted=lambda found: found is None)
        assert not zk.exists("/config/topics/orders")
        assert zk.get_children("/admin/delete_topics") == []
        for each in (one, two):
            assert not each.partition_directory("orders").exists()
        with pytest.raises(KafkaException):
            admin.delete_topics(["orders"])["orders"].result(20)


def test_a_topic_that_a_client_asks_a_follower_for_is_made(zookeeper_of_its_own: ZooKeeper, tmp_path: Path) -> None:
    one, two = (kstore_member(tmp_path, number, zookeeper_of_its_own) for number in (1, 2))
    with one, two:
        ledger = Ledger([two], "made-by-asking", **{"allow.auto.create.topics": True, "enable.idempotence": True})
        ledger.produce(10)
        ledger.flush()
        assert not ledger.failed


def test_a_group_is_coordinated_by_whoever_leads_its_partition(zookeeper_of_its_own: ZooKeeper, tmp_path: Path) -> None:
    replicated = {"offsets.topic.replication.factor": "2", "offsets.topic.num.partitions": "1"}
    one, two = (kstore_member(tmp_path, number, zookeeper_of_its_own, replicated) for number in (1, 2))
    with one, two:
        create_topic([one, two], "orders", [[1, 2]])
        # Broker 2 does not control, and has the topic of the groups made.
        options = {"bootstrap.servers": two.bootstrap, "group.id": "g", "enable.auto.commit": False}
        consumer = Consumer(options)
        consumer.commit(offsets=[TopicPartition("orders", 0, 7)], asynchronous=False)
        leader = wait_for_isr([one, two], "__consumer_offsets", {1, 2}).leader
        doomed, survivor = (one, two) if leader == 1 else (two, one)
        doomed.kill()
        wait_for_leader([survivor], "__consumer_offsets", 3 - leader)
        consumer.close()
        consumer = Consumer(options | {"bootstrap.servers": survivor.bootstrap})
        (found,) = consumer.committed([TopicPartition("orders", 0)], timeout=20)
        assert found.offset == 7
        consumer.close()
