"""A broker that lost its tail in a crash was alone in sync, and comes back: whoever holds more leads (rule 26)."""

from pathlib import Path

import pytest

from kstore.log.incarnation import INCARNATION_FILE, read_boot_id
from tests.judge.kafka import KafkaBroker, ZooKeeper
from tests.zk.members import (
    Ledger,
    Member,
    consumed,
    create_topic,
    eventually,
    kafka_member,
    kstore_member,
    partition_of,
    wait_for_isr,
    wait_for_leader,
)
from tests.zk.wishes import elect, elected, json_at, znodes

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

PREFERRED, PREFERRED_NOT_AVAILABLE = 0, 80
STATE = "/brokers/topics/orders/partitions/0/state"


def lose_the_page_cache(broker: Member) -> None:
    """As after a power cut: nothing of the partition had been brought to disk, nor its checkpoints."""
    directory = broker.partition_directory("orders")
    for file in directory.iterdir():
        if file.suffix in (".log", ".index", ".timeindex", ".snapshot") or file.name == "leader-epoch-checkpoint":
            file.unlink()
    for checkpoint in broker.log_directory.glob("*-checkpoint"):
        checkpoint.unlink()
    incarnation = broker.log_directory / INCARNATION_FILE
    if incarnation.exists():
        incarnation.write_text(incarnation.read_text().replace(read_boot_id(), "an earlier start of the machine"))


@pytest.mark.parametrize("kind", ["kafka", "kstore"])
def test_what_another_replica_holds_is_not_cut_away(zookeeper_of_its_own: ZooKeeper, tmp_path: Path, kind: str) -> None:
    make = kafka_member if kind == "kafka" else kstore_member
    controller = kstore_member(tmp_path, 1, zookeeper_of_its_own)
    unlucky, lagging = (make(tmp_path, number, zookeeper_of_its_own) for number in (2, 3))
    members: list[KafkaBroker | Member] = [controller, unlucky, lagging]
    try:
        for member in members:
            member.start()
        create_topic(members, "orders", [[2, 3]])
        wait_for_isr(members, "orders", {2, 3})
        ledger = Ledger(members, "orders")
        ledger.produce(200)
        ledger.flush()
        lagging.kill()
        wait_for_isr([controller, unlucky], "orders", {2})
        unlucky.kill()
        lose_the_page_cache(unlucky)
        with znodes(zookeeper_of_its_own) as zk:
            offline = eventually(lambda: json_at(zk, STATE), wanted=lambda state: state["leader"] == -1)
            lagging.start()
            eventually(lambda: partition_of([lagging], "orders"), wanted=bool, what="its coming is seen, and answered")
            # One event after the other: what its coming brings has been written when the next one is decided. It is not
            # in sync, and does not lead as long as the other one may hold more.
            assert elected(elect(controller.port, PREFERRED, "orders", 0)) == {("orders", 0): PREFERRED_NOT_AVAILABLE}
            assert json_at(zk, STATE) == offline
            unlucky.start()
            wait_for_leader(members, "orders", 3)
            # Nobody has led in between.
            assert json_at(zk, STATE)["leader_epoch"] == offline["leader_epoch"] + 1
            wait_for_isr(members, "orders", {2, 3})
        assert "nobody is known to hold more" in controller.log_text()
        assert not ledger.failed
        assert consumed(members, "orders", 200) == ledger.acknowledged
    finally:
        for member in members:
            member.kill()


def test_the_only_one_that_holds_all_is_waited_for(zookeeper_of_its_own: ZooKeeper, tmp_path: Path) -> None:
    """Two copies are promised: one was on the broker whose machine crashed, the other is on the one that is away."""
    behind, unlucky, away = members = [kstore_member(tmp_path, number, zookeeper_of_its_own) for number in (1, 2, 3)]
    try:
        for member in members:
            member.start()
        create_topic(members, "orders", [[2, 3, 1]], min_insync_replicas="2")
        wait_for_isr(members, "orders", {1, 2, 3})
        ledger = Ledger(members, "orders")
        ledger.produce(100)
        ledger.flush()
        behind.kill()
        wait_for_isr([unlucky, away], "orders", {2, 3})
        ledger.produce(100)
        ledger.flush()
        away.kill()
        wait_for_isr([unlucky], "orders", {2})
        unlucky.kill()
        lose_the_page_cache(unlucky)
        with znodes(zookeeper_of_its_own) as zk:
            led = json_at(zk, STATE)
            # Whoever comes first controls.
            behind.start()
            unlucky.start()
            eventually(behind.log_text, wanted=lambda text: "not known of [3]" in text)
            away.start()
            wait_for_leader(members, "orders", 3)
            # In one epoch nobody led, and nobody but the longest log has been elected.
            assert (led["leader"], json_at(zk, STATE)["leader_epoch"]) == (2, led["leader_epoch"] + 2)
            wait_for_isr(members, "orders", {1, 2, 3})
        assert not ledger.failed
        assert consumed(members, "orders", 200) == ledger.acknowledged
    finally:
        for member in members:
            member.kill()


def test_the_last_in_sync_that_was_only_killed_leads_at_once(zookeeper_of_its_own: ZooKeeper, tmp_path: Path) -> None:
    one, two = members = [kstore_member(tmp_path, number, zookeeper_of_its_own) for number in (1, 2)]
    try:
        for member in members:
            member.start()
        create_topic(members, "orders", [[2, 1]], min_insync_replicas="2")
        wait_for_isr(members, "orders", {1, 2})
        ledger = Ledger(members, "orders")
        ledger.produce(50)
        ledger.flush()
        one.kill()
        wait_for_isr([two], "orders", {2})
        two.kill()
        two.start()
        wait_for_leader([two], "orders", 2)
        one.start()
        wait_for_isr(members, "orders", {1, 2})
        assert consumed(members, "orders", 50) == ledger.acknowledged
    finally:
        for member in members:
            member.kill()
