"""ZooKeeper is away, or a broker's session ends while the broker goes on."""

import signal
import time
from pathlib import Path

import pytest

from tests.judge.kafka import ZooKeeper
from tests.zk.members import (
    Ledger,
    consumed,
    create_topic,
    kstore_member,
    wait_for_isr,
    wait_for_leader,
    wait_for_same_logs,
)

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def test_while_zookeeper_is_away_records_are_taken_and_after_it_leaders_are_elected(
    zookeeper_of_its_own: ZooKeeper, tmp_path: Path
) -> None:
    one, two = (kstore_member(tmp_path, number, zookeeper_of_its_own) for number in (1, 2))
    with one, two:
        create_topic([one, two], "orders", [[1, 2]])
        ledger = Ledger([one, two], "orders")
        ledger.produce(100)
        ledger.flush()
        zookeeper_of_its_own.stop()
        ledger.produce(100)
        ledger.flush()
        zookeeper_of_its_own.start()
        ledger.produce(100)
        ledger.flush()
        wait_for_isr([one, two], "orders", {1, 2})
        one.kill()
        wait_for_leader([two], "orders", 2)
        ledger.produce(100)
        ledger.flush()
        assert not ledger.failed
        assert consumed([two], "orders", 400) == ledger.acknowledged


def test_a_leader_that_slept_through_its_session_follows_when_it_wakes(
    zookeeper_of_its_own: ZooKeeper, tmp_path: Path
) -> None:
    one, two = (kstore_member(tmp_path, number, zookeeper_of_its_own) for number in (1, 2))
    with one, two:
        create_topic([one, two], "orders", [[1, 2]])
        ledger = Ledger([one, two], "orders")
        ledger.produce(100)
        ledger.flush()
        # The leader, which controls as well.
        one.signal(signal.SIGSTOP)
        try:
            wait_for_leader([two], "orders", 2)
            Ledger([two], "orders").flush()
            other = Ledger([two], "orders")
            other.produce(50)
            other.flush()
            time.sleep(1)
        finally:
            one.signal(signal.SIGCONT)
        wait_for_isr([two], "orders", {1, 2})
        wait_for_same_logs([one, two], "orders")
        seen = consumed([one, two], "orders", 150)
        assert not ledger.acknowledged.keys() & other.acknowledged.keys()
        assert (ledger.acknowledged | other.acknowledged).items() <= seen.items()
        # It is a member like before.
        two.kill()
        wait_for_leader([one], "orders", 1)
