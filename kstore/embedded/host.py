"""Who owns the partitions behind a log: a store of this process (`LocalHost`) or a broker's loop (`broker`).

A partition has no locks; its host lets one thread at a time in. What is slow (an fsync, bytes of a file) happens
outside, so readers and appenders do not wait for a disk that flushes.
"""

import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from kstore.clock import Clock
from kstore.embedded.guard import Guard
from kstore.errors import (
    KafkaStorageError,
    KstoreError,
    NotCachedError,
    OffsetConflictError,
    UnknownTopicOrPartitionError,
)
from kstore.log.append import LogAppendInfo
from kstore.log.cleaner.cleaner import CleaningWork
from kstore.log.manager import LogManager
from kstore.log.partition_log import HIGH_WATERMARK, FetchData
from kstore.log.work import FlushWork, Work, bring_in
from kstore.model import TopicPartition
from kstore.replica.effects import Effect
from kstore.replica.partition import Partition

Result = TypeVar("Result")

# How often a host looks for what is due: flush.ms, retention and checkpoints are no finer than this.
TEND_SECONDS = 1.0


class Host(Protocol):
    """What a log asks of its owner. Each call raises ClosedError once the owner is closed."""

    clock: Clock

    def check(self) -> None: ...
    def append(
        self, partition: Partition, data: bytearray, now_ms: int, expected_offset: int | None
    ) -> LogAppendInfo: ...
    def read(self, partition: Partition, offset: int, max_bytes: int, *, wait: bool) -> FetchData:
        """Without `wait` raises NotCachedError where the disk would have to be waited for."""

    def do(self, function: Callable[[], Result]) -> Result:
        """What `function` gives, called while nobody else is at the partitions."""

    def flush(self, partition: Partition) -> None: ...
    def tend(self) -> None: ...
    def wait(self, partition: Partition, offset: int, timeout_s: float | None, is_given_up: Callable[[], bool]) -> bool:
        """Returns when there is a record to be read at `offset`: true; or when time is over, or who was roused has
        given up: false."""

    def watch(self, partition: Partition, offset: int, arrived: Callable[[], object]) -> Callable[[], None]:
        """`arrived` is called once, in any thread, when there is a record to be read at `offset`, and when whoever
        waits is roused or the host closed. What is returned takes that back."""

    def rouse(self, partition: Partition) -> None:
        """Lets all who wait on the partition look whether they still do. Allowed when the host is closed, too."""


def patiently(do: Callable[[bool], Result]) -> Result:
    """What `do` gives, which is told whether it may wait for the disk, and keeps others waiting then.

    What is not in the page cache this thread brings in first, while nobody waits for it; pages can go as fast as they
    come, so the last attempt may wait.
    """
    for _ in range(2):
        try:
            return do(False)
        except NotCachedError as error:
            bring_in(error.look_up)
    return do(True)


def append_to(
    partition: Partition, data: bytearray, now_ms: int, expected_offset: int | None
) -> tuple[LogAppendInfo, tuple[Effect, ...]]:
    """As Partition.append_as_leader, for whom the next offset matters. Raises OffsetConflictError."""
    log = partition.log
    if expected_offset is not None and log.log_end_offset != expected_offset:
        raise OffsetConflictError(
            f"{log.topic_partition} goes on at offset {log.log_end_offset}, not at {expected_offset}",
            expected=expected_offset,
            actual=log.log_end_offset,
        )
    return partition.append_as_leader(data, 0, len(data), required_acks=1, now_ms=now_ms)


class LocalHost(Guard):
    """The partitions of one directory, and the one lock that its threads share."""

    def __init__(self, name: str, logs: LogManager, clock: Clock, *, background: bool) -> None:
        super().__init__(name)
        self.clock = clock
        self.logs = logs
        self.partitions: dict[tuple[str, int], Partition] = {}
        self._arrived = threading.Condition(self.lock)
        self._flushed = threading.Condition(self.lock)
        self._flushing: set[Partition] = set()
        self._tending = threading.Lock()
        self._closing = threading.Event()
        self._waiting = 0
        self._watchers: dict[tuple[str, int], list[tuple[int, Callable[[], object]]]] = {}
        self._background = background
        self._tender: Tender | None = None
        self._told_of_tender = False
        # What remains to be done when all is closed.
        self.on_closed: Callable[[], object] = lambda: None

    # --- use ---

    def append(self, partition: Partition, data: bytearray, now_ms: int, expected_offset: int | None) -> LogAppendInfo:
        with self.lock:
            if self.refusal is not None:
                self.refuse()
            if partition.leader is None:
                raise self._gone(partition)
            info = append_to(partition, data, now_ms, expected_offset)[0]
            must_flush = partition.log.must_flush
            if self._waiting:
                self._arrived.notify_all()
            if self._watchers:
                self._tell(partition)
            if self._background and self._tender is None:
                self._start_tending()
        if must_flush:
            self.flush(partition)
        return info

    def read(self, partition: Partition, offset: int, max_bytes: int, *, wait: bool) -> FetchData:
        with self.lock:
            self.check()
            if partition.leader is None:
                raise self._gone(partition)
            return partition.log.read(offset, max_bytes=max_bytes, upper_bound=HIGH_WATERMARK, wait=wait)

    def do(self, function: Callable[[], Result]) -> Result:
        with self.lock:
            self.check()
            return function()

    def flush(self, partition: Partition) -> None:
        """Makes durable what was appended before the call. Who comes while an fsync is at work shares the next one."""
        log = partition.log
        with self.lock:
            self.check()
            end_offset = log.log_end_offset
            while log.recovery_point < end_offset:
                if partition.leader is None:
                    raise self._gone(partition)
                if partition in self._flushing:
                    self._flushed.wait()
                    continue
                job = log.begin_flush()
                if job is None:
                    return  # cut back meanwhile
                self._flushing.add(partition)
                self.lock.release()
                try:
                    job.run()
                finally:
                    self.lock.acquire()
                    self._flushing.discard(partition)
                    self._flushed.notify_all()
                log.complete_flush(job, now_ms=self.clock.now_ms())
                self._flushed_now(partition)

    def _flushed_now(self, partition: Partition) -> None:
        """What waited for the disk (`flush.messages`) is seen from now on; the lock is held."""
        if partition.flushed():
            self.wake(partition)

    def wait(self, partition: Partition, offset: int, timeout_s: float | None, is_given_up: Callable[[], bool]) -> bool:
        log = partition.log
        with self.lock:
            self._waiting += 1
            try:
                self._arrived.wait_for(
                    lambda: self.refusal or partition.leader is None or log.high_watermark > offset or is_given_up(),
                    timeout_s,
                )
            finally:
                self._waiting -= 1
            self.check()
            if partition.leader is None:
                raise self._gone(partition)
            return log.high_watermark > offset

    def watch(self, partition: Partition, offset: int, arrived: Callable[[], object]) -> Callable[[], None]:
        entry = (offset, arrived)
        key = partition.topic_partition
        with self.lock:
            self.check()
            if partition.log.high_watermark <= offset:
                self._watchers.setdefault(key, []).append(entry)
                return lambda: self._unwatch(key, entry)
        arrived()
        return lambda: None

    def _unwatch(self, key: TopicPartition, entry: tuple[int, Callable[[], object]]) -> None:
        with self.lock:
            if entry in self._watchers.get(key, ()):
                self._watchers[key].remove(entry)

    def _tell(self, partition: Partition) -> None:
        """Calls those for whom the partition has something; the lock is held."""
        key = partition.topic_partition
        end_offset = partition.log.high_watermark
        watchers = self._watchers.pop(key, [])
        for offset, arrived in watchers:
            if end_offset > offset or self.refusal is not None or partition.leader is None:
                arrived()
            else:
                self._watchers.setdefault(key, []).append((offset, arrived))

    def rouse(self, partition: Partition) -> None:
        if self.is_forked:
            return  # who waited is the parent's
        with self.lock:
            self._arrived.notify_all()
            for _, arrived in self._watchers.pop(partition.topic_partition, []):
                arrived()

    def _gone(self, partition: Partition) -> UnknownTopicOrPartitionError:
        return UnknownTopicOrPartitionError(f"{partition.topic_partition} was deleted")

    def wake(self, partition: Partition) -> None:
        """Those who wait on a partition look what has become of it. The lock is held."""
        self._arrived.notify_all()
        self._tell(partition)

    # --- background ---

    def _start_tending(self) -> None:
        """The next append tries again where the system gives no thread now: nobody needs one but what is due."""
        try:
            self._tender = Tender(self)
        except RuntimeError as error:
            if not self._told_of_tender:
                self._told_of_tender = True
                import logging

                logging.getLogger(__name__).warning("nothing tends %s for now: %s", self.name, error)

    def tend(self) -> None:
        """Does what is due: flush.ms, retention, compaction, deletions, checkpoints. The slow parts run without the
        lock."""
        with self._tending:
            self._do_due_work()
            while True:
                with self.lock:
                    self.check()
                    cleaning = self.logs.cleaner.take(self.clock.now_ms())
                if cleaning is None:
                    return
                self._clean(cleaning)

    def begin_tending(self) -> None:
        """What an open log needs at once; compaction, which may take long, is left to `tend`."""
        with self._tending:
            self._do_due_work()

    def _do_due_work(self) -> None:
        while True:
            with self.lock:
                self.check()
                work = self.due()
            if not work:
                return
            for piece in work:
                piece.run()
                with self.lock:
                    piece.complete(self.clock.now_ms())
                    if isinstance(piece, FlushWork):
                        partition = self.partitions.get(piece.log.topic_partition)
                        if partition is not None:
                            self._flushed_now(partition)

    def _clean(self, work: CleaningWork) -> None:
        """Compacts one log, slice by slice. What interrupts it ends this cleaning and no other."""
        try:
            while not work.done:
                work.run()
                with self.lock:
                    work.complete(self.clock.now_ms())
                if work.pause_ms and not work.done:
                    self._closing.wait(work.pause_ms / 1000)
        except BaseException as error:
            with self.lock:
                if isinstance(error, Exception):
                    self.logs.cleaner.give_up(work, error)
                    return
                self.logs.cleaner.let_go(work)
            raise

    def due(self) -> Sequence[Work]:
        """What is due now; the lock is held."""
        return self.logs.tick(self.clock.now_ms(), self.clock.monotonic_ms())

    # --- the end ---

    def close(self) -> None:
        """Makes all of it durable and lets go of the directory. Raises KafkaStorageError when something is not durable.

        Safe to call twice. In a forked child it only lets go of the files.
        """
        if self.is_forked:
            self.let_go()
            return
        with self.lock:
            if self.refusal is not None:
                return
            self.closed()
            self._closing.set()
            self.logs.cleaner.stop()
            self._arrived.notify_all()
            for partition in self.partitions.values():
                self._tell(partition)
            while self._flushing:
                self._flushed.wait()
            tender = self._tender
        if tender is not None:
            tender.stop()
        failure: KstoreError | OSError | None = None
        with self._tending:
            logs = list(self.logs.logs.values())
            try:
                self.finish()
            except (KstoreError, OSError) as error:
                failure = error
        self.on_closed()
        lost = [log for log in logs if log.recovery_point < log.log_end_offset]
        if lost:
            reasons = {log.log_dir.failure or "the disk refused" for log in lost}
            raise KafkaStorageError(
                f"{self.name} is closed, but {', '.join(str(log.topic_partition) for log in lost)} could not be made"
                f" durable: {'; '.join(sorted(reasons))}"
            ) from failure
        if failure is not None:
            raise failure

    def __del__(self) -> None:
        if self.refusal is None and hasattr(self, "logs"):
            warnings.warn(f"{self.name} was not closed", ResourceWarning, stacklevel=2, source=self)
            # Its records are in the page cache: the next one who opens it recovers them.
            self.let_go()

    def finish(self) -> None:
        """Brings everything to the disk and gives the directory up."""
        self.logs.close(self.clock.now_ms())

    def let_go(self) -> None:
        """Gives the directory up as a crash would."""
        self.logs.close_handles()


class Tender(threading.Thread):
    """Tends a host now and then; it keeps none alive that its owner forgot."""

    def __init__(self, host: LocalHost) -> None:
        super().__init__(name="kstore-tend", daemon=True)
        import weakref

        self._host = weakref.ref(host)
        self._stopping = threading.Event()
        self.start()

    def run(self) -> None:
        import logging

        while not self._stopping.wait(TEND_SECONDS):
            host = self._host()
            if host is None or host.refusal is not None:
                return
            try:
                host.tend()
            except Exception:
                if host.refusal is None:
                    logging.getLogger(__name__).exception("tending %s failed", host.name)
            del host

    def stop(self) -> None:
        self._stopping.set()
        if threading.current_thread() is not self:
            self.join()
