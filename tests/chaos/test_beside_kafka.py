"""Kafka in the same cluster: an Apache Kafka 3.9.1 broker beside two of kstore, and a cluster that changes its kind."""

import re
import subprocess
import threading
from pathlib import Path

import pytest

from tests.chaos.cluster import KAFKA, KSTORE, Cluster, StartCluster, eventually
from tests.chaos.faults import Kill, broker, happening
from tests.chaos.history import History
from tests.chaos.load import AssignReader, GroupReader, JavaProducer, LibrdkafkaProducer, Where, Worker
from tests.chaos.moves import Move, elect_preferred
from tests.chaos.same_batches import assert_same_batches
from tests.chaos.story import MakeLoad, Story
from tests.judge.java import java_command
from tests.judge.kafka import KafkaBroker
from tests.judge.tools import KafkaTools

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(900)]

TOPIC = "orders"
PARTITIONS = 3
# What a Kafka broker says when others go and come: no fault of anybody. A producer that was refused once, by who does
# not lead yet, and had sent more by then, is out of order with the rest until it sends all of it again.
EXPECTED_ERRORS = re.compile(
    r"Connection to node|DisconnectException|Error sending fetch request|was disconnected before|Connection refused"
    r"|fails to send a request to broker|NOT_LEADER_OR_FOLLOWER|NotLeaderOrFollowerException|could not be established"
    r"|OutOfOrderSequenceException"
)


def errors_of(cluster: Cluster) -> list[str]:
    """What is of level ERROR in the logs of Kafka brokers that serve or have served, but for those expected."""
    found = []
    for log in sorted(cluster.directory.glob("broker-*/*.run/broker.log")):
        wrong = re.findall(r"^\[[^]]*\] (?:ERROR|FATAL) .*\n.*$", log.read_text("utf-8", "replace"), re.MULTILINE)
        found += [f"{log.parent.parent.name}: {lines}" for lines in wrong if not EXPECTED_ERRORS.search(lines)]
    return found


def controls(cluster: Cluster) -> str | None:
    number = cluster.controller()
    if number is None:
        return None
    return KAFKA if isinstance(cluster.brokers[number].server, KafkaBroker) else KSTORE


def move_controller(cluster: Cluster, kind: str) -> None:
    """As operators do it: the znode is deleted, until one of the wanted kind is elected."""

    def moved() -> bool:
        found = controls(cluster)
        if found not in (None, kind):
            cluster.delete("/controller")
        return found == kind

    eventually(moved, wanted=bool, timeout=60, what=f"a {kind} broker controls")


def make_lead(cluster: Cluster, tools: KafkaTools, number: int, file: Path) -> None:
    """Has a broker lead everything, as operators do it."""
    others = [each for each in cluster.brokers if each != number]
    move = Move(cluster, tools, TOPIC, [[number, *others]] * PARTITIONS, file)
    move.begin()
    move.wait_until_complete()
    elect_preferred(cluster, tools)
    eventually(
        lambda: [cluster.leader(TOPIC, index) for index in range(PARTITIONS)],
        wanted=lambda found: found == [number] * PARTITIONS,
        what=f"broker {number} leads",
    )


def load(directory: Path) -> MakeLoad:
    def made(history: History, where: Where) -> list[Worker]:
        return [
            LibrdkafkaProducer(history, "idempotent", where, idempotent=True),
            LibrdkafkaProducer(history, "plain", where, idempotent=False, per_second=100),
            JavaProducer(history, 1, where, directory / "java"),
            AssignReader(history, "reader", where),
            GroupReader(history, "member", where, "readers"),
        ]

    return made


def verify_replicas(cluster: Cluster) -> None:
    """ReplicaVerificationTool goes on until it is ended: it has to say of everything that nobody lags."""
    main = "org.apache.kafka.tools.ReplicaVerificationTool"
    words = [
        "--broker-list",
        cluster.bootstrap,
        "--topics-include",
        TOPIC,
        "--time",
        "-2",
        "--report-interval-ms",
        "1000",
    ]
    command = [*java_command("3.9.1", heap="256m"), main, *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        deadline = threading.Timer(60, process.kill)
        deadline.start()
        said, caught_up = [], 0
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            caught_up = caught_up + 1 if re.search(rf"max lag is 0 .* among {PARTITIONS} partitions", line) else 0
            if caught_up >= 2 or "has different" in line or "Exception" in line:
                break
        deadline.cancel()
        process.kill()
    text = "".join(said)
    assert caught_up >= 2, text
    assert not re.search("different|Exception|error", text, re.IGNORECASE), text


def assert_all_agree(cluster: Cluster, tools: KafkaTools) -> None:
    verify_replicas(cluster)
    # Before the end: whoever stops last finds nobody to lead what he led.
    assert errors_of(cluster) == []
    for number in cluster.brokers:
        cluster.stop(number)
    assert assert_same_batches(cluster, tools) > 100


@pytest.mark.parametrize("controller", [KSTORE, KAFKA])
def test_brokers_of_both_kinds_lead_die_and_control_and_hold_the_same(
    start_cluster: StartCluster, tools_39: KafkaTools, tmp_path: Path, controller: str
) -> None:
    cluster = start_cluster(kinds=[KSTORE, KAFKA, KSTORE])
    cluster.create_groups_topic()
    with Story(cluster, TOPIC, partitions=PARTITIONS, load=load(tmp_path), recovery_s=120) as story:
        move_controller(cluster, controller)
        for number in cluster.brokers:
            make_lead(cluster, tools_39, number, tmp_path / "reassignment.json")
            story.wait_for_progress(300)
            move_controller(cluster, controller)
        for number in cluster.brokers:
            with happening(Kill(broker(number)), cluster):
                story.wait_for_progress(500, timeout=60)
            cluster.wait_until_in_sync(120)
            move_controller(cluster, controller)
            story.wait_for_progress(300)
    assert_all_agree(cluster, tools_39)


def test_three_kafka_brokers_become_three_of_kstore_and_go_back(
    start_cluster: StartCluster, tools_39: KafkaTools, tmp_path: Path
) -> None:
    cluster = start_cluster(kinds=[KAFKA, KAFKA, KAFKA])
    cluster.create_groups_topic()
    with Story(cluster, TOPIC, partitions=PARTITIONS, load=load(tmp_path), recovery_s=120) as story:
        story.wait_for_progress(1000, timeout=60)
        for kind in (KSTORE, KAFKA):
            for number in cluster.brokers:
                cluster.replace(number, kind)
                cluster.wait_until_in_sync(120)
                story.wait_for_progress(500, timeout=60)
    assert_all_agree(cluster, tools_39)
