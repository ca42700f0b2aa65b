"""From a wish about topics to metadata records, or to the error that refuses it.

Nothing is written here: a decision reads one image and gives records. Kafka: ReplicationControlManager.java.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from kstore.cluster.image import TOPIC_RESOURCE, ClusterImage, TopicImage
from kstore.cluster.topic_names import METADATA_TOPIC, collision, validate_topic_name
from kstore.errors import (
    InvalidPartitionsError,
    InvalidReplicaAssignmentError,
    InvalidReplicationFactorError,
    InvalidRequestError,
    InvalidTopicError,
    PolicyViolationError,
    TopicAlreadyExistsError,
)
from kstore.model import random_uuid
from kstore.protocol.messages.metadata_records import (
    ConfigRecord,
    PartitionRecord,
    RemoveTopicRecord,
    TopicRecord,
)

# As many partitions as Kafka makes for one request (ReplicationControlManager.MAX_PARTITIONS_PER_BATCH).
MAX_PARTITIONS_A_REQUEST = 10_000

# One node: whoever asks for a default gets it from the broker's configuration.
BY_DEFAULT = -1


def create_topic(
    image: ClusterImage,
    name: str,
    *,
    partitions: int,
    replication_factor: int,
    assignments: Mapping[int, Sequence[int]],
    configs: Mapping[str, str],
    default_partitions: int,
    default_replication_factor: int,
    brokers: Sequence[int],
    directory_of: Mapping[int, bytes],
) -> list[Any]:
    """Records that make topic `name`: its own, its configuration's, one for each partition.

    `assignments` (partition -> replicas) takes the place of both counts. `directory_of` gives each broker's
    log directory. The configuration has been checked by the caller.
    """
    validate_topic_name(name)
    if name in image.topics:
        raise TopicAlreadyExistsError(f"topic {name!r} already exists")
    if name == METADATA_TOPIC:
        raise InvalidTopicError(f"topic {name!r} is the metadata log itself")
    other = collision(name, image.topics)
    if other is not None:
        raise InvalidTopicError(
            f"topic {name!r} collides with {other!r}: both become the same where '.' is written '_'"
        )
    if assignments:
        if partitions != BY_DEFAULT or replication_factor != BY_DEFAULT:
            raise InvalidRequestError(
                "a topic has either counts or assignments; with assignments both counts are -1"
            )
        replicas = assigned_replicas(assignments, first=0, brokers=brokers)
    else:
        count = default_partitions if partitions == BY_DEFAULT else partitions
        factor = default_replication_factor if replication_factor == BY_DEFAULT else replication_factor
        replicas = placed_replicas(count, factor, brokers)
    if len(replicas) > MAX_PARTITIONS_A_REQUEST:
        raise PolicyViolationError(
            f"{len(replicas)} partitions at once are more than {MAX_PARTITIONS_A_REQUEST}"
        )
    topic_id = random_uuid()
    records: list[Any] = [TopicRecord(name=name, topic_id=topic_id)]
    records += [
        ConfigRecord(resource_type=TOPIC_RESOURCE, resource_name=name, name=key, value=value)
        for key, value in configs.items()
    ]
    return records + [
        partition_record(topic_id, index, members, directory_of) for index, members in enumerate(replicas)
    ]


def grow_topic(
    topic: TopicImage,
    *,
    count: int,
    assignments: Sequence[Sequence[int]] | None,
    brokers: Sequence[int],
    directory_of: Mapping[int, bytes],
) -> list[Any]:
    """Records for the partitions that `topic` lacks to have `count`; partitions only grow."""
    known = len(topic.partitions)
    if count == known:
        raise InvalidPartitionsError(f"topic {topic.name!r} already has {known} partitions")
    if count < known:
        raise InvalidPartitionsError(
            f"topic {topic.name!r} has {known} partitions, which cannot become {count}"
        )
    added = count - known
    if added > MAX_PARTITIONS_A_REQUEST:
        raise PolicyViolationError(f"{added} partitions at once are more than {MAX_PARTITIONS_A_REQUEST}")
    factor = len(topic.partitions[0].replicas)
    if assignments is None:
        replicas = placed_replicas(added, factor, brokers)
    else:
        if len(assignments) != added:
            raise InvalidReplicaAssignmentError(
                f"{len(assignments)} assignments were given for {added} new partitions"
            )
        replicas = assigned_replicas(
            {known + index: members for index, members in enumerate(assignments)},
            first=known,
            brokers=brokers,
        )
        if len(replicas[0]) != factor:
            raise InvalidReplicaAssignmentError(
                f"{len(replicas[0])} replicas were given, the others have {factor}"
            )
    return [
        partition_record(topic.id, known + index, members, directory_of)
        for index, members in enumerate(replicas)
    ]


def delete_topic(topic: TopicImage) -> list[Any]:
    """The topic's partitions and configuration go with it (ConfigurationsDelta.java, handleDeletedTopic)."""
    return [RemoveTopicRecord(topic_id=topic.id)]


def placed_replicas(count: int, factor: int, brokers: Sequence[int]) -> list[tuple[int, ...]]:
    """Replicas of `count` partitions, round robin over the brokers."""
    if count <= 0:
        raise InvalidPartitionsError(f"a topic has at least one partition, not {count}")
    if factor <= 0:
        raise InvalidReplicationFactorError(f"a partition has at least one replica, not {factor}")
    if factor > len(brokers):
        raise InvalidReplicationFactorError(
            f"{factor} replicas need as many brokers, and {len(brokers)} broker(s) are there"
        )
    if count > MAX_PARTITIONS_A_REQUEST:
        raise PolicyViolationError(f"{count} partitions at once are more than {MAX_PARTITIONS_A_REQUEST}")
    return [tuple(brokers[(index + k) % len(brokers)] for k in range(factor)) for index in range(count)]


def assigned_replicas(
    assignments: Mapping[int, Sequence[int]], *, first: int, brokers: Sequence[int]
) -> list[tuple[int, ...]]:
    """Checked replicas of the partitions from `first` on, in their order."""
    expected = range(first, first + len(assignments))
    if sorted(assignments) != list(expected):
        raise InvalidReplicaAssignmentError(
            f"partitions {sorted(assignments)} are not consecutive from {first}"
        )
    factor = len(assignments[first])
    for index, members in assignments.items():
        if not members:
            raise InvalidReplicaAssignmentError(f"partition {index} has no replicas")
        if len(set(members)) != len(members):
            raise InvalidReplicaAssignmentError(f"partition {index} names a broker twice: {list(members)}")
        if len(members) != factor:
            raise InvalidReplicaAssignmentError(
                f"partition {index} has {len(members)} replicas, others have {factor}"
            )
        unknown = [member for member in members if member not in brokers]
        if unknown:
            raise InvalidReplicaAssignmentError(
                f"partition {index} names brokers that are not there: {unknown}"
            )
    return [tuple(assignments[index]) for index in expected]


def partition_record(
    topic_id: bytes, index: int, replicas: tuple[int, ...], directory_of: Mapping[int, bytes]
) -> PartitionRecord:
    return PartitionRecord(
        partition_id=index,
        topic_id=topic_id,
        replicas=list(replicas),
        isr=list(replicas),
        removing_replicas=[],
        adding_replicas=[],
        leader=replicas[0],
        leader_epoch=0,
        partition_epoch=0,
        directories=[directory_of[replica] for replica in replicas],
    )
