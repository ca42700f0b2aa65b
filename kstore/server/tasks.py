"""The complete list of what a broker does on its own, and how often.

Each task is a method that decides on the loop and sends only disk work to threads. One that is still at work
when its time comes again is left alone; one that fails is logged, once, and tried at its next time.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

from kstore.errors import KafkaStorageError
from kstore.log.cleaner.cleaner import CleaningWork
from kstore.log.incarnation import end_incarnation
from kstore.log.partition_log import PartitionLog
from kstore.log.work import FlushWork, RetentionWork
from kstore.server.context import Context
from kstore.server.listener import SWEEP_MS, Listeners

log = logging.getLogger(__name__)

LOG_TICK_MS = 500
MOST_CLEANERS = 64
METADATA_CHECK_MS = 1000
CLEANER_CHECK_MS = 250


class Tasks:
    def __init__(self, context: Context, listeners: Listeners, stop: Callable[[str], None]) -> None:
        """`stop(reason)` is called when there is nothing left to serve."""
        self._context = context
        self._listeners = listeners
        self._stop = stop
        self._running: list[asyncio.Task[None]] = []
        # As many threads as there are cleanings, which log.cleaner.threads bounds; flushes have others.
        self._cleaners = ThreadPoolExecutor(MOST_CLEANERS, thread_name_prefix="cleaner")
        self._asleep: dict[asyncio.Task[None], None] = {}
        self._cleanings: set[asyncio.Task[None]] = set()
        # Logs whose age a disk has to tell: whoever flushes does not wait for them.
        self._retentions: dict[PartitionLog, RetentionWork] = {}
        self._retaining: asyncio.Task[None] | None = None
        self._stopped = asyncio.Event()
        self._stopping = False
        self._told_of_metadata = False

    def start(self) -> None:
        context = self._context
        wanted = [(SWEEP_MS, self.sweep_connections), (LOG_TICK_MS, self.tend_logs)]
        if context.metadata is not None:
            wanted.append((METADATA_CHECK_MS, self.tend_metadata))
        if context.config.log_cleaner_enable:  # which is read-only
            wanted.append((CLEANER_CHECK_MS, self.clean_logs))
        if context.cluster is not None:
            # Twice in the time that a replica may lag (ReplicaManager.startup).
            wanted.append((max(context.config.replica_lag_time_max_ms // 2, 1), self.shrink_isrs))
        self._running = [context.loop.create_task(self._repeat(*each)) for each in wanted]

    async def stop(self) -> None:
        """Returns when no task is at work any more; what is in a thread is not left there."""
        self._stopping = True
        self._stopped.set()
        self._context.replicas.logs.cleaner.stop()
        for task in self._asleep:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await asyncio.gather(*self._cleanings, return_exceptions=True)
        if self._retaining is not None:
            await asyncio.gather(self._retaining, return_exceptions=True)
        self._cleaners.shutdown()

    async def sweep_connections(self) -> None:
        self._listeners.sweep()

    async def tend_logs(self) -> None:
        """Flushes, checkpoints, retention and deletions that are due; what failed on the way goes offline."""
        replicas, clock = self._context.replicas, self._context.clock
        for work in replicas.logs.tick(clock.now_ms(), clock.monotonic_ms()):
            if self._stopping:
                return  # the logs are flushed when they are closed, and what is to be deleted is found again
            if isinstance(work, FlushWork):
                await self._context.loop.run_in_executor(None, self._context.flusher.run_measured, work)
                work.complete(clock.now_ms())
                self._tell_of_flush(work)
            elif isinstance(work, RetentionWork):
                self._retentions[work.log] = work
                if self._retaining is None:
                    self._retaining = self._context.loop.create_task(self._retain())
            else:
                await self._context.loop.run_in_executor(None, work.run)
                work.complete(clock.now_ms())
        for path, topic_partitions in replicas.logs.take_failed_dirs().items():
            self._context.deliver(replicas.take_offline(topic_partitions, f"log directory {path} has failed"))
            if self._context.cluster is not None:
                self._context.cluster.log_dir_failed()
                # Nobody waits for a disk that may hang.
                self._context.loop.run_in_executor(None, end_incarnation, list(replicas.logs.dirs))
        self._context.log_dir_moves.resume()
        self._context.deliver.turn_ended()
        if not replicas.logs.live_dirs:
            self._stop("every log directory has failed")

    async def _retain(self) -> None:
        """Retention of the logs that wait for it, one after the other."""
        try:
            while self._retentions and not self._stopping:
                work = self._retentions.pop(next(iter(self._retentions)))
                await self._context.loop.run_in_executor(self._context.cold_reads, work.run)
                try:
                    work.complete(self._context.clock.now_ms())
                except Exception:
                    log.exception("retention of %s failed", work.log.topic_partition)
        finally:
            self._retaining = None

    def _tell_of_flush(self, work: FlushWork) -> None:
        """A flush that `flush.messages` asked for may have failed in passing: then this one lets records be seen."""
        partition = self._context.replicas.partitions.get(work.log.topic_partition)
        if partition is not None:
            self._context.deliver(partition.flushed())

    async def do_all_that_is_due(self) -> None:
        """To its end, for a clock that was moved."""
        await self.tend_logs()
        while self._retaining is not None:
            await asyncio.gather(self._retaining, return_exceptions=True)
        await self.clean_logs()
        while self._cleanings:
            await asyncio.gather(*self._cleanings, return_exceptions=True)

    async def clean_logs(self) -> None:
        """Begins what cleanings there may be at once; each goes on beside the other tasks."""
        cleaner, clock = self._context.replicas.logs.cleaner, self._context.clock
        while (work := cleaner.take(clock.now_ms())) is not None:
            task = self._context.loop.create_task(self._clean(work))
            self._cleanings.add(task)
            task.add_done_callback(self._cleanings.discard)

    async def _clean(self, work: CleaningWork) -> None:
        """One log, slice by slice; the pauses keep to the rate that the disk is to be used at."""
        try:
            while not work.done:
                await self._context.loop.run_in_executor(self._cleaners, work.run)
                work.complete(self._context.clock.now_ms())
                if work.pause_ms and not work.done:
                    with contextlib.suppress(asyncio.TimeoutError):
                        await asyncio.wait_for(self._stopped.wait(), work.pause_ms / 1000)
        except Exception as error:
            self._context.replicas.logs.cleaner.give_up(work, error)
        await self.clean_logs()

    async def tend_metadata(self) -> None:
        """A snapshot of the metadata when enough has been written since the last one."""
        metadata, clock = self._context.metadata, self._context.clock
        if metadata is None:
            return
        if metadata.failure is not None and not self._told_of_metadata:
            self._told_of_metadata = True
            log.error(
                "the metadata log in %s has failed: partitions are served as they are, and no topic, configuration or"
                " producer id block can be changed until a start with a whole disk",
                metadata.directory,
            )
        if metadata.is_snapshot_due(now_ms=clock.now_ms()):
            snapshot = metadata.begin_snapshot(now_ms=clock.now_ms())
            if snapshot is not None:
                await self._context.loop.run_in_executor(None, snapshot.run)
                with contextlib.suppress(KafkaStorageError):  # it is told where it was found
                    metadata.complete_snapshot(snapshot, now_ms=clock.now_ms())

    async def shrink_isrs(self) -> None:
        """Proposes to go on without the replicas that lag."""
        for partition in list(self._context.replicas):
            self._context.deliver(partition.maybe_shrink_isr(self._context.clock.monotonic_ms()))
        self._context.cluster.fetchers.match_config()
        self._context.deliver.turn_ended()

    async def _repeat(self, interval_ms: int, task: Callable[[], Awaitable[None]]) -> None:
        this = asyncio.current_task()
        assert this is not None
        said = ""
        while not self._stopping:
            self._asleep[this] = None
            await asyncio.sleep(interval_ms / 1000)
            self._asleep.pop(this, None)
            try:
                await task()
                said = ""
            except Exception as error:
                if repr(error) != said:  # what fails again in the same way has been told
                    said = repr(error)
                    log.exception("%s failed", task.__name__)
