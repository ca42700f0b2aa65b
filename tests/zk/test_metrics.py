"""What members of a cluster tell of replication: numbers that follow what happens to a cluster of two."""

import re
import signal
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.judge.java import free_port
from tests.judge.kafka import ZooKeeper
from tests.judge.kstore import KstoreServer
from tests.zk.members import QUICK, Ledger, create_topic, eventually, wait_for_isr, wait_for_leader

pytestmark = pytest.mark.kafka

REPLICAS = "kafka_server_replicamanager"
CONTROLLER = "kafka_controller_kafkacontroller"
SESSION = "kafka_server_sessionexpirelistener"


class Watched(KstoreServer):
    """A broker with metrics."""

    def __init__(self, directory: Path, broker_id: int, zookeeper: ZooKeeper) -> None:
        identity = {"broker.id": str(broker_id), "zookeeper.connect": zookeeper.connect}
        # A follower that is stopped for good falls out of the ISR by its registration, one that sleeps by its lag.
        patient = {"zookeeper.session.timeout.ms": "4000", "replica.lag.time.max.ms": "1500"}
        super().__init__(directory / f"kstore-{broker_id}", overrides=QUICK | identity | patient)
        self.metrics_port = free_port()

    def command(self) -> list[str]:
        return [*super().command(), "--metrics-port", str(self.metrics_port)]

    def metrics(self) -> dict[str, float]:
        """`name{labels}` -> value."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        return {name: float(value) for name, value in re.findall(r"^(kafka_\S+) (\S+)$", text, re.MULTILINE)}


Pair = tuple[Watched, Watched]


@pytest.fixture
def pair(zookeeper_of_its_own: ZooKeeper, tmp_path: Path) -> Iterator[Pair]:
    one, two = (Watched(tmp_path, number, zookeeper_of_its_own) for number in (1, 2))
    with one, two:
        yield one, two


def wait_for(broker: Watched, name: str, wanted: Callable[[float], bool]) -> float:
    found = eventually(lambda: broker.metrics().get(name), wanted=lambda value: value is not None and wanted(value))
    assert found is not None
    return found


def test_who_leads_and_who_controls_is_told_once(pair: Pair) -> None:
    one, two = pair
    create_topic(pair, "orders", [[1, 2], [2, 1], [2, 1]])
    wait_for_isr(pair, "orders", {1, 2})
    eventually(
        lambda: [broker.metrics()[f"{REPLICAS}_leadercount"] for broker in pair], wanted=lambda found: found == [1, 2]
    )
    assert [broker.metrics()[f"{REPLICAS}_partitioncount"] for broker in pair] == [3, 3]
    controls = [broker.metrics()[f"{CONTROLLER}_activecontrollercount"] for broker in pair]
    assert sorted(controls) == [0, 1]
    controller, other = (one, two) if controls[0] else (two, one)
    wait_for(controller, f"{CONTROLLER}_activebrokercount", lambda count: count == 2)
    found = controller.metrics()
    assert (found[f"{CONTROLLER}_globaltopiccount"], found[f"{CONTROLLER}_globalpartitioncount"]) == (1, 3)
    # The sum over all brokers is the cluster's.
    assert other.metrics()[f"{CONTROLLER}_globalpartitioncount"] == 0
    for broker in pair:
        assert broker.metrics()[f"{SESSION}_sessionstate"] == 1
        assert broker.metrics()[f"{SESSION}_zookeepersyncconnects_total"] == 1


def test_a_follower_that_goes_and_comes_is_counted(pair: Pair) -> None:
    one, two = pair
    create_topic(pair, "orders", [[1, 2]], min_insync_replicas="2")
    wait_for_isr(pair, "orders", {1, 2})
    before = one.metrics()
    assert (before[f"{REPLICAS}_underreplicatedpartitions"], before[f"{REPLICAS}_atminisrpartitioncount"]) == (0, 1)
    two.kill()
    wait_for(one, f"{REPLICAS}_underminisrpartitioncount", lambda count: count == 1)
    assert one.metrics()[f"{REPLICAS}_underreplicatedpartitions"] == 1
    two.start()
    wait_for(one, f"{REPLICAS}_isrexpands_total", lambda count: count == before[f"{REPLICAS}_isrexpands_total"] + 1)
    wait_for(one, f"{REPLICAS}_underreplicatedpartitions", lambda count: count == 0)
    Ledger(pair, "orders").flush()


def test_a_follower_that_sleeps_is_a_shrink_of_the_isr(pair: Pair) -> None:
    one, two = pair
    create_topic(pair, "orders", [[1, 2]])
    wait_for_isr(pair, "orders", {1, 2})
    wait_for_leader(pair, "orders", 1)
    before = one.metrics()[f"{REPLICAS}_isrshrinks_total"]
    two.signal(signal.SIGSTOP)
    try:
        ledger = Ledger([one], "orders", acks="1")
        ledger.produce(100)
        ledger.flush()
        wait_for(one, f"{REPLICAS}_isrshrinks_total", lambda count: count == before + 1)
    finally:
        two.signal(signal.SIGCONT)
    wait_for_isr(pair, "orders", {1, 2})
    lag = 'kafka_server_fetcherlagmetrics_consumerlag{clientid="ReplicaFetcherThread-0-1",partition="0",topic="orders"}'
    wait_for(two, lag, lambda value: value == 0)
    wait_for(two, 'kafka_server_replicafetchermanager_maxlag{clientid="Replica"}', lambda value: value == 0)


def test_partitions_without_a_leader_and_with_another_than_the_preferred_one_are_told_by_the_controller(
    pair: Pair, zookeeper_of_its_own: ZooKeeper
) -> None:
    one, two = pair
    controls = [broker.metrics()[f"{CONTROLLER}_activecontrollercount"] for broker in pair]
    (controller, staying), (other, leaving) = ((one, 1), (two, 2)) if controls[0] else ((two, 2), (one, 1))
    create_topic(pair, "alone", [[leaving]])
    create_topic(pair, "led", [[leaving, staying]])
    wait_for_isr(pair, "led", {1, 2})
    other.kill()
    wait_for(controller, f"{CONTROLLER}_offlinepartitionscount", lambda count: count == 1)
    assert controller.metrics()[f"{CONTROLLER}_preferredreplicaimbalancecount"] == 2
    assert controller.metrics()[f"{CONTROLLER}_activebrokercount"] == 1
    zookeeper_of_its_own.stop()
    wait_for(controller, f"{SESSION}_sessionstate", lambda state: state == 0)
    assert controller.metrics()[f"{SESSION}_zookeeperdisconnects_total"] == 1
    zookeeper_of_its_own.start()
    wait_for(controller, f"{SESSION}_sessionstate", lambda state: state == 1)
