"""Flushes that an answer waits for (`flush.messages`), many answers to one fsync.

A partition has one flush at work at a time; what is appended meanwhile shares the next one. A producer is
answered, and consumers see its records, only when they are on the disk, where Kafka would hold up its request thread
(UnifiedLog.append).
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from kstore._native.durations import Durations
from kstore.clock import Clock
from kstore.errors import NotLeaderOrFollowerError
from kstore.log.flush import FlushJob
from kstore.log.partition_log import PartitionLog
from kstore.log.work import FlushWork
from kstore.replica.partition import Partition
from kstore.server.deliver import Deliver


class Flusher:
    def __init__(self, clock: Clock, deliver: Deliver) -> None:
        self._clock = clock
        self._deliver = deliver
        # How long flushes took, these and those of the background.
        self.durations = Durations()
        self._running: dict[PartitionLog, asyncio.Future[None]] = {}
        # Logs of which no flush is to begin, and what tells those who wait for one that it may again.
        self._held: dict[PartitionLog, asyncio.Event] = {}

    async def flushed(self, partition: Partition, end_offset: int) -> None:
        """Returns when the partition's log is durable below `end_offset`.

        Raises KafkaStorageError, and NotLeaderOrFollowerError when the partition is deleted or cut back meanwhile.
        """
        # The partition may move to another log meanwhile.
        while (log := partition.log).recovery_point < end_offset:
            if partition.leader is None or log.log_end_offset < end_offset:
                raise NotLeaderOrFollowerError(f"{partition.topic_partition} was lost before it was flushed")
            await self._flushed_once(log)
        self._deliver(partition.flushed())
        self._deliver.turn_ended()

    async def follower_flushed(self, partition: Partition) -> None:
        """Returns when what the partition's log holds now is durable, or was cut. Raises KafkaStorageError."""
        end_offset = partition.log.log_end_offset
        while (log := partition.log).recovery_point < min(end_offset, log.log_end_offset):
            await self._flushed_once(log)

    @asynccontextmanager
    async def held(self, log: PartitionLog) -> AsyncIterator[None]:
        """Inside, no flush of the log is at work that an answer waits for. Where answers always wait for one, it would
        never be without."""
        assert log not in self._held
        over = self._held[log] = asyncio.Event()
        try:
            running = self._running.get(log)
            if running is not None:
                await asyncio.wait([running])
            yield
        finally:
            del self._held[log]
            over.set()

    async def _flushed_once(self, log: PartitionLog) -> None:
        held = self._held.get(log)
        if held is not None:
            await held.wait()
            return
        running = self._running.get(log)
        # One that is done is taken out a turn later: to wait for it would be no wait, and the turn never come.
        if running is None or running.done():
            running = asyncio.ensure_future(self._flush(log))
            self._running[log] = running
            running.add_done_callback(partial(self._ended, log))
        # One producer that goes away does not take the others' flush with it.
        await asyncio.shield(running)

    def _ended(self, log: PartitionLog, ended: "asyncio.Future[None]") -> None:
        if self._running.get(log) is ended:
            del self._running[log]

    async def _flush(self, log: PartitionLog) -> None:
        job = log.begin_flush()
        if job is not None:
            await asyncio.get_running_loop().run_in_executor(None, self.run_measured, job)
            log.complete_flush(job, now_ms=self._clock.now_ms())

    def run_measured(self, job: FlushJob | FlushWork) -> None:
        """Runs a flush in the thread that calls."""
        started = time.monotonic_ns()
        job.run()
        self.durations.observe(time.monotonic_ns() - started)
