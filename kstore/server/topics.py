"""Changes of what the cluster agrees on, one at a time: decide, write, make durable, then act.

A change is decided on the image that the one before it left, so no two topics get one name. Nobody hears of a
change before it is on disk.
"""

import asyncio
import contextlib
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from kstore.clock import Clock
from kstore.cluster.image import BROKER_RESOURCE, ClusterImage, PartitionImage, TopicImage
from kstore.cluster.metadata_log import MetadataLog
from kstore.cluster.topic_changes import (
    Counts,
    Placement,
    Room,
    TooManyRecordsError,
    TopicCreation,
    moved_partitions,
)
from kstore.config_def import ConfigValue
from kstore.errors import InvalidConfigError, KafkaError
from kstore.log.cleaner.config import CleanerConfig
from kstore.log.config import LogConfig
from kstore.log.topic_keys import TOPIC_KEYS
from kstore.model import TopicPartition
from kstore.replica.manager import ReplicaManager
from kstore.replica.partition import Partition
from kstore.server.config import ServerConfig
from kstore.server.deliver import Deliver
from kstore.server.descriptors import room_for_partitions

log = logging.getLogger(__name__)

# How long a change may hold up the requests of others.
LONGEST_TURN_S = 0.01

# Given the image, the records to write. Raises KafkaError to refuse.
Decision = Callable[[ClusterImage], list[Any]]


def log_config(config: ServerConfig, overrides: Mapping[str, str]) -> LogConfig:
    """The configuration of a topic's logs: its own values over the broker's.

    A value that this release cannot read was accepted by another one; the broker's then counts, and it is said.
    """
    own: dict[str, ConfigValue] = {}
    for name, text in overrides.items():
        if name in TOPIC_KEYS:
            try:
                own[name] = TOPIC_KEYS[name].parse(text)
            except InvalidConfigError as error:
                log.warning("a topic's value is not used: %s", error)
    return LogConfig.from_values(config.topic_defaults | own)


def cleaner_config(config: ServerConfig) -> CleanerConfig:
    """What the broker's own keys say of compaction."""
    return CleanerConfig(
        enable=config.log_cleaner_enable,
        threads=config.log_cleaner_threads,
        dedupe_buffer_size=config.log_cleaner_dedupe_buffer_size,
        load_factor=config.log_cleaner_io_buffer_load_factor,
        io_buffer_size=config.log_cleaner_io_buffer_size,
        io_max_bytes_per_second=config.log_cleaner_io_max_bytes_per_second,
        backoff_ms=config.log_cleaner_backoff_ms,
    )


class Catalog(ABC):
    """What the handlers see of the topics, whoever decides on them: the one broker itself, or a cluster."""

    @property
    @abstractmethod
    def image(self) -> ClusterImage:
        """What is agreed on, as far as this broker knows."""

    @abstractmethod
    async def change(self, decide: Decision) -> ClusterImage:
        """Carries out what `decide` gives, and returns when it is done. Raises what `decide` raises."""

    @abstractmethod
    async def change_configs(self, resources: Sequence[tuple[int, str]], decide: Decision) -> None:
        """As `change`, of the configurations of `resources` (type, name) only; `decide` may be asked more than once."""

    @abstractmethod
    async def image_with_configs(self, resources: Sequence[tuple[int, str]]) -> ClusterImage:
        """The image with these configurations as they are now. Raises RequestTimedOutError."""

    @abstractmethod
    def creation(self, image: ClusterImage) -> TopicCreation:
        """Decides on the new topics of one request."""

    @abstractmethod
    def placement(self) -> Placement:
        """Where one request's new partitions go."""

    def name_of(self, topic_id: bytes | None) -> str | None:
        return self.image.topic_names.get(topic_id) if topic_id else None

    async def auto_create(self, names: Sequence[str]) -> None:
        """Makes topics that a client asked for by name; whichever cannot be made stays unknown."""

        def decide(image: ClusterImage) -> list[Any]:
            creation = self.creation(image)
            for name in dict.fromkeys(names):
                try:
                    creation.check_name(name)
                    creation.add(name, Counts(), assignments={}, configs={})
                except TooManyRecordsError:
                    break
                except KafkaError:
                    continue
            return creation.records

        with contextlib.suppress(KafkaError):
            await self.change(decide)

    @abstractmethod
    async def create_elsewhere(self, name: str, counts: Counts, configs: Mapping[str, str]) -> None:
        """Has the broker that controls make a topic, where this one does not; whether it does is seen in the image."""


class Topics(Catalog):
    def __init__(
        self,
        *,
        metadata: MetadataLog,
        replicas: ReplicaManager,
        deliver: Deliver,
        config: Callable[[], ServerConfig],
        reconfigure_broker: Callable[[ClusterImage], None],
        topics_deleted: Callable[[list[str]], None],
        clock: Clock,
        broker_id: int,
    ) -> None:
        self.metadata = metadata
        self._replicas = replicas
        self._deliver = deliver
        self._config = config
        self._reconfigure_broker = reconfigure_broker
        self._topics_deleted = topics_deleted
        self._clock = clock
        self._broker_id = broker_id
        self._changing = asyncio.Lock()
        # The directories of partitions that lie elsewhere than the image says.
        self._moved: dict[TopicPartition, bytes] = {}

    @property
    def image(self) -> ClusterImage:
        return self.metadata.image

    async def create_elsewhere(self, name: str, counts: Counts, configs: Mapping[str, str]) -> None:
        raise AssertionError(f"{name} is made here: no other broker decides")

    async def start(self, decide: Decision) -> None:
        """Writes what `decide` gives, and makes the replicas follow the image for the first time."""
        await self._write(decide)
        await self._apply(ClusterImage(), self.metadata.image, starting=True)
        await self._tell_directories()

    async def change(self, decide: Decision) -> ClusterImage:
        """Writes what `decide` gives, waits until it is durable, and applies it. Raises what `decide` raises."""
        async with self._changing:
            before = self.metadata.image
            await self._write(decide)
            if self.metadata.image is not before:
                await self._apply(before, self.metadata.image)
                await self._tell_directories()
            return self.metadata.image

    async def change_configs(self, resources: Sequence[tuple[int, str]], decide: Decision) -> None:
        await self.change(decide)

    async def image_with_configs(self, resources: Sequence[tuple[int, str]]) -> ClusterImage:
        return self.image

    def change_now(self, decide: Decision, *, starting: bool = False) -> ClusterImage:
        """As `change`, or `start`, for a program without a loop: this thread waits for the disk."""
        before = ClusterImage() if starting else self.metadata.image
        self._write_now(decide)
        after = self.metadata.image
        for _ in self._steps(before, after, starting=starting):
            pass
        if after.configs is not before.configs:
            self._reconfigure(before, after)
        moved, self._moved = self._moved, {}
        if moved:
            self._write_now(lambda image: moved_partitions(image, moved, broker_id=self._broker_id))
        return self.metadata.image

    def _write_now(self, decide: Decision) -> None:
        records = decide(self.metadata.image)
        if records:
            written = self.metadata.append(records, now_ms=self._clock.now_ms())
            written.run()
            self.metadata.complete(written, now_ms=self._clock.now_ms())

    async def _write(self, decide: Decision) -> None:
        records = decide(self.metadata.image)
        if records:
            written = self.metadata.append(records, now_ms=self._clock.now_ms())
            await asyncio.get_running_loop().run_in_executor(None, written.run)
            self.metadata.complete(written, now_ms=self._clock.now_ms())

    async def _tell_directories(self) -> None:
        """Writes where partitions lie that were not found, or could not be made, where the image says."""
        moved, self._moved = self._moved, {}
        if not moved:
            return
        try:
            await self._write(lambda image: moved_partitions(image, moved, broker_id=self._broker_id))
        except KafkaError as error:
            # They are served all the same, and the next start tells it.
            log.warning("the directories of %d partitions are not written down: %s", len(moved), error)

    def creation(self, image: ClusterImage) -> TopicCreation:
        """Decides on the new topics of one request."""
        config = self._config()
        defaults = Counts(config.num_partitions, config.default_replication_factor)
        return TopicCreation(image, self.placement(), defaults)

    def placement(self) -> Placement:
        """Where one request's new partitions go."""
        next_directory = self._replicas.logs.directory_chooser()
        room = Room(room_for_partitions())
        return Placement([self._broker_id], lambda _broker: next_directory(), room)

    async def _apply(self, before: ClusterImage, after: ClusterImage, *, starting: bool = False) -> None:
        """Makes the replicas follow the image. A large change lets others have their turn in between."""
        began = time.monotonic()
        for _ in self._steps(before, after, starting=starting):
            if time.monotonic() - began > LONGEST_TURN_S:
                self._deliver.turn_ended()
                await asyncio.sleep(0)
                began = time.monotonic()
        if after.configs is not before.configs:
            self._reconfigure(before, after)
        if deleted := [name for name in before.topics if name not in after.topics]:
            self._topics_deleted(deleted)
        self._deliver.turn_ended()

    def _steps(self, before: ClusterImage, after: ClusterImage, *, starting: bool) -> Iterator[None]:
        """Deletes what is gone, leads what is new or has a new epoch: a partition a step.

        When the broker starts nothing is new: what is not found may be in a directory that is offline.
        """
        for name, topic in before.topics.items():
            current = after.topics.get(name)
            if current is None or current.id != topic.id:
                yield from self._delete(topic)
        for name, topic in after.topics.items():
            earlier = before.topics.get(name)
            if earlier is not topic:
                known = earlier.partitions if earlier is not None and earlier.id == topic.id else {}
                yield from self._lead(topic, known, after, starting=starting)

    def _delete(self, topic: TopicImage) -> Iterator[None]:
        for index in topic.partitions:
            effects = self._replicas.delete(TopicPartition(topic.name, index), now_ms=self._clock.now_ms())
            self._deliver(effects)
            yield

    def _lead(
        self, topic: TopicImage, known: Mapping[int, PartitionImage], image: ClusterImage, *, starting: bool
    ) -> Iterator[None]:
        config = log_config(self._config(), image.topic_config(topic.name))
        for index, partition in topic.partitions.items():
            earlier = known.get(index)
            has_new_epoch = earlier is None or earlier.leader_epoch != partition.leader_epoch
            if partition.leader == self._broker_id and has_new_epoch:
                effects = self._replicas.lead(
                    TopicPartition(topic.name, index),
                    topic_id=topic.id,
                    directory_id=partition.directory_of(self._broker_id),
                    config=config,
                    epoch=partition.leader_epoch,
                    replicas=partition.replicas,
                    isr=frozenset(partition.isr),
                    is_new=earlier is None and not starting,
                    now_ms=self._clock.now_ms(),
                )
                self._deliver(effects)
                held = self._replicas.partitions.get((topic.name, index))
                if held is not None:
                    self._note_directory(held, partition)
                yield

    def _note_directory(self, held: Partition, partition: PartitionImage) -> None:
        found = self._replicas.logs.directory_ids.get(held.log.log_dir.path)
        if found is not None and found != partition.directory_of(self._broker_id):
            self._moved[held.topic_partition] = found

    def _reconfigure(self, before: ClusterImage, after: ClusterImage) -> None:
        """Brings changed configurations to the broker and to the running logs."""
        brokers_changed = any(
            after.configs.get((BROKER_RESOURCE, name)) != before.configs.get((BROKER_RESOURCE, name))
            for name in ("", str(self._broker_id))
        )
        if brokers_changed:
            self._reconfigure_broker(after)
        for name, topic in after.topics.items():
            if brokers_changed or after.topic_config(name) != before.topic_config(name):
                config = log_config(self._config(), after.topic_config(name))
                for index in topic.partitions:
                    partition = self._replicas.partitions.get((name, index))
                    if partition is not None and partition.log.config != config:
                        partition.log.update_config(config)
                        # What waited for a flush that nobody asks for any more may be seen.
                        self._deliver(partition.flushed())
