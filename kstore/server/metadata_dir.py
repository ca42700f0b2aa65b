"""Whose directories these are, and the metadata log in one of them.

The log lies in `metadata.log.dir`, else in the first of `log.dirs`. A directory says in meta.properties which
cluster and node it belongs to; new ones are given to this node, with the number 1 if nobody said another. A
directory of Kafka's ZooKeeper mode is refused: its topics are written in ZooKeeper, not here.
"""

import logging
import os

from kstore.cluster.bootstrap import Controller
from kstore.cluster.image import ClusterImage
from kstore.cluster.metadata_log import METADATA_PARTITION, MetadataLog
from kstore.errors import ConfigError
from kstore.log.checkpoint_file import fsync_directory
from kstore.log.dir_lock import DirLock
from kstore.log.directory import parse_partition_dir_name
from kstore.log.log_dir import LogDir
from kstore.log.manager import IsStray, LogManager
from kstore.log.meta_properties import MetaProperties, read_meta_properties, write_meta_properties
from kstore.model import TopicPartition, random_uuid, uuid_to_text
from kstore.server.config import ServerConfig
from kstore.server.endpoints import parse_endpoints

logger = logging.getLogger(__name__)

FIRST_NODE_ID = 1


def open_metadata(config: ServerConfig, logs: LogManager, *, now_ms: int) -> MetadataLog:
    """Gives the directories of `logs` to this node and opens the metadata log.

    Raises ConfigError for directories that are not ours, CorruptRecordError, KafkaStorageError, OSError.
    """
    for live in logs.live_dirs:
        refuse_zookeeper_mode(live.path, read_meta_properties(live.path))
    path = os.path.abspath(config.metadata_dir)
    log_dir = next((known for known in logs.dirs if known.path == path), None)
    if log_dir is not None and log_dir.failure is not None:
        raise ConfigError(f"{path} holds the metadata log and cannot be used: {log_dir.failure}")
    lock = found = None
    if log_dir is None:
        if not os.path.isdir(path):
            os.makedirs(path)
            fsync_directory(os.path.dirname(path))
        log_dir, lock = LogDir(path), DirLock(path)
    try:
        if lock is not None:
            found = read_meta_properties(path)
            refuse_zookeeper_mode(path, found)
        refuse_lost_metadata(path, logs)
        cluster_id = logs.cluster_id or (found and found.cluster_id) or uuid_to_text(random_uuid())
        node_id = logs.node_id if logs.node_id >= 0 else found.node_id if found else FIRST_NODE_ID
        if lock is not None:
            directory_id = own_metadata_dir(path, found, cluster_id, node_id)
        logs.write_owner(cluster_id, node_id)
        if log_dir.failure is not None:
            raise ConfigError(f"{path} is to hold the metadata log and cannot be used: {log_dir.failure}")
        if lock is None:
            directory_id = logs.directory_ids[path]
        return MetadataLog.open(
            path,
            controller_of(config, node_id, directory_id),
            now_ms=now_ms,
            log_dir=log_dir,
            lock=lock,
            snapshot_bytes=config.metadata_log_max_record_bytes_between_snapshots,
        )
    except BaseException:
        if lock is not None:
            lock.release()
        raise


def refuse_lost_metadata(path: str, logs: LogManager) -> None:
    """Partitions without the log that tells of their topics: whatever happened, nothing may be begun anew.

    Raises ConfigError.
    """
    directory = os.path.join(path, str(METADATA_PARTITION))
    if os.path.isdir(directory) and any(name.endswith((".log", ".checkpoint")) for name in os.listdir(directory)):
        return
    for log_dir in logs.live_dirs:
        found = [entry.name for entry in os.scandir(log_dir.path) if entry.is_dir() and entry.path != directory]
        partitions = [name for name in found if parse_partition_dir_name(name) is not None]
        if partitions:
            raise ConfigError(
                f"{log_dir.path} holds {min(partitions)}, but {path} has no"
                f" {METADATA_PARTITION} that tells of their topics; is metadata.log.dir or log.dirs another one?"
            )


def stray_check(image: ClusterImage) -> IsStray:
    """Tells the partitions that the metadata log does not know: a crash came between a topic's end and theirs, and a
    new topic may have the name (LogManager.isStrayKraftReplica). A log that has no topic id yet is nobody's stray."""

    def is_stray(topic_partition: TopicPartition, topic_id: bytes | None) -> bool:
        topic = image.topics.get(topic_partition.topic)
        if topic is None or topic_partition.partition not in topic.partitions:
            return True
        return topic_id is not None and topic_id != topic.id

    return is_stray


def refuse_zookeeper_mode(path: str, found: MetaProperties | None) -> None:
    if found is not None and found.version == 0:
        raise ConfigError(f"{path} belongs to a Kafka in ZooKeeper mode, which keeps its topics in ZooKeeper")


def own_metadata_dir(path: str, found: MetaProperties | None, cluster_id: str, node_id: int) -> bytes:
    """The id of a metadata directory that holds no partitions. Raises ConfigError, OSError."""
    if found is not None and (found.cluster_id, found.node_id) != (cluster_id, node_id):
        raise ConfigError(
            f"{path} belongs to node {found.node_id} of cluster {found.cluster_id},"
            f" this is node {node_id} of cluster {cluster_id}"
        )
    directory_id = (found.directory_id if found else None) or random_uuid()
    if found is None or found.directory_id is None:
        write_meta_properties(path, MetaProperties(cluster_id, node_id, directory_id))
    return directory_id


def controller_of(config: ServerConfig, node_id: int, directory_id: bytes) -> Controller:
    """This node as the log's only voter; the address is where a Kafka with the same file would listen."""
    controller = Controller(node_id, directory_id)
    names = {name.strip().upper() for name in (config.value("controller.listener.names") or "").split(",")}
    advertised = config.value("advertised.listeners") or ""
    for endpoint in parse_endpoints(config.value("listeners")) + parse_endpoints(advertised):
        if endpoint.listener in names:
            host = endpoint.host or controller.host
            controller = Controller(node_id, directory_id, endpoint.listener, host, endpoint.port)
    return controller
