"""Taking the partitions of a directory in that nobody has said topics for: one that `Log.open` made, or copies of
partitions of a Kafka.

The metadata log is written first, meta.properties last, so that after a crash in between the directory is taken in
again; from then on it is a broker's directory like any other.
"""

import os
from typing import Any

from kstore.cluster.bootstrap import Controller
from kstore.cluster.image import TOPIC_RESOURCE, ClusterImage
from kstore.cluster.metadata_log import METADATA_PARTITION, MetadataLog
from kstore.cluster.topic_changes import Placement, Room, config_records, partition_record
from kstore.log.directory import PARTITION_METADATA, parse_partition_dir_name, parse_partition_metadata
from kstore.log.manager import LogManager
from kstore.log.meta_properties import META_PROPERTIES
from kstore.model import TopicPartition, random_uuid, uuid_to_text
from kstore.protocol.messages.metadata_records import TopicRecord
from kstore.server.metadata_dir import FIRST_NODE_ID


def unclaimed(directory: str) -> list[TopicPartition]:
    """The partitions of a directory that belongs to no cluster yet."""
    if os.path.exists(os.path.join(directory, META_PROPERTIES)):
        return []
    with os.scandir(directory) as entries:
        found = [parse_partition_dir_name(entry.name) for entry in entries if entry.is_dir()]
    return sorted(each for each in found if each is not None and each != METADATA_PARTITION)


def adopt(directory: str, logs: LogManager, partitions: list[TopicPartition], *, now_ms: int) -> MetadataLog:
    """Makes topics of `partitions`, and the directory a cluster's of its own. Raises KafkaStorageError, OSError."""
    path = logs.dirs[0].path
    directory_id = logs.directory_ids.setdefault(path, random_uuid())
    metadata = MetadataLog.open(path, Controller(FIRST_NODE_ID, directory_id), now_ms=now_ms, log_dir=logs.dirs[0])
    records = topic_records(directory, metadata.image, partitions, directory_id)
    if records:
        written = metadata.append(records, now_ms=now_ms)
        written.run()
        metadata.complete(written, now_ms=now_ms)
    logs.write_owner(uuid_to_text(random_uuid()), FIRST_NODE_ID)
    return metadata


def topic_records(
    directory: str, image: ClusterImage, partitions: list[TopicPartition], directory_id: bytes
) -> list[Any]:
    """Topics that keep what they have; partitions that are missing between others begin empty."""
    placement = Placement([FIRST_NODE_ID], lambda _: directory_id, Room())
    counts: dict[str, int] = {}
    for topic, index in partitions:
        if topic not in image.topics:
            counts[topic] = max(counts.get(topic, 0), index + 1)
    records: list[Any] = []
    for topic, count in counts.items():
        topic_id = topic_id_of(directory, topic, count) or random_uuid()
        records.append(TopicRecord(name=topic, topic_id=topic_id))
        records += config_records(TOPIC_RESOURCE, topic, {"retention.ms": "-1"})
        records += [partition_record(topic_id, index, (FIRST_NODE_ID,), placement) for index in range(count)]
    return records


def topic_id_of(directory: str, topic: str, count: int) -> bytes | None:
    """The id that the partitions had where they come from."""
    for index in range(count):
        try:
            with open(os.path.join(directory, f"{topic}-{index}", PARTITION_METADATA), "rb") as file:
                return parse_partition_metadata(file.read())
        except FileNotFoundError:
            continue
    return None
