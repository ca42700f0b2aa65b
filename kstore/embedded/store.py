"""Many logs in one directory: topics with partitions, in the files and with the metadata of a broker.

A LogStore is a broker without a network. What it leaves, `kstore-server`, `kstore.Broker` and Apache Kafka serve; what
they leave, it opens, one of them at a time.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, cast, overload

from kstore.clock import Clock, SystemClock
from kstore.cluster.election import claim_leadership
from kstore.cluster.image import TOPIC_RESOURCE, ClusterImage
from kstore.cluster.metadata_log import MetadataLog
from kstore.cluster.topic_changes import Counts, config_records, delete_topics, grow_topic
from kstore.embedded.adoption import adopt, unclaimed
from kstore.embedded.closing import close_all
from kstore.embedded.host import LocalHost
from kstore.embedded.log import Log
from kstore.embedded.options import OptionValue, codec, topic_configs
from kstore.embedded.partitioner import partition_of
from kstore.embedded.ram import discard, memory_directory, remove_with
from kstore.errors import ConfigError, KstoreError, UnknownTopicOrPartitionError
from kstore.log.manager import LogManager
from kstore.log.work import Work
from kstore.model import TopicPartition
from kstore.replica.manager import ReplicaManager
from kstore.replica.partition import Partition
from kstore.server.config import ServerConfig
from kstore.server.deliver import Deliver
from kstore.server.metadata_dir import open_metadata, stray_check
from kstore.server.purgatory import FetchPurgatory, ProducePurgatory
from kstore.server.topics import Decision, Topics, log_config

if TYPE_CHECKING:
    from typing import Unpack

    from kstore.embedded.options import LogOptions
    from kstore.embedded.readonly import ReadonlyStore

# A topic that does not say how long it keeps its records keeps them.
DEFAULTS = ("log.retention.ms=-1",)


class StoreHost(LocalHost):
    """The partitions of a directory with what the cluster says of them; it is the cluster's only node."""

    def __init__(self, name: str, directory: str, clock: Clock, *, background: bool) -> None:
        now_ms = clock.now_ms()
        self.config = config_of(directory, DEFAULTS)
        with ExitStack() as undo:
            logs = LogManager(self.config.log_dirs, log_config(self.config, {}))
            undo.callback(logs.close_handles)
            self.metadata = open_or_adopt(directory, self.config, logs, now_ms)
            undo.callback(self.metadata.close_handles)
            image = self.metadata.image
            logs.load_all(now_ms, lambda topic: log_config(self.config, image.topic_config(topic)), stray_check(image))
            self.replicas = ReplicaManager(logs, broker_id=logs.node_id)
            self.topics = Topics(
                metadata=self.metadata,
                replicas=self.replicas,
                deliver=Deliver(ProducePurgatory(_no_timer), FetchPurgatory(_no_timer), _NoCoordinators()),
                config=lambda: self.config,
                reconfigure_broker=lambda image: None,
                topics_deleted=lambda names: None,
                clock=clock,
                broker_id=logs.node_id,
            )
            unclean = {key for key, log in logs.logs.items() if log.recovered_from_crash}
            self.topics.change_now(
                lambda image: claim_leadership(image, broker_id=logs.node_id, unclean=unclean), starting=True
            )
            undo.pop_all()
        super().__init__(name, logs, clock, background=background)
        self.partitions = self.replicas.partitions
        self.begin_tending()  # from now on it is known when what is due

    def change(self, decide: Decision) -> ClusterImage:
        """Changes what the cluster agrees on, and wakes those who wait on what is no more."""

        def do() -> ClusterImage:
            before = dict(self.partitions)
            image = self.topics.change_now(decide)
            for key, partition in before.items():
                if key not in self.partitions:
                    self.wake(partition)
            return image

        return self.do(do)

    def due(self) -> list[Work]:
        return [*super().due(), *self._snapshot()]

    def _snapshot(self) -> list[Work]:
        if not self.metadata.is_snapshot_due(now_ms=self.clock.now_ms()):
            return []
        snapshot = self.metadata.begin_snapshot(now_ms=self.clock.now_ms())
        return [] if snapshot is None else [_SnapshotWork(self.metadata, snapshot)]

    def finish(self) -> None:
        try:
            self.metadata.close(now_ms=self.clock.now_ms())
        finally:
            super().finish()

    def let_go(self) -> None:
        self.metadata.close_handles()
        super().let_go()


class _NoCoordinators:
    """A store has no groups; those in its files wait for the next broker."""

    def elected(self, topic_partition: TopicPartition, leader_epoch: int) -> None: ...
    def renewed(self, topic_partition: TopicPartition, leader_epoch: int) -> None: ...
    def resigned(self, topic_partition: TopicPartition) -> None: ...


class _SnapshotWork:
    """A snapshot of the metadata, as work on logs is done."""

    def __init__(self, metadata: MetadataLog, snapshot: Any) -> None:
        self._metadata = metadata
        self._snapshot = snapshot

    def run(self) -> None:
        self._snapshot.run()

    def complete(self, now_ms: int) -> None:
        self._metadata.complete_snapshot(self._snapshot, now_ms=now_ms)


class LogStore:
    """Made by `LogStore.open`. Threads may share it."""

    def __init__(self, host: StoreHost, path: str) -> None:
        self._host = host
        self.path = path
        self._logs: list[Log] = []

    @overload
    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str] | None,
        *,
        readonly: Literal[False] = False,
        clock: Clock | None = None,
        background: bool = True,
    ) -> "LogStore": ...
    @overload
    @classmethod
    def open(cls, path: str | os.PathLike[str], *, readonly: Literal[True]) -> "ReadonlyStore": ...

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str] | None,
        *,
        readonly: bool = False,
        clock: Clock | None = None,
        background: bool = True,
    ) -> "LogStore | ReadonlyStore":
        """The store in the directory `path`, which is made where there is none; None is a store in memory.

        With `readonly` nothing is locked and nothing written: for a directory that a Kafka or a kstore is using now.
        `background` is as for `Log.open`. Raises DirectoryInUseError, ConfigError for a directory of a cluster with
        more nodes, CorruptRecordError for damaged metadata, OSError.
        """
        if readonly:
            from kstore.embedded.readonly import ReadonlyStore

            if path is None:
                raise ValueError("there is nothing to read in a new store in memory")
            return ReadonlyStore(os.fspath(path))
        directory = memory_directory() if path is None else os.fspath(path)
        try:
            host = StoreHost(f"the store in {directory}", directory, clock or SystemClock(), background=background)
        except BaseException:
            if path is None:
                discard(directory)
            raise
        if path is None:
            host.on_closed = remove_with(host, directory)
        return cls(host, directory)

    # --- topics ---

    @property
    def topics(self) -> dict[str, int]:
        """The topics and how many partitions each has."""
        image = self._host.do(lambda: self._host.metadata.image)
        return {name: len(topic.partitions) for name, topic in sorted(image.topics.items())}

    def __contains__(self, topic: object) -> bool:
        return topic in self.topics

    def __iter__(self) -> Iterator[str]:
        return iter(self.topics)

    def create(
        self, topic: str, *, partitions: int = 1, exist_ok: bool = False, **options: "Unpack[LogOptions]"
    ) -> None:
        """Makes a topic; it is durable when this returns. `options` are Kafka's keys of a topic with `_` for `.`;
        nothing is deleted unless they say so.

        Raises TopicAlreadyExistsError unless it may exist, InvalidTopicError, InvalidPartitionsError,
        InvalidConfigError.
        """
        configs = topic_configs(cast("dict[str, OptionValue]", options))

        def decide(image: ClusterImage) -> list[Any]:
            if exist_ok and topic in image.topics:
                return []
            creation = self._host.topics.creation(image)
            creation.check_name(topic)
            creation.add(topic, Counts(partitions, 1), assignments={}, configs=configs)
            return creation.records

        self._host.change(decide)

    def configure(self, topic: str, **options: "Unpack[LogOptions]") -> None:
        """Changes options of a topic; the others stay. Raises UnknownTopicOrPartitionError, InvalidConfigError."""
        configs: dict[str, str | None] = {**topic_configs(cast("dict[str, OptionValue]", options), keep=False)}

        def decide(image: ClusterImage) -> list[Any]:
            find_topic(image, topic)
            return config_records(TOPIC_RESOURCE, topic, configs)

        self._host.change(decide)

    def grow(self, topic: str, partitions: int) -> None:
        """Gives a topic more partitions. Raises UnknownTopicOrPartitionError, InvalidPartitionsError."""
        self._host.change(
            lambda image: grow_topic(
                find_topic(image, topic), count=partitions, assignments=None, placement=self._host.topics.placement()
            )
        )

    def delete(self, topic: str) -> None:
        """Deletes a topic; its files go after a while, with `tend`. Raises UnknownTopicOrPartitionError."""
        self._host.change(lambda image: delete_topics([find_topic(image, topic)]))

    # --- logs ---

    def log(
        self, topic: str, partition: int = 0, *, compression: str = "none", compression_level: int | None = None
    ) -> Log:
        """The log of one partition, its batches compressed as said unless the topic has a `compression_type`.

        Raises UnknownTopicOrPartitionError, KafkaStorageError when its disk has failed.
        """
        own_codec = codec(compression)
        found = self._host.do(lambda: self._host.replicas.get(topic, partition))
        log = Log(self._host, found, compression=own_codec, level=compression_level)
        self._logs = [each for each in self._logs if not each.is_closed]
        self._logs.append(log)
        return log

    def partition_for(self, topic: str, key: bytes) -> int:
        """The partition that Kafka's producers would send a record with this key to."""
        image = self._host.do(lambda: self._host.metadata.image)
        return partition_of(key, len(find_topic(image, topic).partitions))

    def flush(self) -> None:
        """Returns when all that was appended before, to any log, is on the disk. Raises KafkaStorageError."""
        partitions: list[Partition] = self._host.do(lambda: list(self._host.partitions.values()))
        for partition in partitions:
            self._host.flush(partition)

    def tend(self) -> None:
        """Does now what is due: flush_ms, retention, compaction, deletions, checkpoints."""
        self._host.tend()

    # --- the end ---

    def close(self) -> None:
        """Makes all of it durable and lets go of the directory, whatever fails. Safe to call twice. Raises KstoreError
        when a batch could not be written, KafkaStorageError."""
        logs, self._logs = self._logs, []
        close_all([*(log.close for log in logs), self._host.close])

    def __enter__(self) -> Self:
        self._host.check()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<LogStore in {self.path!r}>"


def config_of(directory: str, overrides: Sequence[str], *, host: str = "127.0.0.1", port: int = 0) -> ServerConfig:
    """The configuration of one broker for itself over `directory`. Raises ConfigError."""
    config = ServerConfig.from_arguments(directory, port, overrides, host=host)
    if config.log_dirs != (directory,):
        raise ConfigError(f"{directory!r} has commas or spaces that Kafka's log.dirs has a meaning for")
    return config


def open_or_adopt(directory: str, config: ServerConfig, logs: LogManager, now_ms: int) -> MetadataLog:
    """The metadata log, made where there is none. Raises ConfigError, CorruptRecordError, KstoreError, OSError."""
    partitions = unclaimed(directory)
    if partitions:
        return adopt(directory, logs, partitions, now_ms=now_ms)
    return open_metadata(config, logs, now_ms=now_ms)


def find_topic(image: ClusterImage, topic: str) -> Any:
    found = image.topics.get(topic)
    if found is None:
        raise UnknownTopicOrPartitionError(f"there is no topic {topic!r}")
    return found


def _no_timer(delay_ms: int, callback: Callable[[], None]) -> Any:
    raise KstoreError("nothing waits in a store's purgatories")
