"""Flushes that an answer waits for (`flush.messages`), many answers to one fsync.

A partition has one flush at work at a time; what is appended meanwhile shares the next one. A producer is
answered only when its records are on the disk, where Kafka would hold up its request thread
(UnifiedLog.append).
"""

import asyncio

from kstore.clock import Clock
from kstore.errors import NotLeaderOrFollowerError
from kstore.log.partition_log import PartitionLog
from kstore.replica.partition import Partition


class Flusher:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._running: dict[PartitionLog, asyncio.Future[None]] = {}

    async def flushed(self, partition: Partition, end_offset: int) -> None:
        """Returns when the partition's log is durable below `end_offset`.

        Raises KafkaStorageError, and NotLeaderOrFollowerError when the partition is deleted or cut back meanwhile.
        """
        log = partition.log
        while log.recovery_point < end_offset:
            if partition.leader is None or log.log_end_offset < end_offset:
                raise NotLeaderOrFollowerError(f"{partition.topic_partition} was lost before it was flushed")
            running = self._running.get(log)
            if running is None:
                running = asyncio.ensure_future(self._flush(log))
                self._running[log] = running
                running.add_done_callback(lambda _: self._running.pop(log))
            # One producer that goes away does not take the others' flush with it.
            await asyncio.shield(running)

    async def _flush(self, log: PartitionLog) -> None:
        job = log.begin_flush()
        if job is not None:
            await asyncio.get_running_loop().run_in_executor(None, job.run)
            log.complete_flush(job, now_ms=self._clock.now_ms())
