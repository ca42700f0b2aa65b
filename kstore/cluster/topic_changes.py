"""From a wish about topics to metadata records, or to the error that refuses it.

Nothing is written here: a decision reads one image and gives records. Several topics of one request are decided one
after the other, and each sees those before it. Kafka: ReplicationControlManager.java.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from kstore.cluster.assignment import Rotation, assigned, start_after
from kstore.cluster.image import TOPIC_RESOURCE, ClusterImage, TopicImage
from kstore.cluster.reassignment import is_reassigned
from kstore.cluster.records import DIRECTORIES_FROM
from kstore.cluster.topic_names import METADATA_TOPIC, TakenNames, validate_topic_name
from kstore.errors import (
    InvalidPartitionsError,
    InvalidReplicaAssignmentError,
    InvalidReplicationFactorError,
    InvalidRequestError,
    InvalidTopicError,
    PolicyViolationError,
    ReassignmentInProgressError,
    TopicAlreadyExistsError,
)
from kstore.model import TopicPartition, random_uuid
from kstore.protocol.messages.metadata_records import (
    ConfigRecord,
    PartitionChangeRecord,
    PartitionRecord,
    RemoveTopicRecord,
    TopicRecord,
)

# One request changes the metadata by no more records than this (QuorumController.MAX_RECORDS_PER_USER_OP).
MAX_RECORDS_A_REQUEST = 10_000

# Says that a replica's directory is not known (DirectoryId.UNASSIGNED).
DIRECTORY_UNASSIGNED = bytes(15) + b"\x01"

# A count that the broker's configuration gives.
BY_DEFAULT = -1


class TooManyRecordsError(PolicyViolationError):
    """Refuses a request as a whole, whatever else is right in it."""


class Room:
    """How many more partitions may be made by one request; None where nobody counts them."""

    def __init__(self, left: int | None = None) -> None:
        self._left = left

    def take(self, count: int) -> None:
        """Raises PolicyViolationError."""
        if self._left is None:
            return
        if count > self._left:
            raise PolicyViolationError(
                f"{count} partition(s) more are asked for, and the broker has file descriptors for {self._left}; its"
                " limit of open files (ulimit -n) must be raised for more"
            )
        self._left -= count


class Placement(NamedTuple):
    """The brokers that partitions go to, what gives the log directory of a broker's next partition, and how many there
    may be; the racks of those brokers that have one, and where a new topic begins."""

    brokers: Sequence[int]
    directory_of: Callable[[int], bytes]
    room: Room = Room()
    racks: Mapping[int, str] = {}
    rotation: Callable[[], Rotation] = Rotation

    def new(self, count: int, factor: int) -> list[tuple[int, ...]]:
        """The replicas of a new topic's partitions. Raises InvalidReplicationFactorError."""
        return assigned(count, factor, racks=self._racks(), rotation=self.rotation())

    def more(self, count: int, topic: TopicImage) -> list[tuple[int, ...]]:
        """The replicas of partitions that a topic lacks to have `count` more. Raises InvalidReplicationFactorError."""
        first = topic.partitions[0].replicas
        racks = self._racks()
        rotation = start_after(first[0], racks)
        return assigned(count, len(first), racks=racks, rotation=rotation, first=len(topic.partitions))

    def _racks(self) -> dict[int, str | None]:
        return {broker: self.racks.get(broker) for broker in self.brokers}


class Counts(NamedTuple):
    partitions: int = BY_DEFAULT
    replication_factor: int = BY_DEFAULT


class CreatedTopic(NamedTuple):
    topic_id: bytes
    partitions: int
    replication_factor: int


class TopicCreation:
    """The topics that one request makes: `records` holds what the accepted ones need."""

    def __init__(self, image: ClusterImage, placement: Placement, defaults: Counts) -> None:
        self.records: list[Any] = []
        self._names = TakenNames(image.topics)
        self._placement = placement
        self._defaults = defaults

    def add(
        self,
        name: str,
        counts: Counts,
        *,
        assignments: Mapping[int, Sequence[int]],
        configs: Mapping[str, str],
    ) -> CreatedTopic:
        """Accepts topic `name`, or raises the KafkaError that refuses it; see `check_name` for what goes before.

        `assignments` (partition -> replicas) takes the place of both counts.
        """
        if assignments:
            if counts != (BY_DEFAULT, BY_DEFAULT):
                raise InvalidRequestError("a topic has counts or assignments; with the latter both counts are -1")
            replicas = assigned_replicas(assignments, first=0, brokers=self._placement.brokers)
        else:
            replicas = self._placed(counts)
        self._check_room(1 + len(configs) + len(replicas))
        self._placement.room.take(len(replicas))
        topic_id = random_uuid()
        self.records.append(TopicRecord(name=name, topic_id=topic_id))
        self.records += config_records(TOPIC_RESOURCE, name, configs)
        self.records += [
            partition_record(topic_id, index, members, self._placement) for index, members in enumerate(replicas)
        ]
        self._names.add(name)
        return CreatedTopic(topic_id, len(replicas), len(replicas[0]))

    def check_name(self, name: str) -> None:
        """Raises InvalidTopicError, TopicAlreadyExistsError."""
        if name in self._names:
            raise TopicAlreadyExistsError(f"there is a topic {name!r} already")
        validate_topic_name(name)
        if name == METADATA_TOPIC:
            raise InvalidTopicError(f"{name!r} is the metadata log itself")
        other = self._names.collision(name)
        if other is not None:
            raise InvalidTopicError(
                f"{name!r} and the topic {other!r} would be the same wherever '_' is written for '.'"
            )

    def _placed(self, counts: Counts) -> list[tuple[int, ...]]:
        partitions, factor = counts
        if factor != BY_DEFAULT and factor <= 0:
            raise InvalidReplicationFactorError(
                f"a partition has at least 1 replica, or -1 for the default; not {factor}"
            )
        if partitions != BY_DEFAULT and partitions <= 0:
            raise InvalidPartitionsError(f"a topic has at least 1 partition, or -1 for the default; not {partitions}")
        count = self._defaults.partitions if partitions == BY_DEFAULT else partitions
        self._check_room(1 + count)
        return self._placement.new(count, self._defaults.replication_factor if factor == BY_DEFAULT else factor)

    def _check_room(self, more: int) -> None:
        check_size(len(self.records) + more)


def grow_topic(
    topic: TopicImage, *, count: int, assignments: Sequence[Sequence[int]] | None, placement: Placement
) -> list[Any]:
    """Records for the partitions that `topic` lacks to have `count`; partitions only grow."""
    known = len(topic.partitions)
    added = count - known
    if added == 0:
        raise InvalidPartitionsError(f"topic {topic.name!r} has {known} partition(s) already")
    if added < 0:
        raise InvalidPartitionsError(f"topic {topic.name!r} has {known} partition(s) and cannot shrink to {count}")
    check_size(added)
    if topic.partitions.keys() != set(range(known)):
        raise InvalidPartitionsError(f"topic {topic.name!r} has not all of its partitions: {sorted(topic.partitions)}")
    if any(is_reassigned(partition) for partition in topic.partitions.values()):
        raise ReassignmentInProgressError(f"partitions of topic {topic.name!r} are being reassigned")
    factor = len(topic.partitions[0].replicas)
    if assignments is None:
        replicas = placement.more(added, topic)
    elif len(assignments) != added:
        raise InvalidReplicaAssignmentError(f"{len(assignments)} assignment(s) were given for {added} new partition(s)")
    else:
        replicas = assigned_replicas(
            {known + index: members for index, members in enumerate(assignments)},
            first=known,
            brokers=placement.brokers,
            factor=factor,
        )
    placement.room.take(added)
    return [partition_record(topic.id, known + index, members, placement) for index, members in enumerate(replicas)]


def delete_topics(topics: Sequence[TopicImage]) -> list[Any]:
    """The topics' partitions and configurations go with them (ConfigurationsDelta.java, handleDeletedTopic)."""
    check_size(len(topics))
    return [RemoveTopicRecord(topic_id=topic.id) for topic in topics]


def moved_partitions(
    image: ClusterImage, directories: Mapping[TopicPartition, bytes], *, broker_id: int
) -> list[PartitionChangeRecord]:
    """Records for those of the broker's partitions that lie in another directory than the image says; `directories`
    has the right ones (ReplicationControlManager.handleAssignReplicasToDirs, KIP-858)."""
    records = []
    if image.metadata_version < DIRECTORIES_FROM:
        return []
    for (name, index), directory_id in directories.items():
        topic = image.topics.get(name)
        partition = None if topic is None else topic.partitions.get(index)
        if topic is None or partition is None or broker_id not in partition.replicas:
            continue
        if partition.directory_of(broker_id) != directory_id:
            told = [partition.directory_of(replica) or DIRECTORY_UNASSIGNED for replica in partition.replicas]
            told[partition.replicas.index(broker_id)] = directory_id
            records.append(PartitionChangeRecord(topic_id=topic.id, partition_id=index, directories=told))
    return records


def config_records(resource_type: int, resource_name: str, configs: Mapping[str, str | None]) -> list[ConfigRecord]:
    """`configs` maps keys to values, or to None for a key that goes."""
    return [
        ConfigRecord(resource_type=resource_type, resource_name=resource_name, name=key, value=value)
        for key, value in configs.items()
    ]


def check_size(records: int) -> None:
    """Raises TooManyRecordsError."""
    if records > MAX_RECORDS_A_REQUEST:
        raise TooManyRecordsError(
            f"the request needs {records} metadata records or more, one may have {MAX_RECORDS_A_REQUEST}"
        )


def assigned_replicas(
    assignments: Mapping[int, Sequence[int]], *, first: int, brokers: Sequence[int], factor: int | None = None
) -> list[tuple[int, ...]]:
    """Checked replicas of the partitions from `first` on, in their order; `factor` of each, if there is one yet."""
    expected = range(first, first + len(assignments))
    for index, members in assignments.items():
        if not members:
            raise InvalidReplicaAssignmentError(f"partition {index} has no replicas")
        if len(set(members)) != len(members):
            raise InvalidReplicaAssignmentError(f"partition {index} names a broker twice: {list(members)}")
        unknown = [member for member in members if member not in brokers]
        if unknown:
            raise InvalidReplicaAssignmentError(f"partition {index} names unknown brokers: {unknown}")
        if factor is None:
            factor = len(members)
        if len(members) != factor:
            raise InvalidReplicaAssignmentError(
                f"partition {index} has {len(members)} replica(s), the others have {factor}"
            )
    missing = next((index for index in expected if index not in assignments), None)
    if missing is not None:
        raise InvalidReplicaAssignmentError(f"the partitions assigned do not run from {first}: {missing} is missing")
    return [tuple(assignments[index]) for index in expected]


def partition_record(topic_id: bytes, index: int, replicas: tuple[int, ...], placement: Placement) -> PartitionRecord:
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
        directories=[placement.directory_of(replica) for replica in replicas],
    )
