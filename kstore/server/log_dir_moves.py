"""The tasks that copy replicas to other log directories, and put the copies in their places (KIP-113).

Kafka: ReplicaAlterLogDirsThread.scala, ReplicaManager.alterReplicaLogDirs. Reading is done in threads; what is decided
and appended, on the loop.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from kstore.errors import KafkaError, KafkaStorageError, NotCachedError, ReplicaNotAvailableError
from kstore.log.partition_log import LOG_END, PartitionLog
from kstore.log.work import bring_in
from kstore.model import TopicPartition
from kstore.replica.log_copy import ANY_EPOCH, append_as_follower, cut_to
from kstore.replica.throttle import UNLIMITED, ReplicationQuota

if TYPE_CHECKING:
    from kstore.server.context import Context

log = logging.getLogger(__name__)

PIECE = 1 << 20
# Until a copy that has all tries again to take the replica's place, or the disk is tried again.
RETRY_S = 0.05
TROUBLE_S = 1.0


class LogDirMoves:
    def __init__(self, context: "Context") -> None:
        config = context.config
        self._context = context
        self._copying: dict[TopicPartition, asyncio.Task[None]] = {}
        self._stopping = False
        self._quota = ReplicationQuota(
            windows=config.alter_log_dirs_replication_quota_window_num,
            window_ms=1000 * config.alter_log_dirs_replication_quota_window_size_seconds,
        )

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
            if key not in self._copying and key in replicas.partitions and not self._stopping:
                self._copying[key] = self._context.loop.create_task(self._copy(key))

    async def stop(self) -> None:
        self._stopping = True
        await asyncio.gather(*self._copying.values(), return_exceptions=True)

    async def _copy(self, key: TopicPartition) -> None:
        try:
            while not self._stopping and await self._step(key):
                pass
        except KafkaError as error:
            log.error("copying %s to another directory: %s", key, error)
            await asyncio.sleep(TROUBLE_S)
        except Exception:
            log.exception("copying %s to another directory", key)
            await asyncio.sleep(TROUBLE_S)
        finally:
            del self._copying[key]

    def _pair(self, key: TopicPartition) -> tuple[PartitionLog, PartitionLog] | None:
        """The replica and its copy; None when there is nothing to copy any more."""
        partition = self._context.replicas.partitions.get(key)
        copy = self._context.replicas.logs.moves.futures.get(key)
        return None if partition is None or copy is None else (partition.log, copy)

    async def _step(self, key: TopicPartition) -> bool:
        """Copies a piece, or puts the copy in its place; False when that is done."""
        pair = self._pair(key)
        if pair is None:
            return False
        source, copy = pair
        now_ms = self._context.clock.now_ms()
        cut_to(source, copy, now_ms=now_ms)
        if copy.log_end_offset == source.log_end_offset:
            return await self._finish(key, source, copy)
        truncations, offset = source.truncations, copy.log_end_offset
        records = await self._read(source, offset)
        if not records:
            # The replica ends in a gap, which the next record will show.
            await asyncio.sleep(RETRY_S)
        elif self._pair(key) == pair and source.truncations == truncations and copy.log_end_offset == offset:
            append_as_follower(copy, records, leader_epoch=ANY_EPOCH, now_ms=now_ms)
            await self._keep_to_rate(len(records))
        return True

    async def _read(self, source: PartitionLog, offset: int) -> bytes:
        run = self._context.loop.run_in_executor
        try:
            found = source.read(offset, max_bytes=PIECE, upper_bound=LOG_END, wait=False)
        except NotCachedError as error:
            await run(self._context.cold_reads, bring_in, error.look_up)
            found = source.read(offset, max_bytes=PIECE, upper_bound=LOG_END)
        records = found.records
        return records if isinstance(records, bytes) else bytes(await run(self._context.cold_reads, records.read))

    async def _keep_to_rate(self, size: int) -> None:
        clock, quota = self._context.clock, self._quota
        quota.rate = self._context.config.replica_alter_log_dirs_io_max_bytes_per_second
        if quota.rate == UNLIMITED:
            return
        quota.record(size, clock.monotonic_ms())
        while quota.is_exceeded(clock.monotonic_ms()) and not self._stopping:
            await asyncio.sleep(RETRY_S)

    async def _finish(self, key: TopicPartition, source: PartitionLog, copy: PartitionLog) -> bool:
        """The copy has all; most of it goes to the disk first, so that the loop waits for a tail only."""
        context = self._context
        job = copy.begin_flush()
        if job is not None:
            await context.loop.run_in_executor(None, job.run)
            copy.complete_flush(job, now_ms=context.clock.now_ms())
        logs = context.replicas.logs
        if self._pair(key) != (source, copy):
            return True
        if source in logs.flushing or source in logs.cleaner.in_progress or context.flusher.is_flushing(source):
            await asyncio.sleep(RETRY_S)
            return True
        now_ms = context.clock.now_ms()
        if not self._catch_up(source, copy, now_ms):
            return True
        moved = logs.moves.complete(key, now_ms)
        context.replicas.partitions[key].move_to(moved)
        return False

    def _catch_up(self, source: PartitionLog, copy: PartitionLog, now_ms: int) -> bool:
        """Takes over what came during the flush, if it is little."""
        cut_to(source, copy, now_ms=now_ms)
        if copy.log_end_offset < source.log_end_offset:
            records = source.read(copy.log_end_offset, max_bytes=PIECE, upper_bound=LOG_END).records
            data = records if isinstance(records, bytes) else bytes(records.read())
            append_as_follower(copy, data, leader_epoch=ANY_EPOCH, now_ms=now_ms)
        return copy.log_end_offset == source.log_end_offset
