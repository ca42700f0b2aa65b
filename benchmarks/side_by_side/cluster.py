"""Three brokers of one kind on a ZooKeeper of their own, as their users run them."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic
from kazoo.client import KazooClient

from benchmarks.side_by_side.brokers import KAFKA_FLAGS, SETTINGS, Broker
from kstore.cli.elect import ELECT_VERSION, codes_of
from kstore.cli.errors import CommandError
from kstore.cli.wire import Wire
from kstore.protocol.messages.elect_leaders import ElectLeadersRequest
from tests.judge.java import wait_until
from tests.judge.kafka import KafkaBroker, ZooKeeper
from tests.judge.kstore import KstoreServer

IDS = (1, 2, 3)
KAFKA_HEAP = "512m"
SESSION_TIMEOUT_MS = 6000
CLUSTER_SETTINGS = SETTINGS | {"zookeeper.session.timeout.ms": str(SESSION_TIMEOUT_MS)}
PATIENCE_S = 120


class Cluster:
    """`name` is `kafka` or `kstore`; it has `bootstrap` and `pids`, as a load wants them."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.directory = directory
        self.zookeeper = ZooKeeper(directory / "zookeeper")
        self.brokers: dict[int, Broker] = {number: self._make(number) for number in IDS}

    def _make(self, number: int) -> Broker:
        directory = self.directory / f"broker-{number}"
        if self.name == "kstore":
            identity = {"broker.id": str(number), "zookeeper.connect": self.zookeeper.connect}
            return KstoreServer(directory, overrides=CLUSTER_SETTINGS | identity)
        flags = [flag for flag in KAFKA_FLAGS if not flag.startswith("-Xms")]
        return KafkaBroker(
            "3.9.1",
            directory,
            zookeeper=self.zookeeper,
            node_id=number,
            heap=KAFKA_HEAP,
            jvm_flags=(f"-Xms{KAFKA_HEAP}", *flags),
            log_level="WARN",
            overrides=CLUSTER_SETTINGS,
        )

    @property
    def bootstrap(self) -> str:
        return ",".join(broker.bootstrap for broker in self.brokers.values())

    @property
    def pids(self) -> tuple[int, ...]:
        return tuple(broker.pid for broker in self.brokers.values())

    def start(self) -> None:
        self.zookeeper.start()
        for broker in self.brokers.values():
            broker.start()

    def end(self) -> None:
        for broker in self.brokers.values():
            broker.kill()
        self.zookeeper.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    # --- what it says of itself ---

    def ask(self) -> Wire:
        """The brokers that run."""
        return Wire(",".join(each.bootstrap for each in self.brokers.values() if each.is_running), PATIENCE_S)

    def partitions(self, topic: str) -> dict[int, Any]:
        with self.ask() as wire:
            (found,) = wire.metadata([topic]).topics
        return {each.partition_index: each for each in found.partitions}

    def controller(self) -> int:
        with self.ask() as wire:
            return int(wire.metadata([]).controller_id)

    def led_by(self, broker_id: int, topic: str) -> list[int]:
        return [index for index, each in self.partitions(topic).items() if each.leader_id == broker_id]

    def wait_for_isr(self, topic: str, size: int = len(IDS)) -> None:
        def in_sync() -> bool:
            try:
                found = self.partitions(topic).values()
            except CommandError:
                return False  # the broker that is asked has yet to hear of the topic
            return all(len(each.isr_nodes) == size and each.leader_id >= 0 for each in found)

        wait_until(in_sync, timeout=PATIENCE_S, what=f"{size} replicas of {topic} are in sync", interval=0.1)

    def lead_as_preferred(self, topic: str) -> None:
        """Where a cluster can be asked for it; else leaders stay where they are."""
        request = ElectLeadersRequest(election_type=0, topic_partitions=None, timeout_ms=30_000)
        try:
            with self.ask() as wire:
                wire.ask_controller(request, ELECT_VERSION, codes=codes_of)
        except CommandError:
            return

        def preferred() -> bool:
            return all(each.leader_id == each.replica_nodes[0] for each in self.partitions(topic).values())

        wait_until(preferred, timeout=PATIENCE_S, what=f"the preferred replicas of {topic} lead", interval=0.1)

    # --- topics ---

    @contextmanager
    def topic(self, name: str, assignment: list[list[int]], **config: str) -> Iterator[str]:
        """A topic with two in-sync replicas at least, deleted with its files in the end."""
        configs = {"min.insync.replicas": "2", "file.delete.delay.ms": "100", **config}
        new = NewTopic(name, len(assignment), replica_assignment=assignment, config=configs)
        self._administer(lambda admin: admin.create_topics([new], request_timeout=60)[name])
        self.wait_for_isr(name)
        try:
            yield name
        finally:
            self._administer(lambda admin: admin.delete_topics([name], request_timeout=60)[name])
            wait_until(lambda: not self.files(name), timeout=PATIENCE_S, what=f"the files of {name} are deleted")

    def _administer(self, ask: Callable[[AdminClient], Any]) -> None:
        """Asks by a client of its own: one from before may take another broker for the controller."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
            try:
                ask(admin).result(60)
                return
            except KafkaException as error:
                if error.args[0].code() != KafkaError.NOT_CONTROLLER or time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def files(self, topic: str) -> list[Path]:
        return [path for broker in self.brokers.values() for path in broker.log_directory.glob(f"{topic}-*")]

    def log_bytes(self, broker_id: int, topic: str) -> int:
        """Of all segments of a topic on one broker."""
        logs = self.brokers[broker_id].log_directory.glob(f"{topic}-*/*.log")
        return sum(path.stat().st_size for path in logs)


def rotated(partitions: int) -> list[list[int]]:
    """Replicas on all three brokers, each of them preferred for a third of the partitions."""
    return [[IDS[(index + place) % 3] for place in range(3)] for index in range(partitions)]


class Departure:
    """When a broker's znode went: nobody can be elected before."""

    def __init__(self, cluster: Cluster, broker_id: int) -> None:
        self._path = f"/brokers/ids/{broker_id}"
        self._client = KazooClient(cluster.zookeeper.connect)
        self._gone = threading.Event()
        self.at = 0.0

    def __enter__(self) -> "Departure":
        self._client.start(10)
        assert self._client.exists(self._path, watch=self._changed), f"{self._path} is not there"
        return self

    def _changed(self, event: Any) -> None:
        self.at = time.monotonic()
        self._gone.set()

    def wait(self) -> float:
        assert self._gone.wait(PATIENCE_S), f"{self._path} stays"
        return self.at

    def __exit__(self, *error: object) -> None:
        self._client.stop()
        self._client.close()


@contextmanager
def both(workplace: Path) -> Iterator[Mapping[str, Cluster]]:
    clusters = {name: Cluster(name, workplace / f"{name}-cluster") for name in ("kafka", "kstore")}
    try:
        for cluster in clusters.values():
            cluster.start()
        yield clusters
    finally:
        for cluster in clusters.values():
            cluster.end()
