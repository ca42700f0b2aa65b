"""A whole broker in this process: an event loop on a thread of its own, over a directory or in memory.

Its partitions belong to that loop. What is asked of them from other threads is asked there, one call at a time, so an
append made here and a produce that comes over the network are the same to everybody who reads.
"""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, cast

import uvloop

from kstore.clock import Clock, SystemClock
from kstore.cluster.image import ClusterImage
from kstore.cluster.topic_changes import Counts, delete_topics
from kstore.embedded.closing import close_all
from kstore.embedded.guard import Guard
from kstore.embedded.host import append_to
from kstore.embedded.log import Log
from kstore.embedded.options import OptionValue, codec, topic_configs
from kstore.embedded.partitioner import partition_of
from kstore.embedded.ram import discard, memory_directory, remove_with
from kstore.embedded.store import config_of, find_topic
from kstore.errors import ClosedError, UnknownTopicOrPartitionError
from kstore.log.append import LogAppendInfo
from kstore.log.partition_log import HIGH_WATERMARK, FetchData
from kstore.replica.partition import Partition
from kstore.server.app import App
from kstore.server.config import ServerConfig
from kstore.server.purgatory import FetchWaiting

if TYPE_CHECKING:
    from typing import Unpack

    from kstore.embedded.options import LogOptions

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

# Nobody waits for more members of a group here than there are: tests and programs know theirs.
DEFAULTS = {"group.initial.rebalance.delay.ms": "0"}

# Who waits until something comes has no time-out; a timer that never rings is no timer.
FOR_EVER_MS = 10 * 365 * 24 * 60 * 60 * 1000

# How long a broker that is closed waits for calls that have begun; a compaction can take longer.
CALLS_END_S = 5.0


class _Call(Generic[Result]):
    """A function on its way to the loop; the thread that asked waits for `arrived`."""

    __slots__ = ("_function", "arrived", "error", "result")

    def __init__(self, function: Callable[[], Result]) -> None:
        self._function = function
        self.result: Result | None = None
        self.error: BaseException | None = None
        self.arrived = threading.Lock()
        self.arrived.acquire()

    def run(self) -> None:
        try:
            self.result = self._function()
        except BaseException as error:
            self.error = error
        self.arrived.release()


class BrokerHost(Guard):
    """The loop, its thread, and the broker in it."""

    def __init__(self, name: str, config: ServerConfig, clock: Clock) -> None:
        """Returns when the broker answers. Raises what keeps it from starting."""
        super().__init__(name)
        self.clock = clock
        self.app: App
        self._loop = uvloop.new_event_loop()
        self._waiting: set[FetchWaiting] = set()
        self._calls: set[Future[Any]] = set()
        self._error: BaseException | None = None
        started = threading.Lock()
        started.acquire()
        self._thread = threading.Thread(
            target=self._run, args=(config, started.release), name="kstore-broker", daemon=True
        )
        self._thread.start()
        started.acquire()
        if self._error is not None:
            self._thread.join()
            self.closed()
            raise self._error

    # --- the broker's thread ---

    def _run(self, config: ServerConfig, started: Callable[[], None]) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve(config, started))
        except BaseException as error:
            self._error = error
        self._stopped(self._error)
        # Whoever asked before that is answered.
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()
        if not hasattr(self, "app"):
            started()

    async def _serve(self, config: ServerConfig, started: Callable[[], None]) -> None:
        app = App(config, clock=self.clock)
        await app.start()
        await app.tasks.tend_logs()  # from now on it is known when what is due
        self.app = app
        started()
        await app.stopping.wait()
        self._stopped(app.failure)
        for waiting in list(self._waiting):
            app.context.deliver.fetches.finish(waiting)
        await self._end_calls()
        await app.stop()

    def _stopped(self, reason: object) -> None:
        """From now on nothing new is asked, also where nobody has closed the broker."""
        with self.lock:
            if self.refusal is None:
                self.refusal = f"{self.name} has stopped: {reason}"

    async def _end_calls(self) -> None:
        """Lets calls end that have begun: what they work on is taken from under them then."""
        with self.lock:
            calls = list(self._calls)
        if calls:
            await asyncio.wait([asyncio.wrap_future(call) for call in calls], timeout=CALLS_END_S)
        for call in calls:
            call.cancel()

    # --- other threads ---

    def do(self, function: Callable[[], Result]) -> Result:
        if threading.current_thread() is self._thread:
            return function()
        call = _Call(function)
        with self.lock:
            self.check()
            self._loop.call_soon_threadsafe(call.run)
        call.arrived.acquire()
        if call.error is not None:
            raise call.error
        return cast("Result", call.result)

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """What a coroutine gives that runs in the loop. Raises ClosedError when the broker was closed under it."""
        with self.lock:
            if self.refusal is not None:
                coroutine.close()
                self.refuse()
            call = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
            self._calls.add(call)
        try:
            return call.result()
        except Exception as error:
            if self.refusal is None:
                raise
            raise ClosedError(self.refusal) from error
        finally:
            with self.lock:
                self._calls.discard(call)

    def append(self, partition: Partition, data: bytearray, now_ms: int, expected_offset: int | None) -> LogAppendInfo:
        def do() -> tuple[LogAppendInfo, bool]:
            if partition.leader is None:
                raise _gone(partition)
            info, effects = append_to(partition, data, now_ms, expected_offset)
            deliver = self.app.context.deliver
            deliver(effects)
            deliver.turn_ended()
            return info, partition.log.must_flush

        info, must_flush = self.do(do)
        if must_flush:
            self.flush(partition)
        return info

    def read(self, partition: Partition, offset: int, max_bytes: int, *, wait: bool) -> FetchData:
        def do() -> FetchData:
            if partition.leader is None:
                raise _gone(partition)
            return partition.log.read(offset, max_bytes=max_bytes, upper_bound=HIGH_WATERMARK, wait=wait)

        return self.do(do)

    def flush(self, partition: Partition) -> None:
        self.run(self.app.context.flusher.flushed(partition, partition.log.log_end_offset))

    def wait(self, partition: Partition, offset: int, timeout_s: float | None, is_given_up: Callable[[], bool]) -> bool:
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            arrived = threading.Event()
            forget = self.watch(partition, offset, arrived.set)
            try:
                # Whoever gave up before the watch began was not roused by it.
                in_time = is_given_up() or arrived.wait(
                    None if deadline is None else max(0.0, deadline - time.monotonic())
                )
            finally:
                forget()
            self.check()
            if partition.leader is None:
                raise _gone(partition)
            if partition.log.high_watermark > offset:
                return True
            if not in_time or is_given_up():
                return False

    def watch(self, partition: Partition, offset: int, arrived: Callable[[], object]) -> Callable[[], None]:
        """One wait in the purgatory, like that of a fetch that found too little."""
        log, fetches = partition.log, self.app.context.deliver.fetches

        def complete(timed_out: bool) -> None:
            self._waiting.discard(waiting)
            arrived()

        waiting = FetchWaiting(
            {partition.topic_partition: 0},
            complete,
            needed=1,
            available=lambda _: max(0, log.high_watermark - offset),
        )

        def begin() -> None:
            if log.high_watermark > offset or partition.leader is None:
                arrived()
                return
            self._waiting.add(waiting)
            fetches.watch(waiting, timeout_ms=FOR_EVER_MS)

        def end() -> None:
            if waiting in self._waiting:
                self._waiting.discard(waiting)
                fetches.forget(waiting)

        def forget() -> None:
            with self.lock:
                if self.refusal is None:
                    self._loop.call_soon_threadsafe(end)

        self.do(begin)
        return forget

    def rouse(self, partition: Partition) -> None:
        key = partition.topic_partition

        def finish() -> None:
            for waiting in [each for each in self._waiting if key in each.partitions]:
                self.app.context.deliver.fetches.finish(waiting)

        with self.lock:
            if self.refusal is None:
                self._loop.call_soon_threadsafe(finish)

    def tend(self) -> None:
        self.run(self.app.tasks.do_all_that_is_due())

    def close(self) -> None:
        if self.is_forked:
            return
        with self.lock:
            if self.refusal is None:
                self.closed()
                self._loop.call_soon_threadsafe(self.app.stopping.set)
        if threading.current_thread() is not self._thread:
            self._thread.join()
        if self._error is not None:
            error, self._error = self._error, None
            raise error


def _gone(partition: Partition) -> UnknownTopicOrPartitionError:
    return UnknownTopicOrPartitionError(f"{partition.topic_partition} was deleted")


class Broker:
    """Answers when it is made; `close` ends it, as the end of the process does."""

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        config: Mapping[str, str] | None = None,
        clock: Clock | None = None,
    ) -> None:
        """A broker on `host` and `port` (0: one that is free) over `directory` (None: in memory, gone when it is
        closed).

        `config` are Kafka's broker keys and values; `clock` is what its timestamps and retention are measured by.
        Raises DirectoryInUseError, ConfigError, OSError.
        """
        path = memory_directory() if directory is None else os.fspath(directory)
        overrides = [f"{key}={value}" for key, value in {**DEFAULTS, **(config or {})}.items()]
        try:
            self._host = BrokerHost(
                f"the broker over {path}",
                config_of(path, overrides, host=host, port=port),
                clock or SystemClock(),
            )
        except BaseException:
            if directory is None:
                discard(path)
            raise
        self.path = path
        self._on_closed = remove_with(self, path) if directory is None else None
        self._logs: list[Log] = []
        _open.add(self)

    @property
    def clock(self) -> Clock:
        return self._host.clock

    @property
    def port(self) -> int:
        return self._host.app.listeners.endpoints[0].port

    @property
    def bootstrap_servers(self) -> str:
        """What a client is told: host:port."""
        endpoint = self._host.app.listeners.endpoints[0]
        host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host or "127.0.0.1"
        return f"{host}:{endpoint.port}"

    # --- topics ---

    @property
    def topics(self) -> dict[str, int]:
        """The topics and how many partitions each has."""
        image = self._host.do(lambda: self._host.app.context.topics.image)
        return {name: len(topic.partitions) for name, topic in sorted(image.topics.items())}

    def create(
        self, topic: str, *, partitions: int = 1, exist_ok: bool = False, **options: "Unpack[LogOptions]"
    ) -> None:
        """Makes a topic. `options` are Kafka's keys of a topic with `_` for `.`; what they do not say is the broker's
        to say, as with every topic that a client makes.

        Raises TopicAlreadyExistsError unless it may exist, InvalidTopicError, InvalidPartitionsError,
        InvalidConfigError.
        """
        configs = topic_configs(cast("dict[str, OptionValue]", options), keep=False)
        topics = self._host.app.context.topics

        def decide(image: ClusterImage) -> list[Any]:
            if exist_ok and topic in image.topics:
                return []
            creation = topics.creation(image)
            creation.check_name(topic)
            creation.add(topic, Counts(partitions, 1), assignments={}, configs=configs)
            return creation.records

        self._host.run(topics.change(decide))

    def delete(self, topic: str) -> None:
        """Deletes a topic. Raises UnknownTopicOrPartitionError."""
        self._host.run(self._host.app.context.topics.change(lambda image: delete_topics([find_topic(image, topic)])))

    def log(
        self, topic: str, partition: int = 0, *, compression: str = "none", compression_level: int | None = None
    ) -> Log:
        """The log of one partition: what is appended is served at once. A topic that is not there is made, unless
        `auto.create.topics.enable` is false.

        Raises UnknownTopicOrPartitionError, KafkaStorageError when its disk has failed.
        """
        own_codec = codec(compression)
        context = self._host.app.context
        known = self._host.do(lambda: topic in context.topics.image.topics)
        if not known and context.config.auto_create_topics_enable:
            self._host.run(context.topics.auto_create([topic]))
        found = self._host.do(lambda: context.replicas.get(topic, partition))
        log = Log(self._host, found, compression=own_codec, level=compression_level)
        self._logs = [each for each in self._logs if not each.is_closed]
        self._logs.append(log)
        return log

    def partition_for(self, topic: str, key: bytes) -> int:
        """The partition that Kafka's producers would send a record with this key to."""
        image = self._host.do(lambda: self._host.app.context.topics.image)
        return partition_of(key, len(find_topic(image, topic).partitions))

    def tend(self) -> None:
        """Does now what is due, for tests that move the clock: flush.ms, retention, compaction, deletions."""
        self._host.tend()

    # --- the end ---

    def close(self) -> None:
        """Answers no more, makes all of it durable and lets go of the directory, whatever fails. Safe to call twice.
        Raises KstoreError when a batch could not be written, KafkaStorageError."""
        logs, self._logs = self._logs, []
        closes: list[Callable[[], object]] = [log.close for log in logs]
        closes.append(self._host.close)
        if self._on_closed is not None and not self._host.is_forked:
            closes.append(self._on_closed)
        try:
            close_all(closes)
        finally:
            _open.discard(self)

    def __enter__(self) -> Self:
        self._host.check()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Broker on {self.bootstrap_servers} over {self.path!r}>"


# A broker serves until it is closed, whether or not this process keeps it at hand.
_open: set[Broker] = set()


def _close_all() -> None:
    """At the end of the process, while threads can still be started: an orderly stop of what nobody has closed."""
    for broker in list(_open):
        try:
            broker.close()
        except Exception:
            logger.exception("%r could not be closed in order", broker)


# Before the executors of asyncio are shut down, which an orderly stop needs; atexit would be behind them.
threading._register_atexit(_close_all)  # type: ignore[attr-defined]
