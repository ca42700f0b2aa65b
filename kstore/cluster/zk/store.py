"""What a Kafka cluster keeps in ZooKeeper, as calls: registration, election of the controller, topics and their states.

Every write of a controller is a multi-operation with a check of the version of /controller_epoch: one that has been
replaced while it slept writes nothing (rule 45). Partition states are compared and set (rule 44).
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from kstore.cluster.image import BrokerEndpoint, BrokerImage, PartitionImage, TopicImage
from kstore.cluster.zk import paths
from kstore.cluster.zk.fencing import Elected, fenced
from kstore.cluster.zk.paths import TopicAssignment
from kstore.cluster.zk.session import Check, Create, Delete, Operation, OperationFailed, Session, SetData, Znode
from kstore.errors import ConfigError, CorruptMetadataError, SessionLostError, UnknownTopicOrPartitionError
from kstore.model import ZERO_UUID, TopicPartition, random_uuid, uuid_to_text

log = logging.getLogger(__name__)

# Ids of idempotent producers are taken by so many (ProducerIdsBlock.java).
PRODUCER_ID_BLOCK = 1000
REGISTER_TRIES = 3
# So many znodes are written, or removed, in one step: a request has 1 MB at most (jute.maxbuffer).
STATES_AT_ONCE = 50
DELETED_AT_ONCE = 100


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
        self,
        broker_id: int,
        endpoints: Sequence[BrokerEndpoint],
        *,
        rack: str | None,
        incarnation: str = "",
        now_ms: int,
    ) -> int:
        """Says that this broker is alive, as long as the session is; returns the broker epoch (rule 47).

        Raises ConfigError when another process has the id or one of the addresses.
        """
        for other in (await self.brokers()).values():
            shared = {(e.host, e.port) for e in endpoints} & {(e.host, e.port) for e in other.endpoints}
            if other.id != broker_id and shared:
                raise ConfigError(f"broker {other.id} is registered with {shared} already")
        path = paths.broker(broker_id)
        data = paths.broker_json(endpoints, rack=rack, incarnation=incarnation, now_ms=now_ms)
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
        """Those that are alive; `watcher` also hears of a registration that changes. One that cannot be understood is
        left out, and said: nobody could speak to it."""
        names = await self.session.children(paths.BROKER_IDS, watcher=watcher)
        ids = [int(name) for name in names if name.isdecimal()]
        each = None if watcher is None else lambda _path: watcher()
        znodes = await self.session.get_all([paths.broker(broker_id) for broker_id in ids], watcher=each)
        found = {}
        for broker_id, znode in zip(ids, znodes, strict=True):
            if znode is not None:
                try:
                    found[broker_id] = paths.parse_broker(broker_id, znode.data, epoch=znode.created)
                except CorruptMetadataError as error:
                    log.error("broker %d is taken for one that is not there: %s", broker_id, error)
        return found

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

    async def step_down(self) -> bool:
        """Gives the office up if it is this session's, whether or not the answer of its election ever came: somebody is
        elected anew. False if it belongs to somebody else."""
        epoch = await self.session.get(paths.CONTROLLER_EPOCH)
        znode = await self.session.get(paths.CONTROLLER)
        if znode is None or epoch is None or znode.owner != self.session.id:
            return False
        # An election since raised the epoch, and another's znode is left alone.
        check = Check(paths.CONTROLLER_EPOCH, epoch.version)
        done = await self.session.multi([check, Delete(paths.CONTROLLER, znode.version)])
        return not isinstance(done, OperationFailed)

    # --- topics ---

    async def topic_names(self, *, watcher: Callable[[], None] | None = None) -> list[str]:
        return await self.session.children(paths.TOPICS, watcher=watcher)

    async def topics(
        self, names: Sequence[str], *, watcher: Callable[[str], None] | None = None
    ) -> dict[str, TopicImage]:
        """Assignments and states of topics; a partition that has no state yet has no leader and no epoch (-1).

        `watcher` is called with the name of a topic whose assignment changes. A topic that cannot be understood is left
        out, and said: the others can be led all the same.
        """
        znodes = await self._topic_znodes(names, watcher)
        assignments = {}
        for name, znode in zip(names, znodes, strict=True):
            if znode is not None:
                with _left_alone(name):
                    assignments[name] = paths.parse_topic(name, znode.data)
        keys = [TopicPartition(name, index) for name, found in assignments.items() for index in found.partitions]
        states = dict(zip(keys, await self.session.get_all([paths.state(*key) for key in keys]), strict=True))
        topics = {}
        for name, assignment in assignments.items():
            with _left_alone(name):
                partitions = {
                    index: _partition(name, index, assignment, states[TopicPartition(name, index)])
                    for index in assignment.partitions
                }
                topics[name] = TopicImage(name, assignment.topic_id or ZERO_UUID, partitions)
        return topics

    async def watch_topics(self, names: Sequence[str], watcher: Callable[[str], None]) -> None:
        """As `topics`, for who knows what is written."""
        await self._topic_znodes(names, watcher)

    async def _topic_znodes(self, names: Sequence[str], watcher: Callable[[str], None] | None) -> list[Znode | None]:
        def changed(path: str) -> None:
            assert watcher is not None
            watcher(path.removeprefix(f"{paths.TOPICS}/"))

        each = None if watcher is None else changed
        return await self.session.get_all([paths.topic(name) for name in names], watcher=each)

    async def create_topic(self, topic: TopicImage, configs: Mapping[str, str], elected: Elected) -> bool:
        """Writes a topic's configuration and assignment in one step, so that nobody serves it without either; False if
        it is there already, or still being deleted. Raises ControllerMovedError."""
        path = paths.topic_config(topic.name)
        data = paths.config_json(configs)
        while True:
            if await self.session.exists(paths.deletion(topic.name)):
                return False
            found = await self.session.get(path)
            config = Create(path, data) if found is None else SetData(path, data, found.version)
            made = Create(paths.topic(topic.name), paths.topic_json(assignment_of(topic)))
            done = await fenced(self.session, elected, [config, made])
            if not isinstance(done, OperationFailed):
                return True
            if done.number == 1:
                return False

    async def change_assignment(
        self, name: str, change: Callable[[TopicAssignment], TopicAssignment], elected: Elected
    ) -> TopicAssignment:
        """Writes what `change` makes of a topic's assignment. Raises ControllerMovedError, CorruptMetadataError, and
        UnknownTopicOrPartitionError where the topic is gone."""
        path = paths.topic(name)
        while True:
            znode = await self.session.get(path)
            if znode is None:
                raise UnknownTopicOrPartitionError(f"there is no topic {name!r}")
            changed = change(paths.parse_topic(name, znode.data))
            done = await fenced(self.session, elected, [SetData(path, paths.topic_json(changed), znode.version)])
            if not isinstance(done, OperationFailed):
                return changed

    async def ask_to_delete(self, name: str) -> None:
        await self.session.create(paths.deletion(name))

    async def topics_to_delete(self, *, watcher: Callable[[], None] | None = None) -> list[str]:
        return await self.session.children(paths.DELETE_TOPICS, watcher=watcher)

    async def delete_topic(self, name: str, elected: Elected) -> None:
        """Removes what is written of a topic, from the leaves up; at last the topic, its configuration and the wish to
        delete it in one step, so that a new topic of the name meets nothing of it. Raises ControllerMovedError."""
        while True:
            *below, top = await self._tree(paths.topic(name))
            for first in range(0, len(below), DELETED_AT_ONCE):
                await fenced(self.session, elected, [Delete(path) for path in below[first : first + DELETED_AT_ONCE]])
            last = [top, paths.topic_config(name), paths.deletion(name)]
            there = [Delete(path) for path in last if await self.session.exists(path)]
            if not there or not isinstance(await fenced(self.session, elected, there), OperationFailed):
                return

    async def forget_deletion(self, name: str, elected: Elected) -> None:
        """The wish is not granted."""
        await fenced(self.session, elected, [Delete(paths.deletion(name))])

    async def _tree(self, path: str) -> list[str]:
        children = await self.session.children(path)
        below = await asyncio.gather(*(self._tree(f"{path}/{child}") for child in children))
        return [*(each for found in below for each in found), path]

    # --- partition states ---

    async def write_states(
        self, states: Mapping[TopicPartition, PartitionImage], elected: Elected
    ) -> dict[TopicPartition, int | None]:
        """Writes each state if the znode's version is still its `partition_epoch` (-1: if it is not there yet).

        Gives the new versions, None for those that were not written. Raises ControllerMovedError, SessionLostError.
        """
        for name in dict.fromkeys(key.topic for key, state in states.items() if state.partition_epoch < 0):
            # Not with the znodes above it: a topic that is gone by now would be back, without an assignment.
            await fenced(self.session, elected, [Create(paths.partitions(name), b"")])
        keys = list(states)
        chunks = [keys[first : first + STATES_AT_ONCE] for first in range(0, len(keys), STATES_AT_ONCE)]
        written = await asyncio.gather(
            *(self._write_chunk({key: states[key] for key in chunk}, elected) for chunk in chunks)
        )
        return {key: version for found in written for key, version in found.items()}

    async def _write_chunk(
        self, states: Mapping[TopicPartition, PartitionImage], elected: Elected
    ) -> dict[TopicPartition, int | None]:
        """Many in one step; where one of them does not fit, each for itself."""
        operations: list[Operation] = []
        for key, state in states.items():
            if state.partition_epoch < 0:
                operations.append(Create(paths.partition(*key), b""))
            operations.append(_state_write(key, state))
        done = await fenced(self.session, elected, operations)
        if isinstance(done, OperationFailed):
            results = await asyncio.gather(*(self._write_state(key, state, elected) for key, state in states.items()))
            return dict(zip(states, results, strict=True))
        versions = iter([found for found, each in zip(done, operations, strict=True) if isinstance(each, SetData)])
        return {key: 0 if state.partition_epoch < 0 else int(next(versions).version) for key, state in states.items()}

    async def _write_state(self, key: TopicPartition, state: PartitionImage, elected: Elected) -> int | None:
        if state.partition_epoch < 0:
            await fenced(self.session, elected, [Create(paths.partition(*key), b"")])
        done = await fenced(self.session, elected, [_state_write(key, state)])
        if not isinstance(done, OperationFailed):
            return 0 if state.partition_epoch < 0 else int(done[0].version)
        log.warning("%s: %s, the state is not written", paths.state(*key), done.reason)
        return None

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


@contextmanager
def _left_alone(name: str) -> Iterator[None]:
    try:
        yield
    except CorruptMetadataError as error:
        log.error("topic %s is left alone: %s", name, error)


def _partition(name: str, index: int, assignment: TopicAssignment, state: Znode | None) -> PartitionImage:
    """Raises CorruptMetadataError."""
    replicas = assignment.partitions[index]
    found = new_partition(replicas)
    if state is not None:
        found = paths.parse_state(paths.state(name, index), state.data, version=state.version, replicas=replicas)
        found = found._replace(written=state.modified)
    return found._replace(
        adding_replicas=assignment.adding.get(index, ()), removing_replicas=assignment.removing.get(index, ())
    )


def _state_write(key: TopicPartition, state: PartitionImage) -> Operation:
    path, data = paths.state(*key), paths.state_json(state)
    return Create(path, data) if state.partition_epoch < 0 else SetData(path, data, state.partition_epoch)


def new_partition(replicas: tuple[int, ...]) -> PartitionImage:
    """A partition of which nothing is decided yet."""
    return PartitionImage(replicas=replicas, isr=(), leader=-1, leader_epoch=-1, partition_epoch=-1)


def assignment_of(topic: TopicImage) -> TopicAssignment:
    return TopicAssignment(
        topic.id,
        {index: partition.replicas for index, partition in topic.partitions.items()},
        {index: found.adding_replicas for index, found in topic.partitions.items() if found.adding_replicas},
        {index: found.removing_replicas for index, found in topic.partitions.items() if found.removing_replicas},
    )
