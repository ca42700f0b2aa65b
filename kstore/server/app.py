"""The composition root: builds every floor from the lowest up, runs, and stops them in reverse.

Always true: nothing is accepted before every partition is loaded and led; nothing is marked as cleanly closed
before every connection is closed and every log is on disk.
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

from kstore.clock import Clock, SystemClock
from kstore.cluster.election import claim_leadership
from kstore.cluster.image import BROKER_RESOURCE, ClusterImage
from kstore.errors import KafkaStorageError, KstoreError
from kstore.log.manager import LogManager
from kstore.replica.manager import ReplicaManager
from kstore.replica.throttle import ReplicationQuotas
from kstore.server.cold_reads import ColdReads
from kstore.server.config import ServerConfig
from kstore.server.context import Context
from kstore.server.deliver import Deliver
from kstore.server.descriptors import raise_descriptor_limit, room_for_partitions
from kstore.server.dispatch import Dispatcher
from kstore.server.fetch_session import FetchSessionCache
from kstore.server.flusher import Flusher
from kstore.server.groups import Groups
from kstore.server.listener import Listeners
from kstore.server.log_dir_moves import LogDirMoves
from kstore.server.metadata_dir import open_metadata, stray_check
from kstore.server.producer_ids import ProducerIds, claim_from
from kstore.server.purgatory import DeletePurgatory, FetchPurgatory, ProducePurgatory
from kstore.server.service_manager import notify
from kstore.server.tasks import Tasks
from kstore.server.topics import Topics, cleaner_config, log_config
from kstore.server.traffic import Traffic

log = logging.getLogger(__name__)


class App:
    """One broker in one event loop."""

    def __init__(self, config: ServerConfig, *, clock: Clock | None = None, boot_id: str | None = None) -> None:
        """`boot_id` tells one start of the machine from the next."""
        self.config = config
        self._boot_id = boot_id
        self.clock: Clock = clock or SystemClock()
        self.context = Context()
        self.stopping = asyncio.Event()
        # Why the broker stops although nobody asked it to.
        self.failure: str | None = None
        self._background: dict[asyncio.Task[None], None] = {}

    async def start(self) -> None:
        """Returns when requests are answered. Raises KstoreError or OSError, with everything let go again."""
        loop = asyncio.get_running_loop()
        now_ms = self.clock.now_ms()
        context = self.context
        context.config, context.clock, context.loop = self.config, self.clock, loop
        context.start_task = self._start_task
        context.cold_reads = ColdReads(loop)

        with contextlib.ExitStack() as undo:
            self.logs = open_logs(self.config)
            undo.callback(self.logs.close_handles)
            context.cluster = None
            if self.config.zookeeper_connect:
                # What a broker on its own does not load.
                from kstore.server.cluster_member import ClusterMember

                context.cluster = ClusterMember(context, self.config, boot_id=self._boot_id)
                undo.callback(context.cluster.session.give_up)
                await context.cluster.connect(self.logs)
            self._load(context, now_ms, undo)
            self.listeners = Listeners(
                context.config,
                loop=loop,
                dispatch=Dispatcher(context),
                turn_ended=context.deliver.turn_ended,
                readers=context.cold_reads,
            )
            undo.callback(self.listeners.close)
            self.listeners.bind()
            context.advertised = self._advertised()
            if context.cluster is None:
                await self._lead()
                self.listeners.accept_all()
            else:
                # The controller speaks to whoever is registered. What it has to say to an earlier registration, which
                # may be there still, is not for this one, whose logs may have lost their ends since.
                await context.cluster.register()
                self.listeners.accept_all()
                await context.cluster.join()
            undo.pop_all()
        self.tasks = Tasks(context, self.listeners, self.fail)
        self.tasks.start()

    def _load(self, context: Context, now_ms: int, undo: contextlib.ExitStack) -> None:
        cluster = context.cluster
        if cluster is None:
            context.metadata = open_metadata(self.config, self.logs, now_ms=now_ms)
            undo.callback(context.metadata.close_handles)
        else:
            context.metadata = None
        context.cluster_id, context.node_id = self.logs.cluster_id or "", self.logs.node_id
        image = cluster.image if context.metadata is None else context.metadata.image
        self.config = self.config.with_node_id(context.node_id)
        context.config = self._effective(image)
        self.logs.load_all(
            now_ms,
            lambda topic: log_config(context.config, image.topic_config(topic)),
            # With ZooKeeper nobody looks for strays: brokers of 3.9 do so only while their cluster is migrated to KRaft
            # (ReplicaManager.becomeLeaderOrFollower, LogManager.startup).
            stray_check(image) if cluster is None else None,
        )
        context.replicas = ReplicaManager(self.logs, broker_id=context.node_id)
        context.replicas.lag_time_max_ms = self.config.replica_lag_time_max_ms
        context.replicas.quotas = ReplicationQuotas(
            context.node_id,
            windows=self.config.replication_quota_window_num,
            window_ms=1000 * self.config.replication_quota_window_size_seconds,
        )
        context.groups = Groups(context)
        context.fetch_sessions = FetchSessionCache(self.config.max_incremental_fetch_session_cache_slots)
        context.deliver = Deliver(
            ProducePurgatory(self._call_later),
            FetchPurgatory(self._call_later, context.fetch_sessions.followers),
            context.groups,
            DeletePurgatory(self._call_later, lambda key: context.replicas.get(*key).low_watermark),
        )
        context.flusher = Flusher(self.clock, context.deliver)
        context.log_dir_moves = LogDirMoves(context)
        context.traffic = Traffic()
        if context.metadata is None:
            from kstore.server.cluster_topics import ClusterTopics

            context.replicas.alive = set()
            context.replicas.is_elsewhere = cluster.is_known
            context.deliver.replication = cluster
            cluster.config_changes.reconfigure_broker = self._reconfigure
            context.topics = ClusterTopics(context, cluster, cluster.controller.requests)
            context.producer_ids = ProducerIds(lambda: cluster.claim_producer_ids())
            return
        context.topics = self.topics = Topics(
            metadata=context.metadata,
            replicas=context.replicas,
            deliver=context.deliver,
            config=lambda: context.config,
            reconfigure_broker=self._reconfigure,
            topics_deleted=context.groups.topics_deleted,
            clock=self.clock,
            broker_id=context.node_id,
        )
        context.producer_ids = ProducerIds(claim_from(self.topics, broker_id=context.node_id))

    def _effective(self, image: ClusterImage) -> ServerConfig:
        """The configuration of the file, and what was changed since at run time."""
        if not any(resource_type == BROKER_RESOURCE for resource_type, _ in image.configs):
            return self.config
        # Most brokers are never reconfigured, and start without what that needs.
        from kstore.server.dynamic_config import effective_config

        return effective_config(self.config, image, self.context.node_id)

    def _reconfigure(self, image: ClusterImage) -> None:
        """Takes a change of the broker's own configuration; topics.py takes it on to the running logs."""
        config = self.context.config = self.listeners.config = self._effective(image)
        self.logs.reconfigure(log_config(config, {}), producer_id_expiration_ms=config.producer_id_expiration_ms)
        self.logs.cleaner.reconfigure(cleaner_config(config))

    async def _lead(self) -> None:
        """Claims what this broker can lead, with new epochs where a tail may be lost."""
        context = self.context
        unclean = {key for key, partition_log in self.logs.logs.items() if partition_log.recovered_from_crash}
        await self.topics.start(lambda image: claim_leadership(image, broker_id=context.node_id, unclean=unclean))

    def _advertised(self) -> dict[str, Any]:
        """What clients are told: the advertised endpoints, with the ports that were really bound for port 0."""
        bound = {endpoint.listener: endpoint for endpoint in self.listeners.endpoints}
        return {
            endpoint.listener: endpoint._replace(
                host=endpoint.host or "127.0.0.1", port=endpoint.port or bound[endpoint.listener].port
            )
            for endpoint in self.config.advertised_listeners
        }

    async def stop(self) -> None:
        """Answers no more, brings every log to disk, marks the directories as cleanly closed.

        What threads are at work on is brought to its end first: no file is closed under an fsync.
        """
        cluster = self.context.cluster
        if cluster is not None:
            await cluster.ask_to_shut_down()
            await cluster.finish_controlling()
            cluster.stop()
        self.listeners.close()
        if cluster is not None:
            # The cluster need not wait for this broker's disks to elect another controller.
            await cluster.close()
        self.context.groups.stop()
        await self.context.log_dir_moves.stop()
        await self.tasks.stop()
        while self._background:
            await asyncio.gather(*self._background, return_exceptions=True)
        self.context.cold_reads.close()
        try:
            if self.context.metadata is not None:
                self.context.metadata.close(now_ms=self.clock.now_ms())
        except (KstoreError, OSError) as error:
            # The partitions' logs are closed all the same.
            log.error("the metadata log is not closed cleanly: %s", error)
        self.logs.close(self.clock.now_ms())

    def ask_to_stop(self, exit_now: Callable[[int], object] = os._exit) -> None:
        """Asked once the broker stops in order; asked twice it ends at once, and recovers at the next start."""
        if self.stopping.is_set():
            exit_now(1)
        self.stopping.set()

    def fail(self, reason: str) -> None:
        """Asks for a stop that nobody wished for; the process then ends with an error."""
        if self.failure is None:
            log.error("stopping: %s", reason)
            self.failure = reason
        self.stopping.set()

    def _call_later(self, delay_ms: int, callback: Any) -> Any:
        return self.context.loop.call_later(delay_ms / 1000, callback)

    def _start_task(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self.context.loop.create_task(coroutine)
        self._background[task] = None
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._background.pop(task, None)
        if not task.cancelled() and task.exception() is not None:
            log.error("a background task failed", exc_info=task.exception())


def open_logs(config: ServerConfig) -> LogManager:
    return LogManager(
        config.log_dirs,
        log_config(config, {}),
        node_id=config.node_id,
        retention_check_ms=config.log_retention_check_interval_ms,
        flush_check_ms=flush_check_ms(config),
        flush_checkpoint_ms=config.log_flush_offset_checkpoint_interval_ms,
        start_offset_checkpoint_ms=config.log_flush_start_offset_checkpoint_interval_ms,
        high_watermark_checkpoint_ms=config.replica_high_watermark_checkpoint_interval_ms,
        producer_id_expiration_ms=config.producer_id_expiration_ms,
        producer_id_expiration_check_ms=config.producer_id_expiration_check_interval_ms,
        cleaner_config=cleaner_config(config),
    )


def flush_check_ms(config: ServerConfig) -> int:
    """How often logs are looked through for those that `flush.ms` asks to flush: all the time where nobody says it;
    Kafka would not look at all then."""
    return config.log_flush_scheduler_interval_ms if config.is_set("log.flush.scheduler.interval.ms") else 0


def configure_logging() -> None:
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="%(asctime)s level=%(levelname)s logger=%(name)s %(message)s",
    )


async def serve(config: ServerConfig, started: float, metrics_at: tuple[str, int] | None) -> None:
    metrics = None
    if metrics_at is not None:
        # What a broker that nobody watches does not load.
        from kstore.server.metrics_server import MetricsServer

        metrics = MetricsServer(*metrics_at)
    app = App(config)
    await app.start()
    loop = asyncio.get_running_loop()
    if metrics is not None:
        from kstore.server.metrics import collect

        metrics.ready(loop, lambda: collect(app.context, app.listeners))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, app.ask_to_stop)
    from kstore import __version__

    log.info(
        "ready version=%s listeners=%s log.dirs=%s partitions=%d started_ms=%d",
        __version__,
        ",".join(str(endpoint) for endpoint in app.listeners.endpoints),
        ",".join(config.log_dirs),
        len(app.context.replicas.partitions),
        (time.monotonic() - started) * 1000,
    )
    notify("READY=1")
    if not room_for_partitions():
        log.warning("the limit of open files (ulimit -n) leaves no room for more partitions, and little for clients")
    await app.stopping.wait()
    log.info("stopping")
    notify("STOPPING=1")
    if metrics is not None:
        metrics.not_ready()
    await app.stop()
    if metrics is not None:
        await loop.run_in_executor(None, metrics.close)
    if app.failure is not None:
        raise KafkaStorageError(app.failure)
    log.info("stopped")


def run(config: ServerConfig, metrics_at: tuple[str, int] | None = None) -> None:
    """Runs a broker until it is told to stop; `metrics_at` is the host and port of its metrics."""
    started = time.monotonic()
    configure_logging()
    for note in config.notes:
        log.info("%s", note)
    raise_descriptor_limit()
    uvloop.run(serve(config, started, metrics_at))
