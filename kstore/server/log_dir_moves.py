"""Which replicas are wanted in other log directories, and the tasks that move them (KIP-113).

Kafka: ReplicaAlterLogDirsManager.scala, ReplicaManager.alterReplicaLogDirs.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from kstore.errors import KafkaError, KafkaStorageError, ReplicaNotAvailableError
from kstore.model import TopicPartition
from kstore.server.copy_pace import CopyPace
from kstore.server.replica_move import ReplicaMove

if TYPE_CHECKING:
    from kstore.server.context import Context

log = logging.getLogger(__name__)

# Until a disk in trouble is tried again.
TROUBLE_S = 1.0


class LogDirMoves:
    def __init__(self, context: "Context") -> None:
        self._context = context
        self._copying: dict[TopicPartition, asyncio.Task[None]] = {}
        self.pace = CopyPace(context)

    def ask(self, wishes: Mapping[TopicPartition, str]) -> dict[TopicPartition, KafkaError | None]:
        """Moves replicas to the directories; gives why one is not moved."""
        return {key: self._ask(key, path) for key, path in wishes.items()}

    def _ask(self, key: TopicPartition, path: str) -> KafkaError | None:
        replicas = self._context.replicas
        moves = replicas.logs.moves
        try:
            moves.prefer(key, path)
            if key in replicas.offline:
                raise KafkaStorageError(f"{key} is offline: {replicas.offline[key]}")
            if key not in replicas.partitions:
                raise ReplicaNotAvailableError(f"{key} is not here yet; it will be made in {path}")
            moves.begin(key, path, self._context.clock.now_ms())
        except KafkaError as error:
            log.warning("%s is not moved to %s: %s", key, path, error)
            return error
        self.resume()
        return None

    def resume(self) -> None:
        """Copies what is to be copied: also after a start, and after a disk was in trouble."""
        replicas = self._context.replicas
        for key in replicas.logs.moves.futures:
            if key not in self._copying and key in replicas.partitions and not self.pace.stopping:
                self._copying[key] = self._context.loop.create_task(self._copy(key))

    async def stop(self) -> None:
        self.pace.stopping = True
        await asyncio.gather(*self._copying.values(), return_exceptions=True)

    async def _copy(self, key: TopicPartition) -> None:
        try:
            async with self.pace.copiers:
                await ReplicaMove(self._context, self.pace, key).run()
        except KafkaError as error:
            log.error("copying %s to another directory: %s", key, error)
            await asyncio.sleep(TROUBLE_S)
        except Exception:
            log.exception("copying %s to another directory", key)
            await asyncio.sleep(TROUBLE_S)
        finally:
            del self._copying[key]
