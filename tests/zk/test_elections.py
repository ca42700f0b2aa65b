"""Who leads: preferred leaders, unclean ones, and leaders that go back by themselves, on kstore as the controller."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.judge.kafka import ZooKeeper
from tests.judge.kstore import KstoreServer
from tests.zk.members import (
    Ledger,
    consumed,
    create_topic,
    eventually,
    kstore_member,
    partition_of,
    wait_for_isr,
    wait_for_leader,
)
from tests.zk.wishes import elect, elected, json_at, set_configs, write, znodes

pytestmark = pytest.mark.kafka

NOT_CONTROLLER, UNKNOWN_TOPIC, PREFERRED_NOT_AVAILABLE, NOT_NEEDED = 41, 3, 80, 84
PREFERRED, UNCLEAN = 0, 1
# Leaders stay where they are unless somebody asks.
STILL = {"auto.leader.rebalance.enable": "false"}


@pytest.fixture
def pair(zookeeper_of_its_own: ZooKeeper, tmp_path: Path) -> Iterator[tuple[KstoreServer, KstoreServer]]:
    """Two brokers, of which the first one controls."""
    one, two = (kstore_member(tmp_path, number, zookeeper_of_its_own, STILL) for number in (1, 2))
    with one, two:
        yield one, two


def move_to_the_first(one: KstoreServer, two: KstoreServer) -> None:
    """orders-0 should be led by broker 2, which was away."""
    create_topic([one, two], "orders", [[2, 1]])
    wait_for_isr([one], "orders", {1, 2})
    two.stop()
    wait_for_leader([one], "orders", 1)


def test_a_preferred_leader_is_elected_by_request(pair: tuple[KstoreServer, KstoreServer]) -> None:
    one, two = pair
    move_to_the_first(one, two)
    assert elected(elect(one.port, PREFERRED, "orders", 0)) == {("orders", 0): PREFERRED_NOT_AVAILABLE}
    two.start()
    wait_for_isr([one], "orders", {1, 2})
    assert elect(two.port, PREFERRED, "orders", 0).error_code == NOT_CONTROLLER
    # Of all partitions those are told that had to be elected.
    assert elected(elect(one.port, PREFERRED, None)) == {("orders", 0): 0}
    wait_for_leader([one, two], "orders", 2)
    assert elected(elect(one.port, PREFERRED, "orders", 0, 7)) == {
        ("orders", 0): NOT_NEEDED,
        ("orders", 7): UNKNOWN_TOPIC,
    }
    assert elected(elect(one.port, PREFERRED, None)) == {}
    assert "an administrator asked for the preferred leader" in one.log_text()


def test_a_script_has_preferred_leaders_elected_by_a_znode(
    pair: tuple[KstoreServer, KstoreServer], zookeeper_of_its_own: ZooKeeper
) -> None:
    one, two = pair
    move_to_the_first(one, two)
    two.start()
    wait_for_isr([one], "orders", {1, 2})
    path = "/admin/preferred_replica_election"
    with znodes(zookeeper_of_its_own) as zk:
        for _ in range(2):  # what is watched is watched again
            write(zk, path, {"version": 1, "partitions": [{"topic": "orders", "partition": 0}]})
            eventually(lambda: zk.exists(path), wanted=lambda found: found is None)
        assert json_at(zk, "/brokers/topics/orders/partitions/0/state")["leader"] == 2


def only_two_in_sync(one: KstoreServer, two: KstoreServer, records: int) -> Ledger:
    """Records that only broker 2 has, which is killed then."""
    create_topic([one, two], "orders", [[2, 1]])
    ledger = Ledger([one, two], "orders", **{"message.timeout.ms": 5000})
    one.kill()
    wait_for_leader([two], "orders", 2)
    ledger.produce(records)
    ledger.flush()
    two.kill()
    one.start()
    return ledger


def test_who_is_out_of_sync_leads_when_the_topic_allows_it_and_not_before(
    pair: tuple[KstoreServer, KstoreServer], zookeeper_of_its_own: ZooKeeper
) -> None:
    one, two = pair
    only_two_in_sync(one, two, 10)
    state = "/brokers/topics/orders/partitions/0/state"
    with znodes(zookeeper_of_its_own) as zk:
        eventually(lambda: json_at(zk, state)["leader"], wanted=lambda leader: leader == -1)
        assert json_at(zk, state)["isr"] == [2]
        assert elected(elect(one.port, PREFERRED, "orders", 0)) == {("orders", 0): PREFERRED_NOT_AVAILABLE}
        assert set_configs(one.port, "orders", unclean_leader_election_enable="true") == 0
        wait_for_leader([one], "orders", 1)
        found = json_at(zk, state)
        assert (found["isr"], found["leader_recovery_state"]) == ([1], 1)
        assert "unclean.leader.election.enable is true" in one.log_text()
        # With the follower back it has recovered, and the two agree.
        two.start()
        wait_for_isr([one], "orders", {1, 2})
        assert "leader_recovery_state" not in json_at(zk, state)


def test_who_is_out_of_sync_leads_when_an_administrator_says_so(pair: tuple[KstoreServer, KstoreServer]) -> None:
    one, two = pair
    only_two_in_sync(one, two, 10)
    eventually(lambda: elected(elect(one.port, UNCLEAN, "orders", 0)), wanted=lambda found: found == {("orders", 0): 0})
    wait_for_leader([one], "orders", 1)
    assert elected(elect(one.port, UNCLEAN, "orders", 0)) == {("orders", 0): NOT_NEEDED}


@pytest.mark.slow
def test_of_those_out_of_sync_the_one_leads_that_holds_most(zookeeper_of_its_own: ZooKeeper, tmp_path: Path) -> None:
    one, two, three = members = [kstore_member(tmp_path, number, zookeeper_of_its_own, STILL) for number in (1, 2, 3)]
    with one, two, three:
        create_topic(members, "orders", [[2, 1, 3]])
        wait_for_isr(members, "orders", {1, 2, 3})
        ledger = Ledger(members, "orders")
        one.kill()
        wait_for_isr([two, three], "orders", {2, 3})
        ledger.produce(100)
        ledger.flush()
        three.kill()
        wait_for_isr([two], "orders", {2})
        ledger.produce(10)
        ledger.flush()
        two.kill()
        one.start()
        three.start()
        # Whoever controls, when both are there.
        for broker in (one, three):
            eventually(
                lambda broker=broker: partition_of([broker], "orders"),
                wanted=lambda found: found is not None and found.leader == -1,
            )
        eventually(
            lambda: [elected(elect(broker.port, UNCLEAN, "orders", 0)) for broker in (one, three)],
            wanted=lambda found: {("orders", 0): 0} in found,
        )
        wait_for_leader([one, three], "orders", 3)
        # What nobody who is there had is lost.
        assert consumed([one, three], "orders", 100) == {
            offset: value for offset, value in ledger.acknowledged.items() if offset < 100
        }


def test_leaders_go_back_by_themselves(zookeeper_of_its_own: ZooKeeper, tmp_path: Path) -> None:
    soon = {"leader.imbalance.check.interval.seconds": "1"}
    one, two = (kstore_member(tmp_path, number, zookeeper_of_its_own, soon) for number in (1, 2))
    with one, two:
        move_to_the_first(one, two)
        two.start()
        wait_for_isr([one], "orders", {1, 2})
        wait_for_leader([one, two], "orders", 2)
        found = partition_of([one], "orders")
        assert set(found.isrs) == {1, 2}
        assert "too much of what its first replica should lead" in one.log_text()
