"""The office of a controller, on a ZooKeeper that is a dictionary: who holds it decides, or gives it up."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kstore.clock import SystemClock
from kstore.cluster.controller import PREFERRED, UNCLEAN
from kstore.cluster.image import BrokerEndpoint, BrokerImage, ClusterImage, PartitionImage, TopicImage
from kstore.cluster.notices import Notice
from kstore.cluster.standing import Doubt, LogEnd
from kstore.cluster.zk.configs import Resource, StoredConfig
from kstore.cluster.zk.fencing import Elected
from kstore.cluster.zk.paths import TopicAssignment
from kstore.cluster.zk.store import assignment_of, new_partition
from kstore.errors import (
    CorruptMetadataError,
    InvalidTopicError,
    KafkaError,
    NotControllerError,
    PartlyRefusedError,
    UnknownTopicOrPartitionError,
)
from kstore.model import TopicPartition
from kstore.protocol.messages.metadata_records import PartitionRecord
from kstore.protocol.messages.stop_replica import StopReplicaRequest
from kstore.server.cluster_controller import ClusterController
from kstore.server.config import ServerConfig
from kstore.server.properties_file import Property

ID = bytes(15) + b"\x07"


KEY = TopicPartition("orders", 0)


class FakeStore:
    """What stands in ZooKeeper; `failures` are raised by the next calls that read the topics."""

    def __init__(self) -> None:
        self.held_by: int | None = None
        self.epoch = 0
        self.there: dict[str, TopicImage] = {}
        self.wishes_to_delete: list[str] = []
        self.removed: list[str] = []
        self.failures: list[Exception] = []
        self.alive: dict[int, BrokerImage] = {}
        self.assigned: list[TopicAssignment] = []
        # Of /controller: what fires when it changes.
        self.watchers: list[Callable[[], None]] = []

    async def controller_id(self, *, watcher: Any = None) -> int | None:
        self.watchers.append(watcher)
        return self.held_by

    async def elect(self, broker_id: int, now_ms: int) -> Elected | None:
        self.held_by, self.epoch = broker_id, self.epoch + 1
        return Elected(self.epoch, self.epoch)

    async def step_down(self) -> bool:
        self.held_by = None
        return True

    async def brokers(self, *, watcher: Any = None) -> dict[int, BrokerImage]:
        return self.alive

    async def topic_names(self, *, watcher: Any = None) -> list[str]:
        return list(self.there)

    async def topics(self, names: Iterable[str], *, watcher: Any = None) -> dict[str, TopicImage]:
        if self.failures:
            raise self.failures.pop()
        return {name: self.there[name] for name in names if name in self.there}

    async def topics_to_delete(self, *, watcher: Any = None) -> list[str]:
        return list(self.wishes_to_delete)

    async def forget_deletion(self, name: str, elected: Elected) -> None:
        self.wishes_to_delete.remove(name)

    async def delete_topic(self, name: str, elected: Elected) -> None:
        self.wishes_to_delete.remove(name)
        self.removed.append(name)

    async def write_states(self, states: Mapping[TopicPartition, PartitionImage], elected: Elected) -> dict[Any, int]:
        return {key: state.partition_epoch + 1 for key, state in states.items()}

    async def change_assignment(self, name: str, change: Any, elected: Elected) -> Any:
        self.assigned.append(change(assignment_of(self.there[name])))
        return self.assigned[-1]


class FakeWishes:
    async def log_dir_events(self, *, watcher: Any = None) -> dict[str, Any]:
        return {}

    async def isr_changes(self, *, watcher: Any = None) -> dict[str, Any]:
        return {}

    async def reassignment(self, *, watcher: Any = None) -> dict[TopicPartition, Any]:
        return {}

    async def preferred_election(self, *, watcher: Any = None) -> None:
        return None

    async def forget_news(self, found: Any, elected: Elected) -> None: ...

    async def forget_reassignment(self, done: Any, elected: Elected) -> None: ...


class FakeConfigs:
    def __init__(self) -> None:
        self.damaged: set[str] = set()
        self.stored: dict[str, dict[str, str]] = {}

    async def read(self, resources: Iterable[Resource]) -> dict[Resource, StoredConfig]:
        wanted = list(resources)
        if self.damaged.intersection(name for _, name in wanted):
            raise CorruptMetadataError("no JSON")
        return {resource: StoredConfig(self.stored.get(resource[1], {})) for resource in wanted}


class Scene:
    def __init__(self, directory: Path, properties: Mapping[str, str]) -> None:
        self.store = FakeStore()
        self._tasks: set[asyncio.Task[None]] = set()
        own = {"broker.id": "1", "zookeeper.connect": "unused", "log.dirs": str(directory)}
        self.configs = FakeConfigs()
        context = SimpleNamespace(
            node_id=1,
            clock=SystemClock(),
            loop=asyncio.get_running_loop(),
            config=ServerConfig([Property(key, value, "test") for key, value in (own | dict(properties)).items()]),
            start_task=self._start_task,
        )
        member = SimpleNamespace(
            store=self.store,
            wishes=FakeWishes(),
            configs=self.configs,
            image=ClusterImage(),
            is_stopping=False,
            controller_is=lambda controller_id: None,
        )
        self.controller = ClusterController(context, member)  # type: ignore[arg-type]

    def _start_task(self, work: Any) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        return task

    async def at_rest(self) -> None:
        """Returns when every task has come to its end. Raises what one of them raises."""
        await asyncio.gather(*self._tasks)

    def end(self) -> None:
        self.controller.stop()
        for task in self._tasks:
            task.cancel()


def played(
    directory: Path, story: Callable[[Scene], Awaitable[None]], properties: Mapping[str, str] | None = None
) -> None:
    async def play() -> None:
        scene = Scene(directory, properties or {})
        try:
            await asyncio.wait_for(story(scene), 30)
        finally:
            scene.end()

    asyncio.run(play())


def topic(*replicas: int) -> TopicImage:
    return TopicImage("orders", ID, {0: new_partition(replicas)})


@pytest.mark.parametrize("error", [KeyError("odd"), UnknownTopicOrPartitionError("a topic went while it was read")])
def test_an_office_that_cannot_be_filled_is_given_up_and_held_anew(
    tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was held by a broker that decided nothing, and nobody else was elected."""
    monkeypatch.setattr("kstore.server.cluster_controller.REST_S", 0)
    monkeypatch.setattr("kstore.server.cluster_controller.LOOK_AGAIN_S", 0)

    async def story(scene: Scene) -> None:
        scene.store.failures.append(error)
        await scene.controller.look()
        assert (scene.controller.is_active, scene.store.held_by) == (False, None)
        while not scene.controller.is_active:
            await asyncio.sleep(0)
        assert (scene.store.held_by, scene.controller.elected.epoch) == (1, 2)

    played(tmp_path, story)


def test_an_event_that_fails_half_way_ends_the_term_and_a_refusal_does_not(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        async def fails(_decisions: object) -> None:
            raise UnknownTopicOrPartitionError("its topic is gone")

        await scene.controller.look()
        with pytest.raises(KafkaError, match="refused"):
            async with scene.controller.office():
                raise UnknownTopicOrPartitionError("a wish is refused")
        assert scene.controller.is_active
        await scene.controller.in_office(fails)
        assert (scene.controller.is_active, scene.store.held_by) == (False, None)
        with pytest.raises(NotControllerError):
            async with scene.controller.office():
                pass

    played(tmp_path, story)


def test_a_new_controller_deletes_no_topic_where_that_is_not_allowed(tmp_path: Path) -> None:
    """Only wishes that came later were refused."""

    async def story(scene: Scene) -> None:
        scene.store.there = {"orders": topic(1)}
        scene.store.wishes_to_delete = ["orders", "gone"]
        await scene.controller.look()
        assert scene.controller.active().deleting == {}
        assert (scene.store.wishes_to_delete, scene.store.removed) == ([], [])

    played(tmp_path, story, {"delete.topic.enable": "false"})


def test_a_new_controller_goes_on_with_deletions(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        scene.store.there = {"orders": topic(1)}
        scene.store.wishes_to_delete = ["orders", "gone"]
        await scene.controller.look()
        assert scene.controller.active().deleting == {"orders": set()}
        assert scene.store.removed == ["gone"]

    played(tmp_path, story)


def test_a_topic_that_is_being_deleted_does_not_grow(tmp_path: Path) -> None:
    """Its deletion waited for replicas of the new partition, which nobody had been told to make."""

    async def story(scene: Scene) -> None:
        scene.store.there = {"orders": topic(1)}
        scene.store.wishes_to_delete = ["orders"]
        await scene.controller.look()
        more = PartitionRecord(topic_id=ID, partition_id=1, replicas=[1])
        with pytest.raises(PartlyRefusedError) as refused:
            await scene.controller.requests.change_topics(lambda _image: [more])
        assert [type(each) for each in refused.value.refusals.values()] == [InvalidTopicError]
        assert list(scene.controller.active().image.topics["orders"].partitions) == [0]
        assert scene.store.assigned == []

    played(tmp_path, story)


def test_a_topic_whose_configuration_is_damaged_waits_for_a_replica_in_sync_and_no_other_does(tmp_path: Path) -> None:
    """Each controller gave its office up when it was to know whether records may be lost."""

    async def story(scene: Scene) -> None:
        key = "unclean.leader.election.enable"
        scene.configs.stored = {"yes": {key: "true"}, "no": {}, "odd": {key: "perhaps"}}
        scene.configs.damaged = {"damaged"}
        allowed = await scene.controller.requests.topics_allowing_unclean(["damaged", "yes", "no", "odd"])
        assert allowed == {"yes"}

    played(tmp_path, story)


def test_replicas_that_go_are_told_before_nobody_knows_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A controller that died between the two left a replica that nobody was to delete any more."""

    async def story(scene: Scene) -> None:
        store = scene.store
        store.alive = {id: BrokerImage(id, (BrokerEndpoint("PLAINTEXT", "127.0.0.1", 1),), None, id) for id in (1, 2)}
        moving = PartitionImage((1, 2), isr=(1, 2), leader=1, leader_epoch=3, partition_epoch=4, removing_replicas=(2,))
        store.there = {"orders": TopicImage("orders", ID, {0: moving})}
        assigned_when_told: list[int] = []

        def tell(notices: Iterable[Notice]) -> list[Any]:
            if any(isinstance(notice.request, StopReplicaRequest) for notice in notices):
                assigned_when_told.append(len(store.assigned))
            return []

        monkeypatch.setattr(scene.controller, "tell", tell)
        await scene.controller.look()
        assert assigned_when_told == [0]
        assert [(each.partitions, each.removing) for each in store.assigned] == [({0: (1,)}, {})]

    played(tmp_path, story)


def test_one_look_follows_however_many_watches_fire(tmp_path: Path) -> None:
    """Each look leaves a watch, and each watch that fired brought a look: they were more with every lost connection."""

    async def story(scene: Scene) -> None:
        for _ in range(3):
            await scene.controller.look()
        fired, scene.store.watchers = scene.store.watchers, []
        assert len(fired) == 3
        for watcher in fired:
            watcher()
        while not scene.store.watchers:
            await asyncio.sleep(0)
        await scene.controller.look()
        assert len(scene.store.watchers) == 2
        # And what fires later is heard again.
        scene.store.watchers[0]()
        while len(scene.store.watchers) < 3:
            await asyncio.sleep(0)

    played(tmp_path, story)


# --- who holds most (rule 26) ---


class Replicas:
    """Says where logs end, as `answers` has it, one answer after the other: the last one for ever."""

    def __init__(self, scene: Scene, monkeypatch: pytest.MonkeyPatch, *answers: Any) -> None:
        self._answers = list(answers)
        self.asked: list[frozenset[int]] = []
        monkeypatch.setattr("kstore.server.cluster_controller.ends_of", self._ends_of)
        monkeypatch.setattr("kstore.server.cluster_controller.ASK_AGAIN_S", 0)
        # Nobody else is spoken to.
        monkeypatch.setattr(scene.controller, "match_channels", lambda brokers: None)

    async def _ends_of(self, doubts: Mapping[TopicPartition, Doubt], *_: Any, **__: Any) -> Any:
        self.asked.append(doubts[KEY].replicas)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return {KEY: {replica: LogEnd(2, end) for replica, end in answer.items()}}


def compared(
    directory: Path, monkeypatch: pytest.MonkeyPatch, *answers: Any, copies: int = 2
) -> tuple[list[frozenset[int]], int]:
    """Who was asked each time until the comparison ended, and who leads. Broker 2 was alone in sync and comes back from
    a crash of its machine, broker 1 is there, and 3 is not."""
    found: list[tuple[list[frozenset[int]], int]] = []

    async def story(scene: Scene) -> None:
        lost = PartitionImage((1, 2, 3), (2,), leader=-1, leader_epoch=3, partition_epoch=4, incarnations={2: "before"})
        scene.store.there = {"orders": TopicImage("orders", ID, {0: lost})}
        endpoints = (BrokerEndpoint("PLAINTEXT", "127.0.0.1", 1),)
        scene.store.alive = {id: BrokerImage(id, endpoints, None, id, "after") for id in (1, 2)}
        scene.configs.stored = {"orders": {"min.insync.replicas": str(copies)}}
        replicas = Replicas(scene, monkeypatch, *answers)
        await scene.controller.look()
        await scene.at_rest()
        state = scene.controller.active().state(KEY)
        assert state is not None
        found.append((replicas.asked, state.leader))

    played(directory, story, {"auto.leader.rebalance.enable": "false"})
    return found[0]


BOTH = frozenset({1, 2})


def test_who_is_there_and_has_not_answered_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert compared(tmp_path, monkeypatch, {}, {2: 5}, {2: 5, 1: 7}, copies=1) == ([BOTH] * 3, 1)


def test_a_comparison_ends_when_nobody_who_is_there_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though nobody can be elected: who is away is asked when it comes."""
    assert compared(tmp_path, monkeypatch, {2: 5, 1: 4}) == ([BOTH], -1)


def test_an_answer_that_nobody_understands_does_not_end_a_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert compared(tmp_path, monkeypatch, KeyError("odd"), {2: 5, 1: 4}) == ([BOTH] * 2, -1)


def test_before_an_administrator_has_a_replica_out_of_sync_lead_they_say_what_they_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(scene: Scene) -> None:
        lost = PartitionImage((3, 1, 2), (3,), leader=-1, leader_epoch=3, partition_epoch=4)
        scene.store.there = {"orders": TopicImage("orders", ID, {0: lost})}
        scene.store.alive = {id: BrokerImage(id, (BrokerEndpoint("PLAINTEXT", "h", 1),), None, id) for id in (1, 2)}
        replicas = Replicas(scene, monkeypatch, {1: 4, 2: 5})
        await scene.controller.look()
        elect = scene.controller.requests.elect_leaders
        assert list(await elect(PREFERRED, None)) == [KEY]
        assert replicas.asked == []
        assert await elect(UNCLEAN, [KEY]) == {KEY: None}
        assert replicas.asked == [BOTH]
        state = scene.controller.active().state(KEY)
        assert state is not None
        assert (state.leader, state.isr) == (2, (2,))

    played(tmp_path, story)
