"""One broker of the simulation: kstore's own `App` in a process that can be killed, paused, and lose its power."""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kstore.errors import KstoreError
from kstore.model import TopicPartition
from kstore.replica.partition import Partition
from kstore.server.app import App
from kstore.server.config import ServerConfig
from kstore.server.properties_file import Property
from tests.sim.loop import Process, SimClock

if TYPE_CHECKING:
    from tests.sim.world import World

PORT = 9092
# A supervisor starts a broker again that has ended by itself.
RESTART_S = 2.0

PROPERTIES = {
    "zookeeper.connect": "zk:2181",
    "zookeeper.session.timeout.ms": "6000",
    "zookeeper.connection.timeout.ms": "4000",
    "inter.broker.protocol.version": "3.9",
    "auto.create.topics.enable": "false",
    "min.insync.replicas": "2",
    "default.replication.factor": "3",
    "controlled.shutdown.retry.backoff.ms": "500",
    "replica.lag.time.max.ms": "8000",
    "replica.fetch.wait.max.ms": "2000",
    "replica.fetch.backoff.ms": "200",
    "replica.socket.timeout.ms": "6000",
    "replica.high.watermark.checkpoint.interval.ms": "3000",
    "log.flush.offset.checkpoint.interval.ms": "20000",
    "log.segment.bytes": "4096",
    "log.retention.ms": "-1",
    "log.cleaner.enable": "false",
    "log.segment.delete.delay.ms": "2000",
    "offsets.topic.num.partitions": "1",
}

_configs: dict[tuple[tuple[str, str], ...], ServerConfig] = {}


def config_of(properties: Mapping[str, str]) -> ServerConfig:
    """Parsed once in a process, for brokers start by the thousand."""
    key = tuple(sorted(properties.items()))
    if key not in _configs:
        _configs[key] = ServerConfig([Property(name, value, "simulation") for name, value in key])
    return _configs[key]


class SimBroker:
    def __init__(self, world: "World", number: int, overrides: Mapping[str, str]) -> None:
        self.id = number
        self.name = f"b{number}"
        self.world = world
        self.app: App | None = None
        self.process: Process | None = None
        self.is_wanted = True
        self.has_started = False
        self.lives = 0
        # How often its machine has lost its power.
        self.losses = 0
        directories = [world.disks.directory_of(self.name, each) for each in range(world.plan.log_dirs)]
        self._properties = {
            **PROPERTIES,
            "broker.id": str(number),
            "listeners": f"PLAINTEXT://{self.name}:{PORT}",
            "log.dirs": ",".join(directories),
            **overrides,
        }

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.is_alive

    def partition(self, key: TopicPartition) -> Partition | None:
        """What this broker holds, while it lives."""
        replicas = getattr(self.app.context, "replicas", None) if self.app is not None and self.is_alive else None
        return None if replicas is None else replicas.partitions.get(key)

    def start(self) -> None:
        if self.is_alive:
            return
        self.is_wanted = True
        self.lives += 1
        world = self.world
        process = self.process = Process(self.name)
        world.processes.append(process)
        world.network.started(self.name)
        world.trace(f"{self.name} starts")
        self.has_started = False
        config_of(self._properties)
        process.context.run(world.loop.create_task, self._run(process))

    async def _run(self, process: Process) -> None:
        config = config_of(self._properties)
        try:
            app = self.app = App(
                config, clock=SimClock(self.world.loop, process), boot_id=f"{self.name} start {self.losses}"
            )
            await app.start()
            self.has_started = True
            await app.stopping.wait()
            await app.stop()
            why = app.failure or "as it was asked to"
        except (KstoreError, OSError) as error:
            why = str(error)
        except Exception as error:
            self.world.complain(f"{self.name} ends", error)
            raise
        self.world.trace(f"{self.name} has ended: {why}")
        self._ended(power_lost=False)
        if self.is_wanted:
            self.world.later(RESTART_S, self.start_if_wanted)

    def start_if_wanted(self) -> None:
        if self.is_wanted:
            self.start()

    def stop(self) -> None:
        """In order, as SIGTERM asks."""
        self.is_wanted = False
        if self.app is not None and self.is_alive and not self.app.stopping.is_set():
            process = self.process
            assert process is not None
            self.world.loop.call_soon(self.app.ask_to_stop, lambda _code: self.kill(), context=process.context)

    def kill(self) -> None:
        """As `kill -9` does: what was written is in the page cache."""
        self.is_wanted = False
        if self.is_alive:
            self._ended(power_lost=False)

    def lose_power(self) -> int:
        """How many bytes of logs are gone."""
        self.is_wanted = False
        if not self.is_alive:
            return 0
        self._ended(power_lost=True)
        self.losses += 1
        return self.world.disks.lose_power(self.name, self.world.choose_disk)

    def _ended(self, *, power_lost: bool) -> None:
        process, app = self.process, self.app
        assert process is not None
        process.is_alive = False
        self.world.network.ended(process, power_lost=power_lost)
        client = self.world.wiring.client_of(process)
        if client is not None:
            client.died()
        if app is not None:
            listeners = getattr(app, "listeners", None)
            if listeners is not None:
                for end in list(listeners.ends.values()):
                    end.give_up()
            logs = getattr(app, "logs", None)
            if logs is not None:
                logs.close_handles()
        self.world.judge.forget_life(self.name)

    def pause(self) -> None:
        process = self.process
        if process is not None and process.is_alive:
            process.is_paused = True

    def resume(self) -> None:
        process = self.process
        if process is not None and process.is_paused:
            self.world.loop.resume(process)

    @property
    def controls(self) -> bool:
        cluster = self.app.context.cluster if self.app is not None and self.is_alive and self.has_started else None
        return cluster is not None and cluster.controller.is_active


class Complaints(logging.Handler):
    """What kstore logs as an error with an exception: nobody expected it."""

    def __init__(self, take: Any) -> None:
        super().__init__(logging.ERROR)
        self._take = take

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info is not None and record.exc_info[1] is not None:
            self._take(record.getMessage(), record.exc_info[1])
