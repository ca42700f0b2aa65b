"""What others leave in ZooKeeper for the controller to find: wishes of tools, and news of brokers.

Kafka's own tools of today ask by request; the znodes are those of older ones and of scripts (ZkData.scala). News are
removed when they are read; a new controller, which reads everything, removes those that it finds.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from kstore.cluster.zk import paths
from kstore.cluster.zk.fencing import Elected, fenced
from kstore.cluster.zk.session import Delete, Operation, Session, SetData
from kstore.errors import CorruptMetadataError
from kstore.model import TopicPartition

log = logging.getLogger(__name__)

Watcher = Callable[[], None]
Found = TypeVar("Found")


class Wishes:
    def __init__(self, session: Session) -> None:
        self._session = session

    # --- /admin/reassign_partitions ---

    async def reassignment(self, *, watcher: Watcher | None = None) -> dict[TopicPartition, tuple[int, ...]]:
        """Empty where there is none. What cannot be read is said and taken for none; it is not removed."""
        data = await self._get(paths.REASSIGN_PARTITIONS, watcher)
        try:
            return {} if data is None else paths.parse_reassignment(data)
        except CorruptMetadataError as error:
            log.error("%s", error)
            return {}

    async def forget_reassignment(self, done: Iterable[TopicPartition], elected: Elected) -> None:
        """Takes partitions out of it; it goes with the last one. Raises ControllerMovedError."""
        znode = await self._session.get(paths.REASSIGN_PARTITIONS)
        if znode is None:
            return
        try:
            wanted = paths.parse_reassignment(znode.data)
        except CorruptMetadataError:
            return
        gone = frozenset(done)
        left = {key: target for key, target in wanted.items() if key not in gone}
        if left and len(left) == len(wanted):
            return
        change: Operation = Delete(paths.REASSIGN_PARTITIONS, znode.version)
        if left:
            change = SetData(paths.REASSIGN_PARTITIONS, paths.reassignment_json(left), znode.version)
        # Where somebody has written it in between, the watch says so, and all is looked at again.
        await fenced(self._session, elected, [change])

    # --- /admin/preferred_replica_election ---

    async def preferred_election(self, *, watcher: Watcher | None = None) -> list[TopicPartition] | None:
        """None where nobody asks."""
        data = await self._get(paths.PREFERRED_ELECTION, watcher)
        try:
            return None if data is None else paths.parse_partitions(paths.PREFERRED_ELECTION, data)
        except CorruptMetadataError as error:
            log.error("%s", error)
            return []

    async def forget_preferred_election(self, elected: Elected) -> None:
        await fenced(self._session, elected, [Delete(paths.PREFERRED_ELECTION)])

    # --- news of brokers ---

    async def log_dir_events(self, *, watcher: Watcher | None = None) -> dict[str, int | None]:
        """Paths -> the broker that has lost a directory; None where that cannot be read."""
        return await self._news(paths.LOG_DIR_EVENTS, paths.parse_log_dir_event, watcher)

    async def isr_changes(self, *, watcher: Watcher | None = None) -> dict[str, list[TopicPartition] | None]:
        """Paths -> partitions whose state a broker has written itself; None where that cannot be read."""
        return await self._news(paths.ISR_CHANGES, paths.parse_partitions, watcher)

    async def forget_news(self, found: Mapping[str, object], elected: Elected) -> None:
        for path in found:
            await fenced(self._session, elected, [Delete(path)])

    # --- helpers ---

    async def _get(self, path: str, watcher: Watcher | None) -> bytes | None:
        """The data; `watcher` also hears when there is some for the first time."""
        if watcher is not None and not await self._session.exists(path, watcher=watcher):
            return None
        znode = await self._session.get(path)
        return None if znode is None else znode.data

    async def _news(
        self, parent: str, parse: Callable[[str, bytes], Found], watcher: Watcher | None
    ) -> dict[str, Found | None]:
        found: dict[str, Found | None] = {}
        names = [f"{parent}/{name}" for name in sorted(await self._session.children(parent, watcher=watcher))]
        for path, znode in zip(names, await self._session.get_all(names), strict=True):
            try:
                found[path] = None if znode is None else parse(path, znode.data)
            except CorruptMetadataError as error:
                log.error("%s", error)
                found[path] = None
        return found
