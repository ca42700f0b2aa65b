"""The configurations of topics and brokers, which every broker may change: compared and set, and told to all.

Kafka: AdminZkClient.changeEntityConfig, ZkConfigManager.scala, ZkNodeChangeNotificationListener.scala.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from kstore.cluster.image import BROKER_RESOURCE, TOPIC_RESOURCE
from kstore.cluster.topic_names import LEGAL
from kstore.cluster.zk import paths
from kstore.cluster.zk.session import Check, Create, Delete, Operation, OperationFailed, Session, SetData
from kstore.errors import CorruptMetadataError, UnknownTopicOrPartitionError

log = logging.getLogger(__name__)

# The znode of what all brokers have in common (ConfigEntityName.DEFAULT).
ALL_BROKERS = "<default>"
# A broker that was away for longer reads everything anew (ZkNodeChangeNotificationListener).
CHANGES_KEPT_MS = 15 * 60 * 1000

Resource = tuple[int, str]


class StoredConfig(NamedTuple):
    configs: dict[str, str]
    version: int = -1  # of the znode; -1 where there is none


class ConfigChange(NamedTuple):
    """What was changed, None for what kstore has no use for; `is_old` when everybody has had the time to see it."""

    resource: Resource | None
    is_old: bool


class ConfigStore:
    def __init__(self, session: Session) -> None:
        self._session = session

    async def all(self, broker_id: int) -> dict[Resource, dict[str, str]]:
        """Those of every topic, of all brokers and of this one, as the image has them. Raises CorruptMetadataError."""
        stored = await self.read([*await self.resources(), (BROKER_RESOURCE, str(broker_id))])
        return {resource: found.configs for resource, found in stored.items() if found.configs}

    async def resources(self) -> list[Resource]:
        """All topics, and all brokers together."""
        names = await self._session.children(paths.CONFIG_TOPICS)
        return [*((TOPIC_RESOURCE, name) for name in names), (BROKER_RESOURCE, "")]

    async def read(self, resources: Iterable[Resource]) -> dict[Resource, StoredConfig]:
        """Raises CorruptMetadataError, SessionLostError."""
        asked = dict.fromkeys(resources)
        wanted = [resource for resource in asked if _may_exist(resource)]
        znodes = await self._session.get_all([_path(resource) for resource in wanted])
        found = dict.fromkeys(asked, StoredConfig({}))
        for resource, znode in zip(wanted, znodes, strict=True):
            if znode is not None:
                found[resource] = StoredConfig(paths.parse_config(_path(resource), znode.data), znode.version)
        return found

    async def write(self, resource: Resource, configs: Mapping[str, str], version: int) -> bool:
        """Writes one and tells all brokers, in one step; False if the znode has another version by now. Raises
        UnknownTopicOrPartitionError for a topic that is gone."""
        path, data = _path(resource), paths.config_json(configs)
        change: Operation = Create(path, data) if version < 0 else SetData(path, data, version)
        operations = [change, Create(paths.CHANGE_PREFIX, paths.config_change_json(_entity(resource)), sequential=True)]
        kind, name = resource
        if kind == TOPIC_RESOURCE:
            operations.append(Check(paths.topic(name), -1))
        done = await self._session.multi(operations)
        if isinstance(done, OperationFailed) and done.number == 2:
            raise UnknownTopicOrPartitionError(f"there is no topic {name!r}")
        return not isinstance(done, OperationFailed)

    async def topic_exists(self, name: str) -> bool:
        return _may_exist((TOPIC_RESOURCE, name)) and await self._session.exists(paths.topic(name))

    # --- news ---

    async def changes(
        self, *, watcher: Callable[[], None], seen: Iterable[str], now_ms: int
    ) -> dict[str, ConfigChange]:
        """What was changed, in the order of names, but for what has been `seen`."""
        names = sorted(await self._session.children(paths.CONFIG_CHANGES, watcher=watcher))
        known = frozenset(seen)
        znodes = await self._session.get_all([_change(name) for name in names if name not in known])
        new = dict(zip([name for name in names if name not in known], znodes, strict=True))
        found = {}
        for name in names:
            znode = new.get(name)
            if name in known:
                found[name] = ConfigChange(None, is_old=False)
            elif znode is not None:
                resource = _changed(name, znode.data)
                found[name] = ConfigChange(resource, is_old=now_ms - znode.created_ms > CHANGES_KEPT_MS)
        return found

    async def forget(self, names: Iterable[str]) -> None:
        """Changes that everybody has seen; whoever comes first removes them."""
        await asyncio.gather(*(self._session.multi([Delete(_change(name))]) for name in names))


def _may_exist(resource: Resource) -> bool:
    """Whether the name can be a part of a path."""
    kind, name = resource
    if kind == TOPIC_RESOURCE:
        return bool(name) and name not in (".", "..") and LEGAL.issuperset(name)
    return kind == BROKER_RESOURCE and (not name or (name.isascii() and name.isdecimal()))


def _change(name: str) -> str:
    return f"{paths.CONFIG_CHANGES}/{name}"


def _entity(resource: Resource) -> str:
    kind, name = resource
    return f"topics/{name}" if kind == TOPIC_RESOURCE else f"brokers/{name or ALL_BROKERS}"


def _path(resource: Resource) -> str:
    return f"/config/{_entity(resource)}"


def _changed(name: str, data: bytes) -> Resource | None:
    try:
        entity_path = paths.parse_config_change(_change(name), data)
    except CorruptMetadataError as error:
        # It must not hold up those that come after it.
        log.error("%s", error)
        return None
    kind, _, name = entity_path.partition("/")
    if kind == "topics":
        return TOPIC_RESOURCE, name
    if kind == "brokers":
        return BROKER_RESOURCE, "" if name == ALL_BROKERS else name
    return None
