"""Replicas move from broker to broker, under load, whoever controls and whoever goes in between."""

import json
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient

from tests.judge.kafka import ZooKeeper
from tests.judge.kstore import KstoreServer
from tests.judge.tools import KafkaTools
from tests.zk.members import (
    Ledger,
    Member,
    bootstrap,
    consumed,
    create_topic,
    eventually,
    kafka_member,
    kstore_member,
    partition_of,
    wait_for_leader,
    wait_for_same_logs,
)
from tests.zk.wishes import json_at, reassign, reassigned, reassignments, write, znodes

pytestmark = pytest.mark.kafka

NOT_CONTROLLER, BAD_ASSIGNMENT, NONE_IN_PROGRESS = 41, 39, 85


@pytest.fixture
def three(zookeeper_of_its_own: ZooKeeper, tmp_path: Path) -> Iterator[list[KstoreServer]]:
    """Three brokers, of which the first one controls. Their sessions outlive that one of them sleeps for a moment."""
    patient = {"zookeeper.session.timeout.ms": "8000"}
    members = [kstore_member(tmp_path, number, zookeeper_of_its_own, patient) for number in (1, 2, 3)]
    with members[0], members[1], members[2]:
        yield members


def wait_for_replicas(members: Sequence[Member], topic: str, replicas: list[int], timeout: float = 40) -> Any:
    return eventually(
        lambda: partition_of(members, topic),
        wanted=lambda found: (
            found is not None and list(found.replicas) == replicas and set(found.isrs) == set(replicas)
        ),
        timeout=timeout,
        what=f"replicas should be {replicas}",
    )


def test_replicas_move_and_nothing_is_lost(three: list[KstoreServer], zookeeper_of_its_own: ZooKeeper) -> None:
    one, two, three_ = three
    create_topic(three, "orders", [[1, 2]])
    ledger = Ledger(three, "orders")
    ledger.produce(500)
    ledger.flush()
    assert reassign(two.port, "orders", {0: [3, 2]}).error_code == NOT_CONTROLLER
    assert reassigned(reassign(one.port, "orders", {0: [3, 2], 9: [1]})) == {0: 0, 9: 3}
    ledger.produce(500)
    # The leader moves with its replica.
    wait_for_replicas(three, "orders", [3, 2])
    wait_for_leader(three, "orders", 3)
    ledger.produce(500)
    ledger.flush()
    assert not ledger.failed
    assert consumed(three, "orders", 1500) == ledger.acknowledged
    wait_for_same_logs([two, three_], "orders")
    eventually(lambda: one.partition_directory("orders").exists(), wanted=lambda found: not found)
    assert reassignments(one.port) == {}
    assert reassigned(reassign(one.port, "orders", {0: None})) == {0: NONE_IN_PROGRESS}
    assert reassigned(reassign(one.port, "orders", {0: [1, 8]})) == {0: BAD_ASSIGNMENT}
    with znodes(zookeeper_of_its_own) as zk:
        found = json_at(zk, "/brokers/topics/orders")
        assert (found["partitions"], found["adding_replicas"], found["removing_replicas"]) == ({"0": [3, 2]}, {}, {})


def test_what_waits_for_a_broker_is_listed_and_cancelled(
    three: list[KstoreServer], zookeeper_of_its_own: ZooKeeper
) -> None:
    one, _, three_ = three
    create_topic(three, "orders", [[1, 2]])
    ledger = Ledger(three, "orders")
    ledger.produce(10)
    ledger.flush()
    three_.signal(signal.SIGSTOP)
    try:
        assert reassigned(reassign(one.port, "orders", {0: [3, 2]})) == {0: 0}
        assert reassignments(one.port) == {("orders", 0): ([3, 2, 1], [3], [1])}
        with znodes(zookeeper_of_its_own) as zk:
            found = json_at(zk, "/brokers/topics/orders")
            assert (found["adding_replicas"], found["removing_replicas"]) == ({"0": [3]}, {"0": [1]})
            assert reassigned(reassign(one.port, "orders", {0: None})) == {0: 0}
            assert json_at(zk, "/brokers/topics/orders")["partitions"] == {"0": [2, 1]}
    finally:
        three_.signal(signal.SIGCONT)
    wait_for_replicas([one], "orders", [2, 1])
    eventually(lambda: three_.partition_directory("orders").exists(), wanted=lambda found: not found)
    ledger.produce(10)
    ledger.flush()
    assert not ledger.failed


@pytest.mark.slow
def test_the_next_controller_goes_on(three: list[KstoreServer]) -> None:
    one, two, three_ = three
    create_topic(three, "orders", [[2, 1]])
    ledger = Ledger(three, "orders")
    ledger.produce(100)
    ledger.flush()
    three_.signal(signal.SIGSTOP)
    try:
        assert reassigned(reassign(one.port, "orders", {0: [3, 2]})) == {0: 0}
        one.kill()
        # Another controls: it knows of the wish.
        eventually(lambda: "this broker controls the cluster, in epoch" in two.log_text(), wanted=bool)
    finally:
        three_.signal(signal.SIGCONT)
    wait_for_replicas([two, three_], "orders", [3, 2])
    ledger.produce(100)
    ledger.flush()
    assert not ledger.failed
    assert consumed([two, three_], "orders", 200) == ledger.acknowledged


def test_a_script_reassigns_by_a_znode(three: list[KstoreServer], zookeeper_of_its_own: ZooKeeper) -> None:
    create_topic(three, "orders", [[1, 2]])
    path = "/admin/reassign_partitions"
    with znodes(zookeeper_of_its_own) as zk:
        for replicas in ([3, 2], [2, 1]):
            moves = [
                {"topic": "orders", "partition": 0, "replicas": replicas},
                {"topic": "none", "partition": 0, "replicas": [1]},
            ]
            write(zk, path, {"version": 1, "partitions": moves})
            wait_for_replicas(three, "orders", replicas)
            eventually(lambda: zk.exists(path), wanted=lambda found: found is None)


def test_a_topic_under_reassignment_is_deleted_when_all_brokers_are_there(
    three: list[KstoreServer], zookeeper_of_its_own: ZooKeeper
) -> None:
    one, _, three_ = three
    create_topic(three, "orders", [[1, 2]])
    three_.signal(signal.SIGSTOP)
    with znodes(zookeeper_of_its_own) as zk:
        try:
            assert reassigned(reassign(one.port, "orders", {0: [3, 2]})) == {0: 0}
            admin = AdminClient({"bootstrap.servers": bootstrap([one])})
            admin.delete_topics(["orders"], request_timeout=20)["orders"].result(30)
            assert zk.get_children("/admin/delete_topics") == ["orders"]
        finally:
            three_.signal(signal.SIGCONT)
        eventually(lambda: zk.exists("/brokers/topics/orders"), wanted=lambda found: found is None)
        assert zk.get_children("/admin/delete_topics") == []
        assert not zk.exists("/config/topics/orders")
    for member in three:
        directory = member.partition_directory("orders")
        eventually(directory.exists, wanted=lambda found: not found)


def test_kafkas_tool_moves_replicas_throttles_them_and_says_when_it_is_done(
    three: list[KstoreServer], zookeeper_of_its_own: ZooKeeper, tools_39: KafkaTools, tmp_path: Path
) -> None:
    create_topic(three, "orders", [[1, 2], [2, 1]])
    ledger = Ledger(three, "orders")
    ledger.produce(100)
    ledger.flush()
    moves = [{"topic": "orders", "partition": index, "replicas": [3, 1 + index]} for index in (0, 1)]
    file = tmp_path / "moves.json"
    file.write_text(json.dumps({"version": 1, "partitions": moves}))

    def tool(*arguments: object) -> str:
        main = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"
        words = ("--bootstrap-server", bootstrap(three), "--reassignment-json-file", file, *arguments)
        return tools_39.run(main, *words)

    assert "Successfully started partition reassignments" in tool("--execute", "--throttle", 50_000_000)
    said = eventually(lambda: tool("--verify"), wanted=lambda found: "still in progress" not in found)
    assert "Reassignment of partition orders-1 is completed." in said, said
    assert "Clearing topic-level throttles on topic orders" in said
    with znodes(zookeeper_of_its_own) as zk:
        assert json_at(zk, "/config/topics/orders")["config"] == {}
        assert json_at(zk, "/config/brokers/3")["config"] == {}
    assert reassignments(three[0].port) == {}
    wait_for_replicas(three, "orders", [3, 1])
    assert consumed(three, "orders", 100) == ledger.acknowledged


@pytest.mark.parametrize("controller", ["kstore", "kafka"])
def test_replicas_move_between_kafka_and_kstore(
    zookeeper_of_its_own: ZooKeeper, tmp_path: Path, controller: str
) -> None:
    """From kstore to Kafka and back, whoever controls."""
    one, two = (kstore_member(tmp_path, number, zookeeper_of_its_own) for number in (1, 2))
    kafka = kafka_member(tmp_path, 3, zookeeper_of_its_own)
    members: list[Member] = [one, two, kafka]
    try:
        for member in members if controller == "kstore" else members[::-1]:
            member.start()
        port = one.port if controller == "kstore" else kafka.port
        create_topic(members, "orders", [[1, 2]])
        ledger = Ledger(members, "orders")
        ledger.produce(500)
        ledger.flush()
        for replicas in ([3, 2], [1, 3], [1, 2]):
            assert reassigned(reassign(port, "orders", {0: replicas})) == {0: 0}
            ledger.produce(200)
            wait_for_replicas(members, "orders", replicas)
        ledger.flush()
        assert not ledger.failed
        assert consumed(members, "orders", 1100) == ledger.acknowledged
        wait_for_same_logs([one, two], "orders")
        eventually(lambda: kafka.partition_directory("orders").exists(), wanted=lambda found: not found)
    finally:
        for member in members:
            member.kill()
