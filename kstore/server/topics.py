"""Changes of what the cluster agrees on, one at a time: decide, write, make durable, then act.

A change is decided on the image that the one before it left, so no two topics get one name. Nobody hears of a
change before it is on disk.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kstore.clock import Clock
from kstore.cluster.image import ClusterImage, TopicImage
from kstore.cluster.metadata_log import MetadataLog
from kstore.cluster.topic_changes import BY_DEFAULT, create_topic
from kstore.errors import KafkaError
from kstore.log.config import LogConfig
from kstore.log.topic_keys import TOPIC_KEYS
from kstore.model import TopicPartition
from kstore.replica.manager import ReplicaManager
from kstore.server.config import ServerConfig
from kstore.server.deliver import Deliver

# Given the image, the records to write. Raises KafkaError to refuse.
Decision = Callable[[ClusterImage], list[Any]]


def log_config(config: ServerConfig, overrides: Mapping[str, str]) -> LogConfig:
    """The configuration of a topic's logs: its own values over the broker's."""
    own = {name: TOPIC_KEYS[name].parse(text) for name, text in overrides.items() if name in TOPIC_KEYS}
    return LogConfig.from_values(config.topic_defaults | own)


class Topics:
    def __init__(
        self,
        *,
        metadata: MetadataLog,
        replicas: ReplicaManager,
        deliver: Deliver,
        config: Callable[[], ServerConfig],
        clock: Clock,
        broker_id: int,
    ) -> None:
        self.metadata = metadata
        self._replicas = replicas
        self._deliver = deliver
        self._config = config
        self._clock = clock
        self._broker_id = broker_id
        self._changing = asyncio.Lock()

    @property
    def image(self) -> ClusterImage:
        return self.metadata.image

    def name_of(self, topic_id: bytes | None) -> str | None:
        return self.metadata.image.topic_names.get(topic_id) if topic_id else None

    async def start(self, decide: Decision) -> None:
        """Writes what `decide` gives, and makes the replicas follow the image for the first time."""
        await self._write(decide)
        self.apply(ClusterImage(), self.metadata.image)

    async def change(self, decide: Decision) -> ClusterImage:
        """Writes what `decide` gives, waits until it is durable, and applies it. Raises what `decide` raises."""
        async with self._changing:
            before = self.metadata.image
            await self._write(decide)
            if self.metadata.image is not before:
                self.apply(before, self.metadata.image)
            return self.metadata.image

    async def _write(self, decide: Decision) -> None:
        records = decide(self.metadata.image)
        if records:
            written = self.metadata.append(records, now_ms=self._clock.now_ms())
            await asyncio.get_running_loop().run_in_executor(None, written.run)
            self.metadata.complete(written, now_ms=self._clock.now_ms())

    async def auto_create(self, names: Sequence[str]) -> None:
        """Makes topics that a client asked for by name; whichever cannot be made stays unknown."""
        for name in names:

            def make(image: ClusterImage, name: str = name) -> list[Any]:
                return [] if name in image.topics else self.new_topic(image, name)

            with contextlib.suppress(KafkaError):
                await self.change(make)

    def new_topic(
        self,
        image: ClusterImage,
        name: str,
        *,
        partitions: int = BY_DEFAULT,
        replication_factor: int = BY_DEFAULT,
        assignments: Mapping[int, Sequence[int]] | None = None,
        configs: Mapping[str, str] | None = None,
    ) -> list[Any]:
        config = self._config()
        return create_topic(
            image,
            name,
            partitions=partitions,
            replication_factor=replication_factor,
            assignments=assignments or {},
            configs=configs or {},
            default_partitions=config.num_partitions,
            default_replication_factor=config.default_replication_factor,
            brokers=[self._broker_id],
            directory_of=self.directory_of(),
        )

    def directory_of(self) -> Mapping[int, bytes]:
        """The directory in which this broker puts its next partition."""
        return {self._broker_id: next(iter(self._replicas.logs.directory_ids.values()))}

    def apply(self, before: ClusterImage, after: ClusterImage) -> None:
        """Makes the replicas follow the image: leads what is new or has a new epoch, deletes what is gone."""
        now_ms = self._clock.now_ms()
        for name, topic in before.topics.items():
            if after.topics.get(name) is not topic:
                current = after.topics.get(name)
                if current is None or current.id != topic.id:
                    self._delete(topic, now_ms)
        for name, topic in after.topics.items():
            earlier = before.topics.get(name)
            if earlier is not topic:
                self._lead(
                    topic, earlier if earlier is not None and earlier.id == topic.id else None, after, now_ms
                )
        if after.configs is not before.configs:
            self._reconfigure(before, after)
        self._deliver.turn_ended()

    def _delete(self, topic: TopicImage, now_ms: int) -> None:
        for index in topic.partitions:
            self._deliver(self._replicas.delete(TopicPartition(topic.name, index), now_ms=now_ms))

    def _lead(self, topic: TopicImage, earlier: TopicImage | None, image: ClusterImage, now_ms: int) -> None:
        config = log_config(self._config(), image.topic_config(topic.name))
        for index, partition in topic.partitions.items():
            known = earlier.partitions.get(index) if earlier is not None else None
            if partition.leader != self._broker_id or (
                known is not None and known.leader_epoch == partition.leader_epoch
            ):
                continue
            effects = self._replicas.lead(
                TopicPartition(topic.name, index),
                topic_id=topic.id,
                config=config,
                epoch=partition.leader_epoch,
                replicas=partition.replicas,
                isr=frozenset(partition.isr),
                now_ms=now_ms,
            )
            self._deliver(effects)

    def _reconfigure(self, before: ClusterImage, after: ClusterImage) -> None:
        for name, topic in after.topics.items():
            if after.topic_config(name) != before.topic_config(name):
                config = log_config(self._config(), after.topic_config(name))
                for index in topic.partitions:
                    partition = self._replicas.partitions.get((name, index))
                    if partition is not None:
                        partition.log.update_config(config)
