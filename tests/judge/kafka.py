"""A real Apache Kafka (or ZooKeeper) process on a directory, for tests and measurements.

    with KafkaBroker("3.9.1", tmp_path / "data") as broker:
        broker.bootstrap, broker.port, broker.log_directory, broker.pid
        broker.stop()   # clean, as SIGTERM does
        broker.kill()   # kill -9
        broker.start()  # again, same directory and ports

A directory with a meta.properties (Kafka's or kstore's) is started as it is; a fresh one is formatted first.
"""

import os
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from kstore.model import random_uuid, uuid_to_text
from tests.judge.java import QUICK_JVM, JudgeError, free_port, java_command
from tests.judge.process import MetadataProbe, Probe, ServerProcess

ONE_NODE = {
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "group.initial.rebalance.delay.ms": "0",
    # After kill -9 a KRaft controller takes a broker back when its old session has run out (else 9 s).
    "broker.session.timeout.ms": "1000",
    "broker.heartbeat.interval.ms": "200",
}
ONE_NODE_4 = {
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
}


class ZooKeeperProbe(Probe):
    """`srvr` is among the four-letter words that ZooKeeper answers by default."""

    def __init__(self, port: int) -> None:
        super().__init__(port, b"srvr")

    def is_ready(self, connection: socket.socket) -> bool:
        return b"Mode:" in connection.recv(4096)


class ZooKeeper(ServerProcess):
    """One ZooKeeper server, of the jars that Kafka 3.9.1 brings: alone, or one of an ensemble.

    `ensemble` is the same for all of its members: (port to follow, port to elect) of each, in the order of their ids,
    which begin with 1.
    """

    def __init__(self, directory: Path, *, my_id: int = 1, ensemble: Sequence[tuple[int, int]] = ()) -> None:
        super().__init__("ZooKeeper", directory / "zookeeper.log")
        self.directory = directory
        self.port = free_port()
        self.my_id = my_id
        self.ensemble = ensemble

    @property
    def connect(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self, timeout: float = 30) -> None:
        self.spawn_only()
        self.wait_until_ready(timeout)

    def spawn_only(self) -> None:
        """Without waiting: a member of an ensemble serves when there is a majority."""
        data = self.directory / "data"
        data.mkdir(parents=True, exist_ok=True)
        settings = (
            f"dataDir={data}\nclientPort={self.port}\nclientPortAddress=127.0.0.1\n"
            "tickTime=500\nmaxClientCnxns=0\nadmin.enableServer=false\n"
        )
        if self.ensemble:
            settings += "initLimit=20\nsyncLimit=10\n"
            for number, (follow, elect) in enumerate(self.ensemble, 1):
                settings += f"server.{number}=127.0.0.1:{follow}:{elect}\n"
            (data / "myid").write_text(str(self.my_id))
        file = self.directory / "zoo.cfg"
        file.write_text(settings)
        main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
        self.spawn([*java_command("3.9.1", heap="256m"), main, str(file)])

    def wait_until_ready(self, timeout: float = 30) -> None:
        self.wait_for_answer(ZooKeeperProbe(self.port), timeout)


def zookeeper_ensemble(directory: Path, size: int = 3) -> list[ZooKeeper]:
    """Members that have not been started yet."""
    ports = [(free_port(), free_port()) for _ in range(size)]
    return [ZooKeeper(directory / f"{number}", my_id=number, ensemble=ports) for number in range(1, size + 1)]


class KafkaBroker(ServerProcess):
    """One broker: KRaft combined (broker and controller), or in ZooKeeper mode where `zookeeper` is given.

    `directory` is the broker's log directory itself (what `log.dirs` names); configuration and output lie
    beside it, in `<directory>.run/`, because Kafka refuses foreign directories in a log directory.
    """

    def __init__(
        self,
        version: str,
        directory: Path,
        *,
        port: int = 0,
        zookeeper: ZooKeeper | None = None,
        node_id: int | None = None,
        cluster_id: str | None = None,
        overrides: Mapping[str, str] | None = None,
        heap: str = "512m",
        jvm_flags: Sequence[str] = QUICK_JVM,
        log_level: str = "INFO",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        run_directory = directory.with_name(f"{directory.name}.run")
        super().__init__(f"Kafka {version}", run_directory / "broker.log")
        self.version = version
        self.log_directory = directory
        self.run_directory = run_directory
        self.port = port or free_port()
        self.controller_port = free_port()
        self.zookeeper = zookeeper
        self.node_id = node_id
        self.cluster_id = cluster_id
        self.overrides = dict(overrides or {})
        self.heap = heap
        self.jvm_flags = jvm_flags
        self.log_level = log_level
        self.environment = environment

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    def partition_directory(self, topic: str, partition: int = 0) -> Path:
        return self.log_directory / f"{topic}-{partition}"

    def start(self, timeout: float = 90) -> None:
        self.spawn_only()
        self.wait_for_answer(MetadataProbe(self.port), timeout)

    def prepare(self) -> None:
        """Configuration, and a format of a directory that is fresh: what comes before the first start."""
        self.log_directory.mkdir(parents=True, exist_ok=True)
        self.run_directory.mkdir(parents=True, exist_ok=True)
        found = read_properties(self.log_directory / "meta.properties")
        if self.node_id is None:
            self.node_id = int(found.get("node.id", found.get("broker.id", "1")))
        self.properties_file.write_text("".join(f"{key}={value}\n" for key, value in self.properties().items()))
        if not found and self.zookeeper is None:
            self._format()

    def spawn_only(self) -> None:
        """Starts the process without waiting for its readiness, for who measures that."""
        self.prepare()
        command = java_command(self.version, heap=self.heap, log_level=self.log_level, flags=self.jvm_flags)
        environment = None if self.environment is None else {**os.environ, **self.environment}
        self.spawn([*command, "kafka.Kafka", str(self.properties_file)], environment)

    @property
    def properties_file(self) -> Path:
        return self.run_directory / "server.properties"

    def properties(self) -> dict[str, str]:
        common = {"log.dirs": str(self.log_directory), **ONE_NODE}
        if self.zookeeper is not None:
            mode = {
                "broker.id": str(self.node_id),
                "zookeeper.connect": self.zookeeper.connect,
                "inter.broker.protocol.version": "3.9",
                "listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            }
        else:
            mode = {
                "process.roles": "broker,controller",
                "node.id": str(self.node_id),
                "controller.quorum.voters": f"{self.node_id}@127.0.0.1:{self.controller_port}",
                "controller.listener.names": "CONTROLLER",
                "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
                "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self.controller_port}",
                "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            }
        extra = ONE_NODE_4 if self.version.startswith("4.") else {}
        return {**common, **extra, **mode, **self.overrides}

    def _format(self) -> None:
        cluster_id = self.cluster_id or uuid_to_text(random_uuid())
        command = java_command(self.version, heap="256m")
        command += ["kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(self.properties_file)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise JudgeError(f"format failed\n{done.stdout}\n{done.stderr}")


def read_properties(file: Path) -> dict[str, str]:
    """A Java properties file without escapes, as meta.properties is; empty where there is none."""
    if not file.exists():
        return {}
    lines = [line for line in file.read_text().splitlines() if "=" in line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)
