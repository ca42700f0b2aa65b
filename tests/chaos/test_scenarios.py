"""The faults of Kafka's own system tests (tests/kafkatest/tests), one scenario each.

Not here: those of transactions, quotas and security, which kstore does not have yet.
"""

import contextlib
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from tests.chaos.cluster import CLIENTS, GROUPS_TOPIC, Cluster, StartCluster, eventually
from tests.chaos.disk import small_disk, why_disks_cannot_fail, why_no_small_disk
from tests.chaos.faults import (
    Bounces,
    Cut,
    DiskFails,
    Fault,
    Isolate,
    Kill,
    Pause,
    RollingRestart,
    Slow,
    Stop,
    Target,
    ZooKeeperAway,
    broker,
    controller,
    happening,
    leader_of,
)
from tests.chaos.history import History
from tests.chaos.load import READER, AssignReader, GroupReader, JavaProducer, LibrdkafkaProducer, Where, Worker
from tests.chaos.story import Story, full_load
from tests.judge import log_file
from tests.judge.tools import KafkaTools

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(600)]

TOPIC = "orders"


def in_sync(cluster: Cluster) -> None:
    cluster.wait_until_in_sync()


# --- core/replication_test.py ---

REPLICATION_FAULTS: dict[str, Callable[[Target], Fault]] = {
    "clean shutdown": Stop,
    "hard shutdown": Kill,
    "clean bounces": lambda target: Bounces(target, count=5, hard=False, between=in_sync),
    "hard bounces": lambda target: Bounces(target, count=5, hard=True, between=in_sync),
}
TARGETS: dict[str, Target] = {"leader": leader_of(TOPIC), "controller": controller()}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("fault", REPLICATION_FAULTS)
def test_what_was_acknowledged_outlives_its_leader_and_the_controller(
    cluster: Cluster, fault: str, target: str
) -> None:
    codec = {"compression.type": "gzip"} if target == "leader" else {}

    def load(history: History, where: Where) -> list[Worker]:
        return [
            LibrdkafkaProducer(history, "idempotent", where, idempotent=True, config=codec),
            LibrdkafkaProducer(history, "plain", where, idempotent=False, per_second=100, config=codec),
            AssignReader(history, "reader", where),
        ]

    with Story(cluster, TOPIC, load=load) as story, happening(REPLICATION_FAULTS[fault](TARGETS[target]), cluster):
        story.wait_for_progress(500)


def test_javas_own_idempotent_producer_loses_nothing_and_sends_nothing_twice(cluster: Cluster, tmp_path: Path) -> None:
    def load(history: History, where: Where) -> list[Worker]:
        return [JavaProducer(history, 1, where, tmp_path / "java"), AssignReader(history, "reader", where)]

    with Story(cluster, TOPIC, load=load) as story:
        for fault in (Kill(leader_of(TOPIC)), Stop(leader_of(TOPIC)), Pause(leader_of(TOPIC))):
            with happening(fault, cluster):
                story.wait_for_progress(300)
            in_sync(cluster)


# --- core/replication_replica_failure_test.py ---


def test_a_follower_that_is_cut_off_from_its_leader_leaves_the_isr_and_comes_back(cluster: Cluster) -> None:
    with Story(cluster, TOPIC, partitions=1) as story:
        state = cluster.state(TOPIC)
        assert state is not None
        # Not who controls: the leader asks him. The follower's session lives on: it is the leader who notices.
        follower = min(state.isr - {state.leader, cluster.controller()})
        with happening(Cut(broker(follower), broker(state.leader)), cluster):
            eventually(
                lambda: cluster.state(TOPIC),
                wanted=lambda found: found is not None and follower not in found.isr,
                what="the follower has left the ISR",
            )
            story.wait_for_progress(1000)
        eventually(
            lambda: cluster.state(TOPIC),
            wanted=lambda found: found is not None and follower in found.isr,
            what="the follower is in the ISR again",
        )


# --- core/round_trip_fault_test.py, core/network_degrade_test.py, Trogdor's faults ---

ROUND_TRIP_FAULTS: dict[str, Callable[[], Fault]] = {
    "a broker is cut off": lambda: Isolate(leader_of(TOPIC)),
    "a broker hears and is not heard": lambda: Isolate(leader_of(TOPIC), "one way"),
    "a broker's connections are torn": lambda: Isolate(leader_of(TOPIC), "torn"),
    "a broker sleeps": lambda: Pause(leader_of(TOPIC)),
    "everything is slow": lambda: Slow(0.05, clients=True),
    "ZooKeeper is away": lambda: ZooKeeperAway("killed"),
    "ZooKeeper sleeps": lambda: ZooKeeperAway("paused"),
}


@pytest.mark.parametrize("fault", ROUND_TRIP_FAULTS)
def test_records_make_their_round_trip_during_a_fault(cluster: Cluster, fault: str) -> None:
    with Story(cluster, TOPIC, load=full_load) as story, happening(ROUND_TRIP_FAULTS[fault](), cluster):
        story.wait_for_progress(3000, timeout=90)


def test_clients_that_are_cut_off_from_a_leader_go_on_when_they_reach_it_again(cluster: Cluster) -> None:
    with Story(cluster, TOPIC) as story:
        with happening(Cut(leader_of(TOPIC), CLIENTS), cluster):
            story.wait_for_progress(500)  # in the partitions that others lead
            time.sleep(5)
        story.wait_for_progress(500)


# --- core/log_dir_failure_test.py ---


@pytest.mark.skipif(why_disks_cannot_fail() is not None, reason=str(why_disks_cannot_fail()))
@pytest.mark.parametrize("bounce", [False, True], ids=["", "and it is bounced"])
@pytest.mark.parametrize("who", ["leader", "follower"])
def test_a_directory_that_fails_costs_only_its_own_replicas(
    start_cluster: StartCluster, who: str, bounce: bool
) -> None:
    cluster = start_cluster(disks=2, failing_disks=True)
    with Story(cluster, TOPIC, partitions=2) as story:
        state = cluster.state(TOPIC)
        assert state is not None
        struck = state.leader if who == "leader" else min(state.isr - {state.leader})
        place = cluster.brokers[struck].partition_directory(TOPIC, 0).parent
        disk = next(index for index, each in enumerate(cluster.brokers[struck].disks) if each.directory == place)
        with happening(DiskFails(broker(struck), disk=disk), cluster):
            eventually(
                lambda: cluster.state(TOPIC),
                wanted=lambda found: found is not None and found.leader > 0 and struck not in found.isr,
                timeout=40,
                what=f"broker {struck} neither leads {TOPIC}-0 nor is it in sync",
            )
            story.wait_for_progress(500)
            other = cluster.state(TOPIC, 1)
            other_place = cluster.brokers[struck].partition_directory(TOPIC, 1).parent
            assert other is not None
            assert (struck in other.isr) == (other_place != place)
            if bounce:
                cluster.stop(struck)
                cluster.bring_up(struck)
                story.wait_for_progress(500)


@pytest.mark.skipif(why_no_small_disk() is not None, reason=str(why_no_small_disk()))
@pytest.mark.parametrize("leads", [False, True], ids=["follows", "leads"])
def test_a_broker_whose_disk_is_full_goes_on_when_there_is_room_again(tmp_path: Path, leads: bool) -> None:
    """A follower leaves the ISR, and nobody else notices. A leader refuses what it is sent for so long."""
    cluster = Cluster(tmp_path, overrides={"log.index.size.max.bytes": "65536"})
    directory = cluster.brokers[3].disks[0].directory
    replicas = [[3, 1, 2]] if leads else [[1, 2, 3], [2, 3, 1], [1, 3, 2]]
    with small_disk(directory, 64), cluster, Story(cluster, TOPIC, assignment=replicas, recovery_s=90) as story:
        story.wait_for_progress()
        filler = directory / "filler"
        fill(filler)
        if leads:
            eventually(lambda: "No space left" in cluster.brokers[3].server.log_text(), wanted=bool, what="it is told")
        else:
            eventually(
                lambda: [cluster.state(TOPIC, index) for index in range(3)],
                wanted=lambda found: all(state is not None and 3 not in state.isr for state in found),
                what="broker 3 is in sync for nothing",
            )
            story.wait_for_progress(1000)
        filler.unlink()
        in_sync(cluster)
        story.wait_for_progress(1000)


def fill(file: Path) -> None:
    """Writes until there is no room."""
    with file.open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while filler.write(b"\0" * 4096):
            pass


# --- client/truncation_test.py ---


def test_a_consumer_notices_that_the_tail_it_read_is_gone(cluster: Cluster) -> None:
    cluster.create_topic(TOPIC, assignment=[[1]], configs={"min.insync.replicas": "1"})
    where = Where(cluster.bootstrap, TOPIC, 1)
    produce(where, [b"early %d" % number for number in range(50)])
    produce(where, [b"late %d" % number for number in range(50)])
    config = {"bootstrap.servers": where.bootstrap, "group.id": "reader", **READER}
    consumer = Consumer(config)
    consumer.assign([TopicPartition(TOPIC, 0, 0)])
    values = consume(consumer, 100)
    assert values[-1] == b"late 49"
    cluster.kill(1)
    lose_tail(cluster.brokers[1].partition_directory(TOPIC), end=50)
    cluster.bring_up(1)
    eventually(lambda: cluster.leader(TOPIC), wanted=lambda leader: leader == 1)
    produce(where, [b"other %d" % number for number in range(80)])
    deadline = time.monotonic() + 30
    told = None
    while told is None and time.monotonic() < deadline:
        message = consumer.poll(0.5)
        if message is not None:
            assert message.error() is not None, f"read {message.value()} at {message.offset()} as if nothing had been"
            told = message.error().code()
    consumer.close()
    assert told in (KafkaError._LOG_TRUNCATION, KafkaError._AUTO_OFFSET_RESET)


def produce(where: Where, values: list[bytes]) -> None:
    producer = Producer({"bootstrap.servers": where.bootstrap, "acks": "all", "batch.num.messages": 10})
    for value in values:
        producer.produce(where.topic, value, partition=0)
    assert producer.flush(30) == 0


def consume(consumer: Consumer, count: int) -> list[bytes]:
    found: list[bytes] = []
    deadline = time.monotonic() + 30
    while len(found) < count:
        found += [message.value() for message in consumer.consume(count, 0.5) if message.error() is None]
        assert time.monotonic() < deadline, f"{len(found)} of {count}"
    return found


def lose_tail(directory: Path, *, end: int) -> None:
    """As a machine that goes down with its page cache: the log ends before `end`."""
    (file,) = directory.glob("*.log")
    kept = sum(batch.size_in_bytes for batch in log_file.batches(directory) if batch.last_offset < end)
    with file.open("r+b") as log:
        log.truncate(kept)


# --- core/reassign_partitions_test.py, throttling_test.py: see test_reassignment.py ---

# --- core/replica_scale_test.py ---


def test_many_replicas_are_back_soon_after_a_clean_bounce(cluster: Cluster) -> None:
    for number in range(5):
        cluster.create_topic(f"many-{number}", 50)
    with Story(cluster, TOPIC, recovery_s=120) as story:
        for number in cluster.brokers:
            cluster.wait_until_in_sync(120)
            cluster.stop(number, timeout=60)
            began = time.monotonic()
            cluster.bring_up(number)
            assert time.monotonic() - began < 20
            story.wait_for_progress()


# --- client/consumer_test.py ---


@pytest.mark.parametrize("is_static", [False, True], ids=["dynamic", "static"])
def test_a_rolling_bounce_of_brokers_makes_no_group_rebalance(cluster: Cluster, is_static: bool) -> None:
    cluster.create_groups_topic()
    members: list[GroupReader] = []

    def load(history: History, where: Where) -> list[Worker]:
        patient = {"session.timeout.ms": 45_000, "max.poll.interval.ms": 300_000}
        for number in range(3):
            own = {"group.instance.id": f"static-{number}"} if is_static else {}
            members.append(GroupReader(history, f"member-{number}", where, "readers", **patient, **own))
        return [LibrdkafkaProducer(history, "idempotent", where, idempotent=True), *members]

    with Story(cluster, TOPIC, load=load) as story:

        def assignments() -> list[frozenset[int]]:
            return [member.assigned for member in members]

        eventually(assignments, wanted=lambda found: sorted(map(sorted, found)) == [[0], [1], [2]], what="one each")
        before = [member.rebalances for member in members]
        with happening(RollingRestart(), cluster):
            story.wait_for_progress(500)
        assert [member.rebalances for member in members] == before
        assert sorted(map(sorted, assignments())) == [[0], [1], [2]]


def test_static_members_that_are_bounced_make_no_other_rebalance(cluster: Cluster) -> None:
    cluster.create_groups_topic()
    members: list[Worker] = []

    def member(history: History, where: Where, number: int) -> GroupReader:
        own = {"group.instance.id": f"static-{number}", "session.timeout.ms": 45_000}
        return GroupReader(history, f"member-{number}", where, "readers", **own)

    def load(history: History, where: Where) -> list[Worker]:
        members.extend(member(history, where, number) for number in range(3))
        return [LibrdkafkaProducer(history, "idempotent", where, idempotent=True), *members]

    def assignments() -> list[frozenset[int]]:
        return [each.assigned for each in members if isinstance(each, GroupReader)]

    with Story(cluster, TOPIC, load=load) as story:
        before = eventually(
            assignments, wanted=lambda found: sorted(map(sorted, found)) == [[0], [1], [2]], what="one each"
        )
        for number, old in enumerate(list(members)):
            old.stop()
            story.load.remove(old)
            rebalances = [each.rebalances for each in members if isinstance(each, GroupReader) and each is not old]
            members[number] = new = member(story.history, story.where, number)
            story.load.append(new)
            new.start()
            eventually(assignments, wanted=lambda found: found == before, what=f"member {number} has what it had")
            story.wait_for_progress(300)
            others = [each for each in members if isinstance(each, GroupReader) and each is not new]
            assert [each.rebalances for each in others] == rebalances
            assert assignments() == before


def test_what_a_member_had_that_was_killed_others_get(cluster: Cluster) -> None:
    cluster.create_groups_topic()
    members: list[GroupReader] = []

    def load(history: History, where: Where) -> list[Worker]:
        members.append(GroupReader(history, "member", where, "readers"))
        return [LibrdkafkaProducer(history, "idempotent", where, idempotent=True), *members]

    with Story(cluster, TOPIC, load=load) as story:
        (member,) = members
        eventually(lambda: member.assigned, wanted=lambda found: found == {0, 1, 2}, what="it has all")
        # It commits nothing: what it has read is to be read again.
        words = ["-b", cluster.bootstrap, "-X", "session.timeout.ms=6000", "-X", "enable.auto.commit=false"]
        with subprocess.Popen(
            ["kcat", *words, "-q", "-G", "readers", TOPIC], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as other:
            try:
                eventually(lambda: member.assigned, wanted=lambda found: len(found) in (1, 2), what="two have them")
                story.wait_for_progress(300)
            finally:
                other.kill()
        eventually(lambda: member.assigned, wanted=lambda found: found == {0, 1, 2}, what="it has all again")


# --- core/fetch_from_follower_test.py ---


def test_a_reader_is_served_by_the_follower_in_its_rack_and_by_others_while_that_one_is_gone(
    start_cluster: StartCluster,
) -> None:
    selector = "org.apache.kafka.common.replica.RackAwareReplicaSelector"
    cluster = start_cluster(overrides={"replica.selector.class": selector})
    served_by: list[int] = []

    def told(statistics: str) -> None:
        partitions = json.loads(statistics)["topics"].get(TOPIC, {}).get("partitions", {})
        served_by.extend(each["broker"] for name, each in partitions.items() if name == "0")

    def load(history: History, where: Where) -> list[Worker]:
        near = {"client.rack": cluster.brokers[2].rack, "statistics.interval.ms": 200, "stats_cb": told}
        return [
            LibrdkafkaProducer(history, "idempotent", where, idempotent=True),
            AssignReader(history, "reader", where, **near),
        ]

    with Story(cluster, TOPIC, assignment=[[1, 2, 3]], load=load) as story:
        eventually(lambda: served_by[-1:], wanted=lambda found: found == [2], what="broker 2 serves it")
        with happening(Kill(broker(2)), cluster):
            eventually(lambda: served_by[-1:], wanted=lambda found: found == [1], what="the leader serves it")
            story.wait_for_progress(500)
        in_sync(cluster)
        eventually(lambda: served_by[-1:], wanted=lambda found: found == [2], what="broker 2 serves it again")
        story.wait_for_progress(300)


# --- tools/log_compaction_test.py ---


def test_a_compacted_topic_keeps_the_latest_of_each_key_while_brokers_are_bounced(
    cluster: Cluster,
) -> None:
    compacted = {
        "cleanup.policy": "compact",
        "segment.bytes": "65536",
        "min.cleanable.dirty.ratio": "0.01",
        "min.insync.replicas": "2",
    }
    cluster.create_topic(TOPIC, 1, configs=compacted)
    latest: dict[bytes, bytes] = {}
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "enable.idempotence": True, "batch.size": 16384})

    def acknowledged(error: KafkaError | None, message: object) -> None:
        assert error is None, error
        latest[message.key()] = message.value()  # type: ignore[attr-defined]

    for bounce in range(3):
        for number in range(5000):
            key, value = b"key %d" % (number % 50), b"value %d %d" % (bounce, number)
            producer.produce(TOPIC, value, key, partition=0, on_delivery=acknowledged)
            producer.poll(0)
        number = leader_of(TOPIC)(cluster)
        cluster.kill(number)
        assert producer.flush(60) == 0
        cluster.bring_up(number)
        in_sync(cluster)

    def size() -> int:
        return max(len(cluster.log_bytes(number, TOPIC, 0)) for number in cluster.brokers)

    eventually(size, wanted=lambda found: found < 300_000, timeout=90, what="everybody has compacted")
    consumer = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "reader", **READER})
    consumer.assign([TopicPartition(TOPIC, 0, 0)])
    _, end = consumer.get_watermark_offsets(TopicPartition(TOPIC, 0), timeout=10, cached=False)
    seen: dict[bytes, bytes] = {}
    offset = 0
    while offset < end:
        for message in consumer.consume(500, 1):
            assert message.error() is None, message.error()
            seen[message.key()] = message.value()
            offset = message.offset() + 1
    consumer.close()
    assert seen == latest


# --- ZooKeeper as an ensemble ---


def test_nobody_notices_that_a_member_of_zookeepers_ensemble_is_killed(start_cluster: StartCluster) -> None:
    cluster = start_cluster(zookeepers=3)
    cluster.create_groups_topic()
    with Story(cluster, TOPIC, load=full_load) as story:
        for member in cluster.zookeepers:
            in_sync(cluster)
            before = [cluster.state(TOPIC, index) for index in range(3)], cluster.controller()
            member.kill()
            story.wait_for_progress(1000)
            assert ([cluster.state(TOPIC, index) for index in range(3)], cluster.controller()) == before
            assert cluster.registered() == set(cluster.brokers)
            member.start()
    assert story.report.longest_gap_s < 5


# --- what each broker says of the groups' topic at the end ---


def test_committed_offsets_are_the_same_on_all_replicas_after_a_rolling_kill(
    cluster: Cluster, tools_39: KafkaTools
) -> None:
    cluster.create_groups_topic()
    with Story(cluster, TOPIC, load=full_load) as story, happening(RollingRestart(hard=True), cluster):
        story.wait_for_progress()
    cluster.wait_for_same_logs(GROUPS_TOPIC)
    told = tools_39.groups(cluster.bootstrap, "--describe", "--group", "readers")
    assert TOPIC in told
