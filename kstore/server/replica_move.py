"""One replica on its way to another log directory: copied while it is written to, then put in its place (KIP-113).

The copy takes what the replica has in turns of some milliseconds, and a thread flushes it meanwhile. When little is
left, and on the disk is what was on the replica's, the two change places in the turn in which the rest is taken over: a
replica that grows all the time is never caught up with otherwise. "Little" doubles each time that more has come.

Kafka: ReplicaAlterLogDirsThread.scala, Partition.maybeReplaceCurrentWithFutureReplica. What is decided and appended is
on the loop; a thread reads what is not in the page cache.
"""

import asyncio
import time
from typing import TYPE_CHECKING

from kstore.errors import NotCachedError
from kstore.log.log_moves import is_durable
from kstore.log.partition_log import LOG_END, FetchData, PartitionLog
from kstore.log.work import bring_in
from kstore.model import TopicPartition
from kstore.replica.log_copy import append_some, bytes_behind, cut_to, skip_gap
from kstore.server.copy_pace import CopyPace

if TYPE_CHECKING:
    from kstore.server.context import Context

# What is read and what is appended at once: a turn may last so much longer than it should.
PIECE = 1 << 20
SLICE = 1 << 16
# How long others wait for the loop; longer where the replica has grown meanwhile, until twice that much is copied, or
# the most.
TURN_S = 0.002
MOST_IN_TURN = 1 << 23
# How much is left to the turn in which the copy takes the replica's place, at first and at last.
TAIL = 1 << 18
MOST_TAIL = 1 << 24
# How much is copied from one flush to the next.
FLUSH_BYTES = 1 << 26
# Until one of the two is looked at again that is being flushed or cleaned.
RETRY_S = 0.05


class ReplicaMove:
    def __init__(self, context: "Context", pace: CopyPace, key: TopicPartition) -> None:
        self._pace = pace
        self._context = context
        self._key = key
        self._tail = TAIL
        # Bytes since the last flush of the copy was begun, and that flush while it is at work.
        self._unflushed = 0
        self._flush: asyncio.Task[None] | None = None
        self._turn_end = 0.0
        self._turn_bytes = 0
        self._grown = 0
        # Whether a thread has looked for what comes next, so that it is there without waiting; whether one has to.
        self._is_brought = False
        self._is_cold = False

    async def run(self) -> None:
        """Returns when the copy is in its place or not wanted any more, or the broker stops. Raises KafkaError."""
        try:
            while not self._pace.stopping and (pair := self._pair()) is not None and await self._step(*pair):
                await self._give_way(pair[0])
        finally:
            if self._flush is not None:
                await asyncio.gather(self._flush, return_exceptions=True)

    def _pair(self) -> tuple[PartitionLog, PartitionLog] | None:
        """The replica and its copy; None when there is nothing to copy any more."""
        partition = self._context.replicas.partitions.get(self._key)
        copy = self._context.replicas.logs.moves.futures.get(self._key)
        return None if partition is None or copy is None else (partition.log, copy)

    async def _give_way(self, source: PartitionLog) -> None:
        """Lets others have the loop when this turn has lasted long enough."""
        if time.monotonic() < self._turn_end or self._turn_bytes < min(2 * self._grown, MOST_IN_TURN):
            return
        before = source.size_in_bytes
        await asyncio.sleep(0)
        self._grown = source.size_in_bytes - before
        self._turn_bytes = 0
        self._turn_end = time.monotonic() + TURN_S

    async def _step(self, source: PartitionLog, copy: PartitionLog) -> bool:
        """Copies a piece, or puts the copy in its place; False when that is done."""
        cut_to(source, copy, now_ms=self._context.clock.now_ms())
        behind = self._bytes_behind(source, copy)
        if 0 <= behind <= self._tail and not self._is_cold:
            return not await self._finish(source, copy, behind)
        await self._copy_piece(source, copy)
        if self._unflushed >= FLUSH_BYTES and not self._is_flushing():
            self._begin_flush(copy)
        return True

    def _bytes_behind(self, source: PartitionLog, copy: PartitionLog) -> int:
        """-1 where the disk would have to tell."""
        try:
            return bytes_behind(source, copy)
        except NotCachedError:
            return -1

    # --- copying ---

    async def _copy_piece(self, source: PartitionLog, copy: PartitionLog) -> None:
        truncations, offset = source.truncations, copy.log_end_offset

        def is_next() -> bool:
            return (
                self._pair() == (source, copy)
                and source.truncations == truncations
                and copy.log_end_offset == offset < source.log_end_offset
            )

        self._is_cold = False
        if not is_next():
            return  # it was cut meanwhile, or is not wanted any more
        found = await self._look_up(source, offset)
        if found is None:
            return
        if not found.records:
            skip_gap(source, copy, now_ms=self._context.clock.now_ms())
            return
        records = memoryview(await self._read(found))
        while records and is_next():
            size = append_some(
                copy,
                records,
                most=SLICE,
                high_watermark=source.high_watermark,
                now_ms=self._context.clock.now_ms(),
            )
            if not size:
                return  # the last batch was cut off
            records, offset = records[size:], copy.log_end_offset
            self._unflushed += size
            self._turn_bytes += size
            self._pace.count(size)
            await self._pace.allowance()
            await self._give_way(source)

    async def _look_up(self, source: PartitionLog, offset: int) -> FetchData | None:
        """What lies there; None when a thread had to look for it, and the replica is to be looked at again."""
        wait, self._is_brought = self._is_brought, False
        try:
            return source.read(offset, max_bytes=PIECE, upper_bound=LOG_END, wait=wait)
        except NotCachedError as error:
            await self._context.loop.run_in_executor(self._context.cold_reads, bring_in, error.look_up)
            self._is_brought = True
            return None

    async def _read(self, found: FetchData) -> bytes:
        records = found.records
        if isinstance(records, bytes):
            return records
        if records.is_cached():
            return records.read()
        return await self._context.loop.run_in_executor(self._context.cold_reads, records.read)

    def _is_flushing(self) -> bool:
        """Whether a thread flushes the copy. Raises what the last flush has failed with."""
        if self._flush is None or not self._flush.done():
            return self._flush is not None
        ended, self._flush = self._flush, None
        ended.result()
        return False

    def _begin_flush(self, copy: PartitionLog) -> None:
        self._flush = self._context.loop.create_task(self._flush_all(copy))

    async def _flush_all(self, copy: PartitionLog) -> None:
        self._unflushed = 0
        job = copy.begin_flush()
        if job is not None:
            await self._context.loop.run_in_executor(None, job.run)
            copy.complete_flush(job, now_ms=self._context.clock.now_ms())

    # --- the end ---

    async def _finish(self, source: PartitionLog, copy: PartitionLog, behind: int) -> bool:
        """Whether the copy is in its place."""
        if self._is_flushing():
            assert self._flush is not None
            await asyncio.wait([self._flush], timeout=RETRY_S)
            return False
        if self._unflushed > self._tail and not is_durable(source, copy):
            self._begin_flush(copy)
            return False
        job = copy.begin_prepare()
        if job is not None:
            # Nothing was appended to it, and the replica's topic id and epochs may be on the disk.
            await self._context.loop.run_in_executor(None, job.run)
            copy.complete_prepare(job)
            return False
        if behind:
            await self._pace.allowance()
        # Where answers wait for flushes these wait now, for one of the copy at most.
        async with self._context.flusher.held(source):
            is_busy = self._is_busy(source)
            if not is_busy and await self._take_place(source, copy):
                return True
        if is_busy:
            await asyncio.sleep(RETRY_S)
        else:
            self._tail = min(2 * self._tail, MOST_TAIL)
        return False

    async def _take_place(self, source: PartitionLog, copy: PartitionLog) -> bool:
        """Whether the copy is in its place. Nothing is awaited from the tail on that is the last."""
        if not self._take_tail(source, copy):
            return False
        if not is_durable(source, copy):
            await self._flush_all(copy)
            if not self._take_tail(source, copy) or not is_durable(source, copy) or self._is_busy(source):
                return False
        moved = self._context.replicas.logs.moves.complete(self._key, self._context.clock.now_ms())
        self._context.replicas.partitions[self._key].move_to(moved)
        return True

    def _is_busy(self, source: PartitionLog) -> bool:
        """Whether a thread has the replica's files."""
        logs = self._context.replicas.logs
        return source in logs.flushing or source in logs.cleaner.in_progress

    def _take_tail(self, source: PartitionLog, copy: PartitionLog) -> bool:
        """Takes over what has come, if it is little; whether the copy has all."""
        if self._pair() != (source, copy):
            return False
        now_ms = self._context.clock.now_ms()
        cut_to(source, copy, now_ms=now_ms)
        # Again and again the disk is not asked: a kernel may be unable to tell what it has.
        wait = self._tail == MOST_TAIL
        try:
            if bytes_behind(source, copy, wait=wait) > self._tail:
                return False
            while copy.log_end_offset < source.log_end_offset:
                found = source.read(copy.log_end_offset, max_bytes=PIECE, upper_bound=LOG_END, wait=wait)
                if not found.records:
                    skip_gap(source, copy, now_ms=now_ms)
                    return True
                records = found.records
                if not isinstance(records, bytes):
                    if not (wait or records.is_cached()):
                        self._is_cold = True
                        return False
                    records = records.read()
                size = append_some(
                    copy, memoryview(records), most=PIECE, high_watermark=source.high_watermark, now_ms=now_ms
                )
                if not size:
                    return False
                self._pace.count(size)
        except NotCachedError:
            self._is_cold = True
            return False
        return True
