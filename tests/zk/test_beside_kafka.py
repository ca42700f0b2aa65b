"""A kstore broker and an Apache Kafka 3.9.1 broker in one ZooKeeper cluster: each follows the other, each controls."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.judge.kafka import KafkaBroker, ZooKeeper
from tests.judge.kstore import KstoreServer
from tests.zk.members import (
    Ledger,
    Member,
    consumed,
    create_topic,
    kafka_member,
    kstore_member,
    partition_of,
    wait_for_isr,
    wait_for_leader,
    wait_for_same_logs,
)

pytestmark = pytest.mark.kafka

KSTORE, KAFKA = 1, 2

# Of Kafka's log: what a broker says when it cannot make sense of another one.
COMPLAINTS = ("ERROR", "Exception")


def complaints_of(kafka: KafkaBroker) -> list[str]:
    """But for those about a broker that was killed."""
    lines = [line for line in kafka.log_text().splitlines() if any(word in line for word in COMPLAINTS)]
    return [line for line in lines if "Connection" not in line and "DisconnectException" not in line]


def replicate_both_ways(kstore: KstoreServer, kafka: KafkaBroker) -> None:
    both: tuple[Member, Member] = (kstore, kafka)
    for topic, leader, follower in (("led-by-kstore", KSTORE, KAFKA), ("led-by-kafka", KAFKA, KSTORE)):
        create_topic(both, topic, [[leader, follower]])
        wait_for_isr(both, topic, {KSTORE, KAFKA})
        assert partition_of(both, topic).leader == leader
        ledger = Ledger(both, topic)
        ledger.produce(1000)
        ledger.flush()
        assert not ledger.failed
        wait_for_same_logs(both, topic)
        assert consumed(both, topic, 1000) == ledger.acknowledged


def start_in_order(first: Member, second: Member) -> None:
    """The first one controls."""
    first.start()
    second.start()


@pytest.mark.parametrize("controller", ["kstore", "kafka"])
def test_each_follows_the_other_whoever_controls(
    zookeeper_of_its_own: ZooKeeper, tmp_path: Path, controller: str
) -> None:
    kstore = kstore_member(tmp_path, KSTORE, zookeeper_of_its_own)
    kafka = kafka_member(tmp_path, KAFKA, zookeeper_of_its_own)
    try:
        start_in_order(*((kstore, kafka) if controller == "kstore" else (kafka, kstore)))
        replicate_both_ways(kstore, kafka)
        assert complaints_of(kafka) == []
    finally:
        kstore.kill()
        kafka.kill()


def test_kafka_elects_another_leader_when_a_directory_of_ours_fails(
    zookeeper_of_its_own: ZooKeeper, tmp_path: Path
) -> None:
    directories = tmp_path / "a", tmp_path / "b"
    small = {"log.segment.bytes": "16384", "log.dirs": ",".join(map(str, directories))}
    kstore = kstore_member(tmp_path, KSTORE, zookeeper_of_its_own, small)
    kafka = kafka_member(tmp_path, KAFKA, zookeeper_of_its_own)
    try:
        start_in_order(kafka, kstore)
        create_topic([kstore, kafka], "orders", [[KSTORE, KAFKA]])
        wait_for_isr([kafka], "orders", {KSTORE, KAFKA})
        ledger = Ledger([kstore, kafka], "orders", **{"batch.num.messages": 5})
        ledger.produce(10)
        ledger.flush()
        broken = next(path for path in directories if (path / "orders-0").exists())
        # Files that are open stay so, and no segment can be made there any more.
        broken.rename(tmp_path / "gone")
        broken.write_text("no directory")
        ledger.produce(200, size=1000)
        wait_for_leader([kafka], "orders", KAFKA)
        ledger.flush()
        assert not ledger.failed
        seen = consumed([kafka], "orders", len(ledger.acknowledged))
        assert ledger.acknowledged.items() <= seen.items()
    finally:
        kstore.kill()
        kafka.kill()


@pytest.mark.slow
@pytest.mark.parametrize("killed", ["kstore", "kafka"])
def test_one_leads_after_the_other_was_killed(zookeeper_of_its_own: ZooKeeper, tmp_path: Path, killed: str) -> None:
    members: dict[str, Callable[[], Member]] = {
        "kstore": lambda: kstore_member(tmp_path, KSTORE, zookeeper_of_its_own),
        "kafka": lambda: kafka_member(tmp_path, KAFKA, zookeeper_of_its_own),
    }
    made = {name: make() for name, make in members.items()}
    numbers = {"kstore": KSTORE, "kafka": KAFKA}
    doomed, survivor = made[killed], made["kafka" if killed == "kstore" else "kstore"]
    first, second = numbers[killed], KSTORE + KAFKA - numbers[killed]
    both = list(made.values())
    try:
        # Whoever is killed controls as well: the other one has to take that over too.
        start_in_order(doomed, survivor)
        create_topic(both, "orders", [[first, second]])
        ledger = Ledger(both, "orders")
        ledger.produce(500)
        ledger.flush()
        doomed.kill()
        wait_for_leader([survivor], "orders", second)
        ledger.produce(300)
        ledger.flush()
        doomed.start()
        wait_for_isr(both, "orders", {KSTORE, KAFKA})
        ledger.produce(100)
        ledger.flush()
        assert not ledger.failed
        wait_for_same_logs(both, "orders")
        seen = consumed(both, "orders", len(ledger.acknowledged))
        assert ledger.acknowledged.items() <= seen.items()
    finally:
        for member in both:
            member.kill()
