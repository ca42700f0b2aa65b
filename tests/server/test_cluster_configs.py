"""A member's configurations, when ZooKeeper answers and when it does not."""

import asyncio
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from kstore.clock import SystemClock
from kstore.cluster.image import BROKER_RESOURCE, TOPIC_RESOURCE, ClusterImage
from kstore.cluster.zk.configs import ConfigChange, Resource, StoredConfig
from kstore.errors import CorruptMetadataError, SessionLostError
from kstore.server.cluster_configs import ClusterConfigs

ORDERS, LETTERS = (TOPIC_RESOURCE, "orders"), (TOPIC_RESOURCE, "letters")


class FakeStore:
    """What stands in ZooKeeper; `failures` reads give no answer first."""

    def __init__(self) -> None:
        self.stored: dict[Resource, dict[str, str]] = {}
        self.damaged: set[Resource] = set()
        self.told: dict[str, Resource] = {}
        self.old: set[str] = set()
        self.forgotten: list[str] = []
        self.failures = 0

    async def read(self, resources: Iterable[Resource]) -> dict[Resource, StoredConfig]:
        wanted = list(resources)
        if self.failures:
            self.failures -= 1
            raise SessionLostError("no answer")
        if self.damaged.intersection(wanted):
            raise CorruptMetadataError("no JSON")
        return {resource: StoredConfig(self.stored.get(resource, {})) for resource in wanted}

    async def resources(self) -> list[Resource]:
        return [*self.stored, (BROKER_RESOURCE, "")]

    async def changes(self, *, watcher: Any, seen: Iterable[str], now_ms: int) -> dict[str, ConfigChange]:
        return {name: ConfigChange(resource, name in self.old) for name, resource in self.told.items()}

    async def forget(self, names: Iterable[str]) -> None:
        self.forgotten += names


class Scene:
    def __init__(self) -> None:
        self.store = FakeStore()
        self.reconfigured: list[ClusterImage] = []
        context = SimpleNamespace(
            node_id=1, clock=SystemClock(), replicas=[], start_task=lambda work: asyncio.ensure_future(work)
        )
        self.changes = 0
        self.member = SimpleNamespace(
            image=ClusterImage(),
            configs=self.store,
            is_stopping=False,
        )
        self.configs = ClusterConfigs(context, self.member, self.changed)  # type: ignore[arg-type]
        self.configs.reconfigure_broker = self.reconfigured.append

    def changed(self) -> None:
        self.changes += 1

    @property
    def known(self) -> dict[Resource, dict[str, str]]:
        return dict(self.member.image.configs)


def test_what_could_not_be_read_is_read_again() -> None:
    async def story() -> None:
        scene = Scene()
        scene.store.stored[ORDERS] = {"min.insync.replicas": "2"}
        scene.store.failures = 2
        await scene.configs.know(["orders"])
        assert scene.known == {}
        async with asyncio.timeout(20):
            while not scene.known:
                await asyncio.sleep(0.01)
        assert scene.known == {ORDERS: {"min.insync.replicas": "2"}}

    asyncio.run(story())


def test_a_change_is_taken_once_and_its_znode_goes_when_it_is_old() -> None:
    async def story() -> None:
        scene = Scene()
        scene.store.stored[ORDERS] = {"retention.ms": "1"}
        scene.store.told = {"config_change_1": ORDERS, "config_change_2": (BROKER_RESOURCE, "2")}
        scene.store.old = {"config_change_1"}
        await scene.configs.follow()
        assert scene.known == {ORDERS: {"retention.ms": "1"}}
        assert (scene.reconfigured, scene.store.forgotten) == ([], ["config_change_1"])
        scene.store.stored[ORDERS] = {}
        await scene.configs.follow()
        assert scene.known == {ORDERS: {"retention.ms": "1"}}
        scene.store.told["config_change_3"] = ORDERS
        await scene.configs.follow()
        assert (scene.known, scene.changes) == ({}, 2)

    asyncio.run(story())


def test_a_brokers_own_configuration_reconfigures_it() -> None:
    async def story() -> None:
        scene = Scene()
        mine = (BROKER_RESOURCE, "1")
        scene.store.stored[mine] = {"log.retention.ms": "1"}
        scene.store.told = {"config_change_1": mine}
        await scene.configs.follow()
        assert [image.configs for image in scene.reconfigured] == [{mine: {"log.retention.ms": "1"}}]

    asyncio.run(story())


def test_after_a_session_everything_is_read_again_and_damage_holds_up_nothing_else() -> None:
    async def story() -> None:
        scene = Scene()
        scene.member.image = ClusterImage(configs={LETTERS: {"retention.ms": "1"}})
        scene.store.stored = {ORDERS: {"retention.ms": "2"}}
        damaged = (TOPIC_RESOURCE, "damaged")
        scene.store.stored[damaged] = {}
        scene.store.damaged.add(damaged)
        scene.configs.lost()
        await scene.configs.follow()
        assert scene.known == {ORDERS: {"retention.ms": "2"}}

    asyncio.run(story())
