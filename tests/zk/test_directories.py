"""A log directory fails: what lies in it is led by others, what lies elsewhere stays where it is."""

from pathlib import Path

import pytest

from tests.judge.kafka import ZooKeeper
from tests.zk.members import (
    Ledger,
    consumed,
    create_topic,
    eventually,
    kafka_member,
    kstore_member,
    partition_of,
    wait_for_leader,
)
from tests.zk.wishes import elect, elected, json_at, znodes

pytestmark = pytest.mark.kafka

PREFERRED_NOT_AVAILABLE = 80


def test_leaders_move_away_from_a_directory_that_failed(zookeeper_of_its_own: ZooKeeper, tmp_path: Path) -> None:
    """kstore controls; the directory is Kafka's."""
    kstore = kstore_member(tmp_path, 1, zookeeper_of_its_own, {"auto.leader.rebalance.enable": "false"})
    kafka = kafka_member(tmp_path, 2, zookeeper_of_its_own)
    directories = [kafka.log_directory, tmp_path / "second"]
    kafka.overrides |= {
        "log.dirs": ",".join(map(str, directories)),
        "replica.high.watermark.checkpoint.interval.ms": "500",
    }
    try:
        kstore.start()
        kafka.start()
        create_topic([kstore, kafka], "orders", [[2, 1], [2, 1]])
        for index in (0, 1):
            eventually(
                lambda index=index: partition_of([kstore], "orders", index),
                wanted=lambda found: found is not None and found.leader == 2 and set(found.isrs) == {1, 2},
            )
        ledger = Ledger([kstore, kafka], "orders")
        ledger.produce(100)
        ledger.flush()
        failed = next(path for path in directories if (path / "orders-0").exists())
        assert not (failed / "orders-1").exists(), "Kafka spreads partitions over its directories"
        failed.rename(failed.with_name("gone"))
        failed.write_text("no directory")
        wait_for_leader([kstore], "orders", 1)
        with znodes(zookeeper_of_its_own) as zk:
            assert json_at(zk, "/brokers/topics/orders/partitions/0/state")["isr"] == [1]
            assert json_at(zk, "/brokers/topics/orders/partitions/1/state")["leader"] == 2
            # The news is read and gone, and what is watched is watched again.
            eventually(lambda: zk.get_children("/log_dir_event_notification"), wanted=lambda found: found == [])
        assert "broker 2 lost a directory" in kstore.log_text()
        ledger.produce(100)
        ledger.flush()
        assert not ledger.failed
        assert consumed([kstore, kafka], "orders", 200) == ledger.acknowledged
        # Nobody can have it back there before the broker has been started anew.
        assert elected(elect(kstore.port, 0, "orders", 0)) == {("orders", 0): PREFERRED_NOT_AVAILABLE}
    finally:
        kstore.kill()
        kafka.kill()
