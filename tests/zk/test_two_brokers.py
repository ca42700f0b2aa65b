"""Two kstore brokers and a real ZooKeeper: a follower that fetches, and takes over when the leader is killed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.judge.kafka import ZooKeeper
from tests.judge.kstore import KstoreServer
from tests.zk.members import (
    Ledger,
    consumed,
    create_topic,
    kstore_member,
    partition_of,
    wait_for_isr,
    wait_for_leader,
    wait_for_same_logs,
)

pytestmark = pytest.mark.kafka

Pair = tuple[KstoreServer, KstoreServer]


@pytest.fixture
def pair(zookeeper_of_its_own: ZooKeeper, tmp_path: Path) -> Iterator[Pair]:
    """Brokers 1 and 2."""
    one, two = (kstore_member(tmp_path, number, zookeeper_of_its_own) for number in (1, 2))
    with one, two:
        yield one, two


def test_what_is_acknowledged_by_all_is_in_both_directories(pair: Pair) -> None:
    create_topic(pair, "orders", [[1, 2]])
    found = partition_of(pair, "orders")
    assert (found.leader, found.replicas, set(found.isrs)) == (1, [1, 2], {1, 2})
    ledger = Ledger(pair, "orders")
    ledger.produce(1000)
    ledger.flush()
    assert not ledger.failed
    assert len(ledger.acknowledged) == 1000
    wait_for_same_logs(pair, "orders")
    assert consumed(pair, "orders", 1000) == ledger.acknowledged


def test_when_the_leader_is_killed_its_follower_leads_and_nothing_acknowledged_is_lost(pair: Pair) -> None:
    one, two = pair
    create_topic(pair, "orders", [[1, 2]])
    ledger = Ledger(pair, "orders")
    ledger.produce(500)
    ledger.flush()
    ledger.produce(200)
    one.kill()
    wait_for_leader([two], "orders", 2)
    ledger.produce(300)
    ledger.flush()
    assert set(partition_of([two], "orders").isrs) == {2}

    one.start()
    wait_for_isr(pair, "orders", {1, 2})
    ledger.produce(100)
    ledger.flush()
    assert not ledger.failed
    wait_for_same_logs(pair, "orders")
    seen = consumed(pair, "orders", len(ledger.acknowledged))
    assert ledger.acknowledged.items() <= seen.items()


@pytest.mark.slow
def test_a_tail_that_the_new_leader_does_not_have_is_cut(pair: Pair) -> None:
    one, two = pair
    create_topic(pair, "orders", [[1, 2]])
    Ledger(pair, "orders").flush()
    agreed = Ledger(pair, "orders")
    agreed.produce(50)
    agreed.flush()
    two.kill()
    # Acknowledged by the leader alone: nobody has promised to keep them.
    alone = Ledger([one], "orders", acks="1")
    alone.produce(30)
    alone.flush()
    one.kill()
    # Broker 2 was in sync when it went; the controller has not been told otherwise.
    two.start()
    wait_for_leader([two], "orders", 2)
    after = Ledger([two], "orders", acks="1")
    after.produce(10)
    after.flush()
    one.start()
    wait_for_isr(pair, "orders", {1, 2})
    wait_for_same_logs(pair, "orders")
    seen = consumed(pair, "orders", 60)
    assert agreed.acknowledged.items() <= seen.items()
