"""What a Kafka cluster keeps in ZooKeeper, as calls: registration, election of the controller, topics, states, configs.

Every write of a controller is a multi-operation with a check of the version of /controller_epoch: one that has been
replaced while it slept writes nothing (rule 45). Partition states are compared and set (rule 44).
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from kstore.cluster.image import TOPIC_RESOURCE, BrokerEndpoint, BrokerImage, PartitionImage, TopicImage
from kstore.cluster.zk import paths
from kstore.cluster.zk.session import (
    Check,
    Create,
    Delete,
    Operation,
    OperationFailed,
    Session,
    SetData,
)
from kstore.errors import ConfigError, NotControllerError, SessionLostError
from kstore.model import ZERO_UUID, TopicPartition, random_uuid, uuid_to_text

log = logging.getLogger(__name__)

# Ids of idempotent producers are taken by so many (ProducerIdsBlock.java).
PRODUCER_ID_BLOCK = 1000
REGISTER_TRIES = 3


class ControllerMovedError(NotControllerError):
    """Another broker controls the cluster: what was to be written is not, and this one resigns."""


class Elected(NamedTuple):
    epoch: int
    epoch_version: int  # of /controller_epoch: what every write is checked against


class ClusterStore:
    def __init__(self, session: Session) -> None:
        self.session = session

    # --- the cluster ---

    async def prepare(self) -> None:
        """Makes the znodes that every broker relies on."""
        for path in paths.PERSISTENT:
            await self.session.create(path)

    async def cluster_id(self) -> str:
        """The cluster's id; the first broker of all makes one up. Raises CorruptMetadataError."""
        znode = await self.session.get(paths.CLUSTER_ID)
        if znode is None:
            await self.session.create(paths.CLUSTER_ID, paths.cluster_id_json(uuid_to_text(random_uuid())))
            znode = await self.session.get(paths.CLUSTER_ID)
        assert znode is not None
        return paths.parse_cluster_id(znode.data)

    # --- brokers ---

    async def generate_broker_id(self, reserved: int) -> int:
        """An id that nobody has had: ids up to `reserved` are for configurations (KafkaServer.generateBrokerId). Each
        write gives the znode another version."""
        version = await self.session.set(paths.SEQUENCE_OF_IDS, b"", -1)
        if version is None:
            raise SessionLostError(f"znode {paths.SEQUENCE_OF_IDS} is not there")
        return reserved + version

    async def register(
        self, broker_id: int, endpoints: Sequence[BrokerEndpoint], *, rack: str | None, now_ms: int
    ) -> int:
        """Says that this broker is alive, as long as the session is; returns the broker epoch (rule 47).

        Raises ConfigError when another process has the id or one of the addresses.
        """
        for other in (await self.brokers()).values():
            shared = {(e.host, e.port) for e in endpoints} & {(e.host, e.port) for e in other.endpoints}
            if other.id != broker_id and shared:
                raise ConfigError(f"broker {other.id} is registered with {shared} already")
        path = paths.broker(broker_id)
        data = paths.broker_json(endpoints, rack=rack, now_ms=now_ms)
        for _ in range(REGISTER_TRIES):
            # In two steps, so that the second one's answer has the creation's number.
            done = await self.session.multi([Create(path, b"", ephemeral=True), SetData(path, data, 0)])
            if not isinstance(done, OperationFailed):
                return int(done[1].czxid)
            found = await self.session.get(path)
            if found is None:
                continue
            if found.owner == self.session.id:
                return found.created
            raise ConfigError(
                f"znode {path} belongs to another process: two brokers have the id {broker_id}, or the session of the"
                " one before is not over yet"
            )
        raise ConfigError(f"znode {path} comes and goes: another process wants the broker id {broker_id} too")

    async def brokers(self, *, watcher: Callable[[], None] | None = None) -> dict[int, BrokerImage]:
        """Those that are alive. Raises CorruptMetadataError."""
        ids = [int(name) for name in await self.session.children(paths.BROKER_IDS, watcher=watcher)]
        znodes = await self.session.get_all([paths.broker(broker_id) for broker_id in ids])
        return {
            broker_id: paths.parse_broker(broker_id, znode.data, epoch=znode.created)
            for broker_id, znode in zip(ids, znodes, strict=True)
            if znode is not None
        }

    # --- the controller ---

    async def controller_id(self, *, watcher: Callable[[], None] | None = None) -> int | None:
        """The broker that controls; None while nobody does."""
        znode = await self.session.get(paths.CONTROLLER)
        if watcher is not None and znode is None:
            if await self.session.exists(paths.CONTROLLER, watcher=watcher):
                return await self.controller_id()
        elif watcher is not None:
            znode = await self.session.get(paths.CONTROLLER, watcher=watcher)
        return None if znode is None else paths.parse_controller(znode.data)

    async def elect(self, broker_id: int, now_ms: int) -> Elected | None:
        """Tries to become the controller; None if another broker is, or was quicker (rule 45)."""
        znode = await self.session.get(paths.CONTROLLER_EPOCH)
        if znode is None:
            await self.session.create(paths.CONTROLLER_EPOCH, b"0")
            znode = await self.session.get(paths.CONTROLLER_EPOCH)
            assert znode is not None
        current = paths.parse_controller_epoch(znode.data, znode.version)
        done = await self.session.multi(
            [
                Create(paths.CONTROLLER, paths.controller_json(broker_id, now_ms), ephemeral=True),
                SetData(paths.CONTROLLER_EPOCH, str(current.epoch + 1).encode(), current.version),
            ]
        )
        if isinstance(done, OperationFailed):
            return None
        return Elected(current.epoch + 1, int(done[1].version))

    async def step_down(self, elected: Elected) -> None:
        """Gives the office up, if it is still ours: somebody is elected anew."""
        znode = await self.session.get(paths.CONTROLLER)
        if znode is not None and znode.owner == self.session.id:
            await self.session.multi([Check(paths.CONTROLLER_EPOCH, elected.epoch_version), Delete(paths.CONTROLLER)])

    # --- topics ---

    async def topic_names(self, *, watcher: Callable[[], None] | None = None) -> list[str]:
        return await self.session.children(paths.TOPICS, watcher=watcher)

    async def topics(self, names: Sequence[str]) -> dict[str, TopicImage]:
        """Assignments and states of topics; a partition that has no state yet has no leader and no epoch (-1)."""
        znodes = await self.session.get_all([paths.topic(name) for name in names])
        assignments = {
            name: paths.parse_topic(name, znode.data)
            for name, znode in zip(names, znodes, strict=True)
            if znode is not None
        }
        keys = [TopicPartition(name, index) for name, found in assignments.items() for index in found.partitions]
        states = dict(zip(keys, await self.session.get_all([paths.state(*key) for key in keys]), strict=True))
        topics = {}
        for name, assignment in assignments.items():
            partitions = {}
            for index, replicas in assignment.partitions.items():
                state = states[TopicPartition(name, index)]
                found = new_partition(replicas)
                if state is not None:
                    path = paths.state(name, index)
                    found = paths.parse_state(path, state.data, version=state.version, replicas=replicas)
                partitions[index] = found._replace(
                    adding_replicas=assignment.adding.get(index, ()),
                    removing_replicas=assignment.removing.get(index, ()),
                )
            topics[name] = TopicImage(name, assignment.topic_id or ZERO_UUID, partitions)
        return topics

    async def create_topic(self, topic: TopicImage, configs: Mapping[str, str]) -> bool:
        """Writes a topic's configuration and assignment, in this order, as Kafka does; False if it is there already.

        This is the wish of an administrator and not checked against the controller's epoch: whoever controls finds it.
        """
        path = paths.topic_config(topic.name)
        if not await self.session.create(path, paths.config_json(configs)):
            await self.session.set(path, paths.config_json(configs), -1)
        members = {index: partition.replicas for index, partition in topic.partitions.items()}
        return await self.session.create(
            paths.topic(topic.name), paths.topic_json(paths.TopicAssignment(topic.id, members))
        )

    async def grow_topic(self, topic: TopicImage) -> None:
        """Writes the assignment with more partitions."""
        members = {index: partition.replicas for index, partition in topic.partitions.items()}
        await self.session.set(paths.topic(topic.name), paths.topic_json(paths.TopicAssignment(topic.id, members)), -1)

    async def ask_to_delete(self, name: str) -> None:
        await self.session.create(f"{paths.DELETE_TOPICS}/{name}")

    async def topics_to_delete(self, *, watcher: Callable[[], None] | None = None) -> list[str]:
        return await self.session.children(paths.DELETE_TOPICS, watcher=watcher)

    async def delete_topic(self, name: str, elected: Elected) -> None:
        """Removes what is written of a topic, from the leaves up; the wish to delete it last. ControllerMovedError."""
        doomed = await self._tree(paths.topic(name))
        doomed += [paths.topic_config(name), f"{paths.DELETE_TOPICS}/{name}"]
        for path in doomed:
            done = await self.session.multi([Check(paths.CONTROLLER_EPOCH, elected.epoch_version), Delete(path)])
            if isinstance(done, OperationFailed) and done.number == 0:
                raise ControllerMovedError("another controller has been elected")

    async def _tree(self, path: str) -> list[str]:
        found: list[str] = []
        for child in await self.session.children(path):
            found += await self._tree(f"{path}/{child}")
        return [*found, path]

    # --- partition states ---

    async def write_states(
        self, states: Mapping[TopicPartition, PartitionImage], elected: Elected
    ) -> dict[TopicPartition, int | None]:
        """Writes each state if the znode's version is still its `partition_epoch` (-1: if it is not there yet).

        Gives the new versions, None for those that were not written. Raises ControllerMovedError, SessionLostError.
        """
        await self._make_parents([key for key, state in states.items() if state.partition_epoch < 0])
        results = await asyncio.gather(*(self._write_state(key, state, elected) for key, state in states.items()))
        return dict(zip(states, results, strict=True))

    async def _write_state(self, key: TopicPartition, state: PartitionImage, elected: Elected) -> int | None:
        path, data = paths.state(*key), paths.state_json(state)
        operation: Operation = (
            Create(path, data) if state.partition_epoch < 0 else SetData(path, data, state.partition_epoch)
        )
        done = await self.session.multi([Check(paths.CONTROLLER_EPOCH, elected.epoch_version), operation])
        if not isinstance(done, OperationFailed):
            return 0 if state.partition_epoch < 0 else int(done[1].version)
        if done.number == 0:
            raise ControllerMovedError("another controller has been elected")
        log.warning("%s: %s, the state is not written", path, done.reason)
        return None

    async def _make_parents(self, keys: Sequence[TopicPartition]) -> None:
        for name in dict.fromkeys(key.topic for key in keys):
            await self.session.create(paths.partitions(name))
        await asyncio.gather(*(self.session.create(f"{paths.partitions(name)}/{index}") for name, index in keys))

    # --- configurations ---

    async def topic_configs(self) -> dict[tuple[int, str], dict[str, str]]:
        """Every topic's configuration, as the image has them."""
        names = await self.session.children(paths.CONFIG_TOPICS)
        configs = await asyncio.gather(*(self.topic_config(name) for name in names))
        return {(TOPIC_RESOURCE, name): found for name, found in zip(names, configs, strict=True) if found}

    async def topic_config(self, name: str) -> dict[str, str]:
        path = paths.topic_config(name)
        znode = await self.session.get(path)
        return {} if znode is None else paths.parse_config(path, znode.data)

    async def change_topic_config(self, name: str, configs: Mapping[str, str]) -> None:
        """Writes a topic's configuration and tells all brokers."""
        path = paths.topic_config(name)
        if not await self.session.create(path, paths.config_json(configs)):
            await self.session.set(path, paths.config_json(configs), -1)
        change = paths.config_change_json(f"topics/{name}")
        await self.session.create(paths.CHANGE_PREFIX, change, sequential=True)

    async def config_changes(self, *, watcher: Callable[[], None]) -> dict[str, str]:
        """Names of changes -> the entity that each is about."""
        names = await self.session.children(paths.CONFIG_CHANGES, watcher=watcher)
        znodes = await self.session.get_all([f"{paths.CONFIG_CHANGES}/{name}" for name in names])
        return {
            name: paths.parse_config_change(f"{paths.CONFIG_CHANGES}/{name}", znode.data)
            for name, znode in zip(names, znodes, strict=True)
            if znode is not None
        }

    # --- producer ids ---

    async def claim_producer_ids(self, broker_id: int) -> int:
        """The first id of a block that is this broker's alone (ZkProducerIdManager.getNewProducerIdBlock)."""
        while True:
            znode = await self.session.get(paths.PRODUCER_IDS)
            if znode is None:
                raise SessionLostError(f"znode {paths.PRODUCER_IDS} is not there")
            start = paths.parse_producer_ids_end(znode.data) + 1 if znode.data else 0
            block = paths.producer_ids_json(broker_id, start, start + PRODUCER_ID_BLOCK - 1)
            if await self.session.set(paths.PRODUCER_IDS, block, znode.version) is not None:
                return start


def new_partition(replicas: tuple[int, ...]) -> PartitionImage:
    """A partition of which nothing is decided yet."""
    return PartitionImage(replicas=replicas, isr=(), leader=-1, leader_epoch=-1, partition_epoch=-1)
