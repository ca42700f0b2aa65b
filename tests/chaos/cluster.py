"""Three brokers on a ZooKeeper, and between all of them a network that can be cut.

    with Cluster(directory) as cluster:                    # three kstore brokers
        cluster.bootstrap                                  # for clients, over the network
        cluster.controller(), cluster.leader("orders", 0)  # as ZooKeeper says
        cluster.network.cut("1", "2")
        cluster.brokers[1].server.kill()

Each broker has a listener for clients and one for brokers, and advertises the network's doors to them; whose connection
it is that comes to the brokers' door the network finds out. To ZooKeeper each broker has doors of its own.
"""

import json
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NoNodeError
from kazoo.handlers.threading import KazooTimeoutError

from tests.chaos.disk import Disk, environment_of
from tests.chaos.network import Network
from tests.judge import log_file
from tests.judge.java import JudgeError, free_port
from tests.judge.kafka import KafkaBroker, ZooKeeper, zookeeper_ensemble
from tests.judge.kstore import KstoreServer

Value = TypeVar("Value")
Server = KstoreServer | KafkaBroker

KSTORE, KAFKA = "kstore", "kafka"
CLIENTS, ZOOKEEPER = "clients", "zookeeper"
GROUPS_TOPIC = "__consumer_offsets"

# Failures are noticed in seconds, and segments roll.
SETTINGS = {
    "zookeeper.session.timeout.ms": "4000",
    "zookeeper.connection.timeout.ms": "20000",
    "controlled.shutdown.retry.backoff.ms": "500",
    "replica.lag.time.max.ms": "4000",
    "replica.fetch.backoff.ms": "100",
    "replica.fetch.wait.max.ms": "200",
    "replica.socket.timeout.ms": "4000",
    "offsets.topic.num.partitions": "1",
    "offsets.topic.replication.factor": "3",
    "min.insync.replicas": "2",
    "group.initial.rebalance.delay.ms": "0",
    "log.segment.bytes": "1048576",
    "listener.security.protocol.map": "CLIENTS:PLAINTEXT,BROKERS:PLAINTEXT",
    "inter.broker.listener.name": "BROKERS",
}


class Broker:
    """A place in the cluster: its number, ports, doors and directories stay, whoever serves there."""

    def __init__(self, number: int, directory: Path, disks: int) -> None:
        self.id = number
        self.name = str(number)
        self.clients_port, self.brokers_port = free_port(), free_port()
        self.clients_door = self.brokers_door = 0
        self.disks = [Disk(directory / ("data" if index == 0 else f"data-{index}")) for index in range(disks)]
        self.server: Server
        self.pid = 0  # of who serves there, or did so last: he connects anew while he stops

    @property
    def rack(self) -> str:
        """Of its own."""
        return f"rack-{self.id}"

    @property
    def bootstrap(self) -> str:
        """As clients reach it."""
        return f"127.0.0.1:{self.clients_door}"

    def partition_directory(self, topic: str, partition: int = 0) -> Path:
        """On whichever disk it lies."""
        places = [disk.directory / f"{topic}-{partition}" for disk in self.disks]
        return next((place for place in places if place.is_dir()), places[0])


class State(NamedTuple):
    """A partition, as ZooKeeper has it."""

    leader: int
    isr: frozenset[int]
    leader_epoch: int


class UnknownError(Exception):
    """ZooKeeper gives no answer."""


class Cluster:
    def __init__(
        self,
        directory: Path,
        *,
        kinds: Sequence[str] = (KSTORE, KSTORE, KSTORE),
        zookeepers: int = 1,
        disks: int = 1,
        failing_disks: bool = False,
        overrides: Mapping[str, str] | None = None,
    ) -> None:
        """`kinds` of the brokers 1, 2, 3...; with `failing_disks` their disks can be made to fail."""
        self.directory = directory
        self.overrides = dict(overrides or {})
        self.failing_disks = failing_disks
        # Those whose end nobody asked for are noticed by `check_alive`.
        self.down: set[int] = set()
        alone = [ZooKeeper(directory / "zookeeper")]
        self.zookeepers = alone if zookeepers == 1 else zookeeper_ensemble(directory / "zookeeper", zookeepers)
        self.brokers = {
            number: Broker(number, directory / f"broker-{number}", disks) for number in range(1, len(kinds) + 1)
        }
        self.network = Network(self._pids)
        self._zookeeper_doors: dict[int, str] = {}
        for broker, kind in zip(self.brokers.values(), kinds, strict=True):
            self._open_doors(broker)
            broker.server = self.new_server(broker, kind)
        self._znodes = KazooClient(",".join(each.connect for each in self.zookeepers), timeout=10)

    # --- making ---

    def _pids(self) -> dict[str, int]:
        for broker in self.brokers.values():
            if broker.server.is_running:
                broker.pid = broker.server.pid
        return {broker.name: broker.pid for broker in self.brokers.values() if broker.pid}

    def _open_doors(self, broker: Broker) -> None:
        broker.clients_door = self.network.door(broker.name, broker.clients_port, source=CLIENTS)
        broker.brokers_door = self.network.door(broker.name, broker.brokers_port)
        doors = [self.network.door(ZOOKEEPER, each.port, source=broker.name) for each in self.zookeepers]
        self._zookeeper_doors[broker.id] = ",".join(f"127.0.0.1:{door}" for door in doors)

    def settings(self, broker: Broker) -> dict[str, str]:
        listeners = f"CLIENTS://127.0.0.1:{broker.clients_port},BROKERS://127.0.0.1:{broker.brokers_port}"
        advertised = f"CLIENTS://127.0.0.1:{broker.clients_door},BROKERS://127.0.0.1:{broker.brokers_door}"
        own = {
            "broker.id": str(broker.id),
            "broker.rack": broker.rack,
            "zookeeper.connect": self._zookeeper_doors[broker.id],
            "listeners": listeners,
            "advertised.listeners": advertised,
            "log.dirs": ",".join(str(disk.directory) for disk in broker.disks),
        }
        return SETTINGS | own | self.overrides

    def new_server(self, broker: Broker, kind: str) -> Server:
        """A broker of this kind for the place, not started yet."""
        environment = environment_of(broker.disks) if self.failing_disks else None
        for disk in broker.disks:
            disk.directory.mkdir(parents=True, exist_ok=True)
        if kind == KSTORE:
            return KstoreServer(
                broker.disks[0].directory,
                port=broker.clients_port,
                overrides=self.settings(broker),
                environment=environment,
            )
        return KafkaBroker(
            "3.9.1",
            broker.disks[0].directory,
            port=broker.clients_port,
            zookeeper=self.zookeepers[0],
            node_id=broker.id,
            overrides=self.settings(broker),
            heap="256m",
            environment=environment,
        )

    def start(self) -> None:
        for zookeeper in self.zookeepers:
            zookeeper.spawn_only()
        for zookeeper in self.zookeepers:
            zookeeper.wait_until_ready()
        self._znodes.start(20)
        with ThreadPoolExecutor(len(self.brokers)) as pool:
            list(pool.map(lambda broker: broker.server.start(), self.brokers.values()))
        eventually(self.registered, wanted=lambda found: found == set(self.brokers), what="all are registered")

    def close(self) -> None:
        """Whatever still runs is killed."""
        for broker in self.brokers.values():
            broker.server.kill()
        self._znodes.stop()
        self._znodes.close()
        for zookeeper in self.zookeepers:
            zookeeper.kill()
        self.network.close()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- brokers that go and come ---

    def kill(self, number: int) -> None:
        self.down.add(number)
        self.brokers[number].server.kill()

    def stop(self, number: int, timeout: float = 60) -> None:
        """A controlled shutdown."""
        self.down.add(number)
        self._pids()
        self.brokers[number].server.stop(timeout)

    def bring_up(self, number: int, timeout: float = 60) -> None:
        """Starts it where it does not run."""
        server = self.brokers[number].server
        if not server.is_running:
            server.end(9, 10)  # what ended by itself has left its process object
            server.start(timeout)
        self.down.discard(number)

    def replace(self, number: int, kind: str) -> None:
        """Stops the broker in order, and starts one of another kind on its directories."""
        broker = self.brokers[number]
        self.stop(number)
        broker.server = self.new_server(broker, kind)
        self.bring_up(number, timeout=90)

    def check_alive(self) -> None:
        """Raises JudgeError if a broker ended that nobody had asked to."""
        for broker in self.brokers.values():
            if broker.id not in self.down and not broker.server.is_running:
                raise JudgeError(f"broker {broker.id} ended by itself\n{broker.server.log_tail()}")

    # --- what ZooKeeper says ---

    def znode(self, path: str) -> Any:
        """The JSON in it, None where there is none. Raises UnknownError."""
        try:
            return json.loads(self._znodes.get_async(path).get(timeout=5)[0])
        except NoNodeError:
            return None
        except (KazooException, KazooTimeoutError) as error:
            raise UnknownError(f"{path}: {error!r}") from None

    def children(self, path: str) -> list[str]:
        try:
            found: list[str] = self._znodes.get_children_async(path).get(timeout=5)
        except NoNodeError:
            return []
        except (KazooException, KazooTimeoutError) as error:
            raise UnknownError(f"{path}: {error!r}") from None
        return found

    def delete(self, path: str) -> None:
        try:
            self._znodes.delete_async(path).get(timeout=5)
        except NoNodeError:
            return
        except (KazooException, KazooTimeoutError) as error:
            raise UnknownError(f"{path}: {error!r}") from None

    def registered(self) -> set[int]:
        return {int(name) for name in self.children("/brokers/ids")}

    def controller(self) -> int | None:
        found = self.znode("/controller")
        return None if found is None else int(found["brokerid"])

    def state(self, topic: str, partition: int = 0) -> State | None:
        found = self.znode(f"/brokers/topics/{topic}/partitions/{partition}/state")
        return None if found is None else State(found["leader"], frozenset(found["isr"]), found["leader_epoch"])

    def replicas(self, topic: str) -> dict[int, list[int]]:
        found = self.znode(f"/brokers/topics/{topic}")
        return {} if found is None else {int(index): each for index, each in found["partitions"].items()}

    def leader(self, topic: str, partition: int = 0) -> int | None:
        """None where there is none."""
        found = self.state(topic, partition)
        return None if found is None or found.leader < 0 else found.leader

    def follower(self, topic: str, partition: int = 0) -> int | None:
        found = self.state(topic, partition)
        others = [] if found is None else sorted(found.isr - {found.leader})
        return others[0] if others else None

    def coordinator(self) -> int | None:
        """Of all groups: their topic has one partition."""
        return self.leader(GROUPS_TOPIC)

    def out_of_sync(self) -> list[str]:
        """The partitions that have no leader, or replicas that are not in sync."""
        found = []
        for topic in self.children("/brokers/topics"):
            for partition, replicas in self.replicas(topic).items():
                state = self.state(topic, partition)
                if state is None or state.leader < 0 or state.isr != frozenset(replicas):
                    found.append(f"{topic}-{partition} of {replicas}: {state}")
        return found

    def wait_until_in_sync(self, timeout: float = 60) -> None:
        eventually(
            lambda: (self.out_of_sync(), sorted(set(self.brokers) - self.registered())),
            wanted=lambda found: found == ([], []),
            timeout=timeout,
            what="every replica is in sync, nobody is missing",
        )

    def end_session(self, number: int) -> bool:
        """Ends a broker's session behind its back; False where it has none.

        Whoever knows a session's id and password may take it over, and close it. The password follows from the id
        (ZooKeeperServer.generatePasswd).
        """
        try:
            _, stat = self._znodes.get_async(f"/brokers/ids/{number}").get(timeout=5)
        except NoNodeError:
            return False
        except (KazooException, KazooTimeoutError) as error:
            raise UnknownError(repr(error)) from None
        session = stat.ephemeralOwner
        client = KazooClient(self._znodes_hosts, timeout=4, client_id=(session, session_password(session)))
        client.start(10)
        client.stop()
        client.close()
        return True

    @property
    def _znodes_hosts(self) -> str:
        return ",".join(each.connect for each in self.zookeepers if each.is_running)

    # --- what clients do ---

    @property
    def bootstrap(self) -> str:
        return ",".join(broker.bootstrap for broker in self.brokers.values())

    def create_topic(
        self,
        name: str,
        partitions: int = 3,
        *,
        assignment: list[list[int]] | None = None,
        configs: Mapping[str, str] | None = None,
    ) -> None:
        """With a replica on every broker, and everything in sync."""
        given = {"replica_assignment": assignment} if assignment else {"replication_factor": len(self.brokers)}
        topic = NewTopic(name, len(assignment or ()) or partitions, config=dict(configs or {}), **given)
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        admin.create_topics([topic], request_timeout=30)[name].result(40)
        wanted = range(topic.num_partitions)
        eventually(
            lambda: [self.state(name, index) for index in wanted],
            wanted=lambda found: all(state is not None and state.leader > 0 for state in found),
            what=f"{name} has leaders",
        )

    def delete_first_records(self, topic: str, partitions: int, count: int) -> None:
        """So many are sent to each partition, and deleted: it begins there."""
        producer = Producer({"bootstrap.servers": self.bootstrap, "acks": "all"})
        for partition in range(partitions):
            for _ in range(count):
                producer.produce(topic, b"deleted", partition=partition)
        assert producer.flush(30) == 0
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        before = [TopicPartition(topic, partition, count) for partition in range(partitions)]
        for deleted in admin.delete_records(before).values():
            assert deleted.result(30).low_watermark == count

    def create_groups_topic(self) -> None:
        """Has the groups' topic made, by a group that commits nothing."""

        def is_there() -> bool:
            consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "first"})
            try:
                consumer.subscribe(["none"])
                consumer.poll(0.5)
                return self.leader(GROUPS_TOPIC) is not None
            finally:
                consumer.close()

        eventually(is_there, wanted=bool, what="the groups' topic is there")

    # --- what the directories say ---

    def log_bytes(self, number: int, topic: str, partition: int, *, begin: int = 0) -> bytes:
        """All segments of a replica, one after the other, without the batches that end below `begin`."""
        directory = self.brokers[number].partition_directory(topic, partition)
        log = b"".join(file.read_bytes() for file in sorted(directory.glob("*.log")))
        before = log_file.batches(directory) if begin else []
        return log[sum(batch.size_in_bytes for batch in before if batch.last_offset < begin) :]

    def wait_for_same_logs(self, topic: str, timeout: float = 30, *, begin: int = 0) -> None:
        """Byte by byte, on all replicas of all partitions; what was deleted below `begin` some have still."""
        for partition, replicas in self.replicas(topic).items():
            eventually(
                lambda partition=partition, replicas=replicas: [  # type: ignore[misc]
                    self.log_bytes(number, topic, partition, begin=begin) for number in replicas
                ],
                wanted=lambda logs: len(set(logs)) == 1,
                timeout=timeout,
                what=f"the logs of {topic}-{partition} are the same",
                shown=lambda logs: [(len(log), hash(log)) for log in logs],
            )

    def log_complaints(self) -> list[str]:
        """Lines of the logs of kstore's brokers, past ones too, that tell of a mistake in the broker itself."""
        found = []
        for log in sorted(self.directory.glob("broker-*/*.run/server.log")):
            lines = log.read_text("utf-8", "replace").splitlines()
            name = log.parent.parent.name
            found += [f"{name}: {line}" for line in lines if any(word in line for word in MISTAKES)]
        return found


# The fixture `start_cluster`.
StartCluster = Callable[..., Cluster]

# In kstore's log: what is caught nowhere, and what must not be.
MISTAKES = ("Traceback (most recent call last)", "AssertionError", "a background task failed")


def eventually(
    ask: Callable[[], Value],
    *,
    wanted: Callable[[Value], bool],
    timeout: float = 30,
    what: str = "",
    shown: Callable[[Value], Any] = lambda found: found,
) -> Value:
    """What `ask` gives as soon as it is `wanted`; fails with the last answer. ZooKeeper may be away for a while."""
    deadline = time.monotonic() + timeout
    last = "nothing"
    while True:
        try:
            found = ask()
            if wanted(found):
                return found
            last = repr(shown(found))
        except UnknownError as error:
            last = str(error)
        assert time.monotonic() < deadline, f"not within {timeout:.0f} s: {what}; it is {last}"
        time.sleep(0.1)


def session_password(session: int) -> bytes:
    """Of ZooKeeper's sessions: java.util.Random, sown with the id."""
    mask = (1 << 48) - 1
    seed = (session ^ 0xB3415C00 ^ 0x5DEECE66D) & mask
    password = b""
    for _ in range(4):
        seed = (seed * 0x5DEECE66D + 0xB) & mask
        password += struct.pack("<I", (seed >> 16) & 0xFFFFFFFF)
    return password
