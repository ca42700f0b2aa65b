"""Records of a decision, sorted into what is to be done in ZooKeeper."""

from collections.abc import Sequence
from typing import Any

from kstore.cluster.image import ClusterImage, TopicImage
from kstore.cluster.zk.configs import Resource
from kstore.cluster.zk.store import new_partition
from kstore.errors import PolicyViolationError
from kstore.protocol.messages.metadata_records import ConfigRecord, PartitionRecord, RemoveTopicRecord, TopicRecord


class TopicWishes:
    def __init__(self, image: ClusterImage, records: Sequence[Any]) -> None:
        self.made: dict[str, TopicImage] = {}
        self.grown: dict[str, TopicImage] = {}
        self.deleted: list[str] = []
        # What each resource is configured with afterwards.
        self.configs: dict[Resource, dict[str, str]] = {}
        names = dict(image.topic_names)
        for record in records:
            match record:
                case TopicRecord():
                    names[record.topic_id] = record.name
                    self.made[record.name] = TopicImage(record.name, record.topic_id, {})
                case PartitionRecord():
                    self._add(image, names[record.topic_id], record)
                case RemoveTopicRecord():
                    self.deleted.append(names[record.topic_id])
                case ConfigRecord():
                    self._configure(image, record)
                case _:
                    raise PolicyViolationError(f"a cluster with ZooKeeper cannot be told yet: {record!r}")

    def _add(self, image: ClusterImage, name: str, record: Any) -> None:
        where = self.made if name in self.made else self.grown
        topic = where.get(name) or image.topics[name]
        partitions = {**topic.partitions, record.partition_id: new_partition(tuple(record.replicas))}
        where[name] = topic._replace(partitions=partitions)

    def _configure(self, image: ClusterImage, record: Any) -> None:
        resource = (record.resource_type, record.resource_name)
        configs = self.configs.setdefault(resource, dict(image.configs.get(resource, {})))
        if record.value is None:
            configs.pop(record.name, None)
        else:
            configs[record.name] = record.value
