"""Calls on a real ZooKeeper whose answers are lost, and who else writes in between."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest

from kstore.clock import SystemClock
from kstore.cluster.image import TOPIC_RESOURCE, BrokerEndpoint, ClusterImage, TopicImage
from kstore.cluster.zk import paths
from kstore.cluster.zk.configs import ConfigStore
from kstore.cluster.zk.fencing import ControllerMovedError, Elected
from kstore.cluster.zk.session import Session
from kstore.cluster.zk.store import ClusterStore, new_partition
from kstore.cluster.zk.wishes import Wishes
from kstore.errors import SessionLostError, UnknownTopicOrPartitionError
from kstore.model import TopicPartition
from kstore.server.cluster_controller import ClusterController
from kstore.server.config import ServerConfig
from kstore.server.properties_file import Property
from tests.judge.kafka import ZooKeeper

pytestmark = pytest.mark.kafka

Value = TypeVar("Value")
ID = bytes(15) + b"\x07"


def with_store(zookeeper: ZooKeeper, story: Callable[[ClusterStore], Awaitable[Value]]) -> Value:
    """Runs a story that has a session of its own."""

    async def run() -> Value:
        async with session(zookeeper) as store:
            return await story(store)

    return asyncio.run(asyncio.wait_for(run(), 60))


class session:
    def __init__(self, zookeeper: ZooKeeper) -> None:
        self._session = Session(
            zookeeper.connect,
            loop=asyncio.get_running_loop(),
            timeout_ms=4000,
            connection_timeout_ms=10_000,
            changed=lambda _state: None,
        )

    async def __aenter__(self) -> ClusterStore:
        await self._session.start()
        store = ClusterStore(self._session)
        await store.prepare()
        return store

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()


def topic(name: str) -> TopicImage:
    return TopicImage(name, ID, {0: new_partition((1,))})


def test_an_office_is_given_up_by_the_session_that_has_it_alone(zookeeper_of_its_own: ZooKeeper) -> None:
    async def story(store: ClusterStore) -> None:
        # As if the answer had not come: nobody knows of this election.
        assert await store.elect(1, 0) is not None
        async with session(zookeeper_of_its_own) as other:
            assert await other.elect(1, 0) is None
            assert not await other.step_down()
            assert await other.controller_id() == 1
            assert await store.step_down()
            assert await other.controller_id() is None
            assert await other.elect(2, 0) == Elected(2, 2)

    with_store(zookeeper_of_its_own, story)


def test_a_topic_is_written_with_its_configuration_or_not_at_all(zookeeper_of_its_own: ZooKeeper) -> None:
    async def story(store: ClusterStore) -> None:
        elected = await store.elect(1, 0)
        assert elected is not None
        configs = ConfigStore(store.session)
        resource = (TOPIC_RESOURCE, "orders")
        assert await store.create_topic(topic("orders"), {"retention.ms": "1"}, elected)
        assert not await store.create_topic(topic("orders"), {"retention.ms": "2"}, elected)
        assert (await configs.read([resource]))[resource].configs == {"retention.ms": "1"}
        # What a deletion of long ago has left is not the new topic's.
        await store.session.create(paths.topic_config("payments"), paths.config_json({"retention.ms": "3"}))
        assert await store.create_topic(topic("payments"), {}, elected)
        payments = (TOPIC_RESOURCE, "payments")
        assert (await configs.read([payments]))[payments].configs == {}
        # While it is being deleted its name is not free, though its znode may be gone already.
        await store.ask_to_delete("invoices")
        assert not await store.create_topic(topic("invoices"), {}, elected)
        late = Elected(elected.epoch, elected.epoch_version - 1)
        with pytest.raises(ControllerMovedError):
            await store.create_topic(topic("letters"), {}, late)
        assert not await store.session.exists(paths.topic_config("letters"))

    with_store(zookeeper_of_its_own, story)


def test_a_deletion_leaves_nothing_behind(zookeeper_of_its_own: ZooKeeper) -> None:
    async def story(store: ClusterStore) -> None:
        elected = await store.elect(1, 0)
        assert elected is not None
        big = topic("orders")._replace(partitions={index: new_partition((1,)) for index in range(150)})
        assert await store.create_topic(big, {"retention.ms": "1"}, elected)
        states = {
            TopicPartition("orders", index): found._replace(leader=1, isr=(1,), leader_epoch=0)
            for index, found in big.partitions.items()
        }
        assert set((await store.write_states(states, elected)).values()) == {0}
        await store.ask_to_delete("orders")
        await store.delete_topic("orders", elected)
        assert await store.topic_names() == []
        assert await store.topics_to_delete() == []
        assert not await store.session.exists(paths.topic_config("orders"))

    with_store(zookeeper_of_its_own, story)


def test_of_many_states_those_that_fit_are_written(zookeeper_of_its_own: ZooKeeper) -> None:
    async def story(store: ClusterStore) -> None:
        elected = await store.elect(1, 0)
        assert elected is not None
        big = topic("orders")._replace(partitions={index: new_partition((1,)) for index in range(120)})
        assert await store.create_topic(big, {}, elected)
        first = {
            TopicPartition("orders", index): found._replace(leader=1, isr=(1,), leader_epoch=0)
            for index, found in big.partitions.items()
        }
        assert set((await store.write_states(first, elected)).values()) == {0}
        # Again from the beginning: they are there, and nothing is overwritten.
        assert set((await store.write_states(first, elected)).values()) == {None}
        second = {key: state._replace(partition_epoch=0, leader_epoch=1) for key, state in first.items()}
        odd = TopicPartition("orders", 70)
        second[odd] = second[odd]._replace(partition_epoch=3)
        versions = await store.write_states(second, elected)
        assert {key for key, version in versions.items() if version is None} == {odd}
        assert set(versions.values()) == {None, 1}
        found = (await store.topics(["orders"]))["orders"].partitions
        assert {index for index, state in found.items() if state.leader_epoch == 0} == {70}
        with pytest.raises(ControllerMovedError):
            await store.write_states(second, Elected(elected.epoch, elected.epoch_version - 1))

    with_store(zookeeper_of_its_own, story)


@pytest.mark.parametrize("partitions", [1, 60])
def test_no_state_brings_back_a_topic_that_is_gone(zookeeper_of_its_own: ZooKeeper, partitions: int) -> None:
    """An empty znode was left behind: a topic without an assignment, which no controller could understand."""

    async def story(store: ClusterStore) -> None:
        elected = await store.elect(1, 0)
        assert elected is not None
        first = new_partition((1,))._replace(leader=1, isr=(1,), leader_epoch=0)
        states = {TopicPartition("orders", index): first for index in range(partitions)}
        assert set((await store.write_states(states, elected)).values()) == {None}
        # Whoever has been replaced makes nothing at all.
        assert await store.create_topic(topic("letters"), {}, elected)
        late = Elected(elected.epoch, elected.epoch_version - 1)
        with pytest.raises(ControllerMovedError):
            await store.write_states({TopicPartition("letters", 0): first}, late)
        assert not await store.session.exists(paths.partitions("letters"))
        assert await store.topic_names() == ["letters"]

    with_store(zookeeper_of_its_own, story)


def test_what_is_damaged_is_left_out_and_the_others_are_read(
    zookeeper_of_its_own: ZooKeeper, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(store: ClusterStore) -> None:
        elected = await store.elect(1, 0)
        assert elected is not None
        endpoints = [BrokerEndpoint("PLAINTEXT", "h", 9092)]
        await store.register(1, endpoints, rack=None, now_ms=0)
        for name in ("2", "odd"):
            await store.session.create(f"{paths.BROKER_IDS}/{name}", b"{")
        assert list(await store.brokers()) == [1]
        for name in ("orders", "letters"):
            assert await store.create_topic(topic(name), {}, elected)
        await store.session.create(paths.topic("damaged"), b"{")
        await store.session.create(paths.state("letters", 0), b'{"leader":"x"}')
        assert list(await store.topics(["damaged", "letters", "orders"])) == ["orders"]

    with_store(zookeeper_of_its_own, story)
    assert "broker 2 is taken for one that is not there: znode /brokers/ids/2" in caplog.text
    assert "topic letters is left alone: znode /brokers/topics/letters/partitions/0/state" in caplog.text


def test_a_configuration_is_written_over_the_version_that_was_read_only(zookeeper_of_its_own: ZooKeeper) -> None:
    async def story(store: ClusterStore) -> None:
        elected = await store.elect(1, 0)
        assert elected is not None
        await store.create_topic(topic("orders"), {}, elected)
        configs = ConfigStore(store.session)
        resource = (TOPIC_RESOURCE, "orders")
        read = (await configs.read([resource]))[resource]
        assert await configs.write(resource, {"retention.ms": "1"}, read.version)
        assert not await configs.write(resource, {"segment.ms": "1"}, read.version)
        found = await configs.changes(watcher=lambda: None, seen=(), now_ms=0)
        assert [change.resource for change in found.values()] == [resource]
        with pytest.raises(UnknownTopicOrPartitionError):
            await configs.write((TOPIC_RESOURCE, "none"), {}, -1)

    with_store(zookeeper_of_its_own, story)


def test_an_election_whose_answer_is_lost_is_held_again(zookeeper_of_its_own: ZooKeeper, tmp_path: Path) -> None:
    async def story(store: ClusterStore) -> None:
        lost: list[Any] = []
        elect = store.elect

        async def elect_and_lose_the_answer(broker_id: int, now_ms: int) -> Elected | None:
            elected = await elect(broker_id, now_ms)
            if not lost:
                lost.append(elected)
                raise SessionLostError("the connection is gone")
            return elected

        store.elect = elect_and_lose_the_answer  # type: ignore[method-assign]
        properties = {"broker.id": "1", "zookeeper.connect": "unused", "log.dirs": str(tmp_path)}
        tasks: set[asyncio.Task[None]] = set()

        def start_task(work: Any) -> asyncio.Task[None]:
            task = asyncio.get_running_loop().create_task(work)
            tasks.add(task)
            return task

        context = SimpleNamespace(
            node_id=1,
            clock=SystemClock(),
            config=ServerConfig([Property(key, value, "test") for key, value in properties.items()]),
            start_task=start_task,
        )
        member = SimpleNamespace(
            store=store,
            wishes=Wishes(store.session),
            configs=ConfigStore(store.session),
            image=ClusterImage(),
            is_stopping=False,
            controller_is=lambda controller_id: None,
        )
        controller = ClusterController(context, member)  # type: ignore[arg-type]
        await controller.look()
        assert not controller.is_active
        # The znode names this broker, and its session will not end.
        assert await store.controller_id() == 1
        while not controller.is_active:
            await asyncio.sleep(0.02)
        assert controller.elected.epoch == lost[0].epoch + 1
        controller.stop()
        for task in tasks:
            task.cancel()

    with_store(zookeeper_of_its_own, story)
