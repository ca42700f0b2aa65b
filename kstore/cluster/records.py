"""Metadata records and the image: what each record changes, and the records that an image is made of.

Records that kstore has no use for are kept as they were written; a type that no Kafka up to 4.3 knows is
an error, for state would be lost with it. A change to a partition raises its partition epoch, one that
names a leader its leader epoch too (PartitionRegistration.merge). Records between BeginTransaction and
EndTransaction count together or, after AbortTransaction, not at all (KIP-868).
"""

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any, TypeAlias

from kstore.cluster.image import (
    METADATA_VERSION,
    TOPIC_RESOURCE,
    ClusterImage,
    PartitionImage,
    TopicImage,
)
from kstore.errors import CorruptRecordError, InvalidRequestError
from kstore.protocol.messages import metadata_records as kinds
from kstore.protocol.messages.metadata_records import encode_record
from kstore.protocol.schema import Message

# MetadataVersion.java: 3.9-IV0 is what both 3.9 and 4.x start on; 4.3-IV0 the newest whose records are known.
METADATA_VERSION_39 = 21
NEWEST_METADATA_VERSION = 30
DIRECTORIES_FROM = 17  # 3.7-IV2
ELIGIBLE_LEADERS_FROM = 23  # 4.0-IV1

NO_LEADER_CHANGE = -2
NO_RECOVERY_CHANGE = -1


def record_version(message: Message, metadata_version: int) -> int:
    """The version in which `message` is written at this level (MetadataVersion.partitionRecordVersion)."""
    if isinstance(message, kinds.PartitionRecord | kinds.PartitionChangeRecord):
        return (metadata_version >= DIRECTORIES_FROM) + (metadata_version >= ELIGIBLE_LEADERS_FROM)
    return 0


Effect: TypeAlias = "Callable[[ImageBuilder, Any, Any], None]"


def encode_at_level(message: Message, metadata_version: int) -> bytes:
    """The value of `message` at this level; directories that it has no room for are left out of `message`.

    Raises InvalidRequestError for text that no record can hold.
    """
    version = record_version(message, metadata_version)
    if version == 0 and isinstance(message, kinds.PartitionRecord):
        message.directories = []
    try:
        return encode_record(message, version)
    except OverflowError as error:
        raise InvalidRequestError(f"{type(message).__name__}: {error}") from error


class ImageBuilder:
    """The next image in the making. What it was made from stays as it was."""

    def __init__(self, image: ClusterImage) -> None:
        self._start(image)
        self._before_transaction: ClusterImage | None = None

    def _start(self, image: ClusterImage) -> None:
        self._base = image
        self._topics = dict(image.topics)
        self._topic_names = dict(image.topic_names)
        self._configs = dict(image.configs)
        self._features = dict(image.features)
        self._kept = dict(image.kept)
        self._next_producer_id = image.next_producer_id
        # Topics and configurations that this builder has made its own copies of.
        self._own_topics: dict[bytes, dict[int, PartitionImage]] = {}
        self._own_configs: dict[tuple[int, str], dict[str, str]] = {}
        self._configs_changed = False

    @property
    def in_transaction(self) -> bool:
        return self._before_transaction is not None

    @property
    def metadata_version(self) -> int:
        return self._features.get(METADATA_VERSION, 0)

    def build(self, *, offset: int, epoch: int) -> ClusterImage:
        """The image up to the record at `offset`. An open transaction counts for nothing yet."""
        if self._before_transaction is not None:
            return self._before_transaction._replace(offset=offset, epoch=epoch)
        return self._image()._replace(offset=offset, epoch=epoch)

    def _image(self) -> ClusterImage:
        base = self._base
        return ClusterImage(
            base.offset,
            base.epoch,
            self._topics,
            self._topic_names,
            # Whoever asks whether configurations changed compares identities.
            self._configs if self._configs_changed else base.configs,
            self._features,
            self._next_producer_id,
            self._kept,
        )

    def apply(self, message: Message, value: bytes | memoryview | None = None) -> None:
        """What `message` changes; `value` is how it was written, for those that are only kept.

        Raises CorruptRecordError when it speaks of something that is not there.
        """
        effect: Effect = APPLY.get(message.api_key, ImageBuilder._keep)
        effect(self, message, value)

    def _topic(self, message: Any, value: object) -> None:
        if message.name in self._topics:
            self._forget_topic(self._topics[message.name].id)
        partitions: dict[int, PartitionImage] = {}
        self._own_topics[message.topic_id] = partitions
        self._topics[message.name] = TopicImage(message.name, message.topic_id, partitions)
        self._topic_names[message.topic_id] = message.name

    def _remove_topic(self, message: Any, value: object) -> None:
        self._forget_topic(message.topic_id)

    def _forget_topic(self, topic_id: bytes) -> None:
        name = self._name_of(topic_id)
        del self._topic_names[topic_id], self._topics[name]
        self._own_topics.pop(topic_id, None)
        if self._configs.pop((TOPIC_RESOURCE, name), None) is not None:
            self._configs_changed = True
        self._own_configs.pop((TOPIC_RESOURCE, name), None)

    def _name_of(self, topic_id: bytes) -> str:
        name = self._topic_names.get(topic_id)
        if name is None:
            raise CorruptRecordError(f"topic id {topic_id.hex()} belongs to no topic")
        return name

    def _partitions(self, topic_id: bytes) -> dict[int, PartitionImage]:
        """The partitions of a topic, as a dictionary that nobody else has."""
        partitions = self._own_topics.get(topic_id)
        if partitions is None:
            name = self._name_of(topic_id)
            topic = self._topics[name]
            partitions = self._own_topics[topic_id] = dict(topic.partitions)
            self._topics[name] = TopicImage(name, topic_id, partitions)
        return partitions

    def _partition(self, message: Any, value: object) -> None:
        self._partitions(message.topic_id)[message.partition_id] = PartitionImage(
            replicas=tuple(message.replicas),
            isr=tuple(message.isr),
            leader=message.leader,
            leader_epoch=message.leader_epoch,
            partition_epoch=message.partition_epoch,
            directories=tuple(message.directories),
            adding_replicas=tuple(message.adding_replicas),
            removing_replicas=tuple(message.removing_replicas),
            leader_recovery_state=message.leader_recovery_state,
            eligible_leader_replicas=tuple(message.eligible_leader_replicas or ()),
            last_known_elr=tuple(message.last_known_elr or ()),
        )

    def _partition_change(self, message: Any, value: object) -> None:
        partitions = self._partitions(message.topic_id)
        before = partitions.get(message.partition_id)
        if before is None:
            name = self._topic_names[message.topic_id]
            raise CorruptRecordError(f"topic {name} has no partition {message.partition_id} to change")
        changed: dict[str, Any] = {"partition_epoch": before.partition_epoch + 1}
        if message.leader != NO_LEADER_CHANGE:
            changed |= {"leader": message.leader, "leader_epoch": before.leader_epoch + 1}
        if message.leader_recovery_state != NO_RECOVERY_CHANGE:
            changed["leader_recovery_state"] = message.leader_recovery_state
        for field in CHANGED_LISTS:
            if (members := getattr(message, field)) is not None:
                changed[field] = tuple(members)
        partitions[message.partition_id] = before._replace(**changed)

    def _config(self, message: Any, value: object) -> None:
        resource = (message.resource_type, message.resource_name)
        self._configs_changed = True
        config = self._own_configs.get(resource)
        if config is None:
            config = self._own_configs[resource] = dict(self._configs.get(resource, {}))
        if message.value is None:
            config.pop(message.name, None)
        else:
            config[message.name] = message.value
        if config:
            self._configs[resource] = config
        else:
            self._configs.pop(resource, None)

    def _feature(self, message: Any, value: object) -> None:
        if message.feature_level == 0:
            self._features.pop(message.name, None)
        else:
            self._features[message.name] = message.feature_level

    def _producer_ids(self, message: Any, value: object) -> None:
        self._next_producer_id = message.next_producer_id

    def _clear_elr(self, message: Any, value: object) -> None:
        names = [message.topic_name] if message.topic_name else list(self._topics)
        for name in names:
            if name not in self._topics:
                raise CorruptRecordError(f"there is no topic {name} to clear of eligible leaders")
            partitions = self._partitions(self._topics[name].id)
            for index, partition in partitions.items():
                partitions[index] = partition._replace(eligible_leader_replicas=(), last_known_elr=())

    def _begin(self, message: Any, value: object) -> None:
        if self._before_transaction is not None:
            raise CorruptRecordError("a metadata transaction begins inside another one")
        self._before_transaction = image = self._image()
        self._start(image)

    def _end(self, message: Any, value: object) -> None:
        if self._before_transaction is None:
            raise CorruptRecordError("a metadata transaction ends that never began")
        self._before_transaction = None

    def _abort(self, message: Any, value: object) -> None:
        if self._before_transaction is None:
            raise CorruptRecordError("a metadata transaction is aborted that never began")
        before, self._before_transaction = self._before_transaction, None
        self._start(before)

    def _nothing(self, message: Any, value: object) -> None:
        pass

    def _keep(self, message: Any, value: bytes | memoryview | None) -> None:
        """Keeps what belongs to an entity: its last state, or all changes since it was registered."""
        entity_of, effect = KEPT[message.api_key]
        entity = entity_of(message)
        if effect == REMOVES or (effect == REPLACES and getattr(message, "remove", False)):
            self._kept.pop(entity, None)
            return
        assert value is not None, f"{type(message).__name__} is only kept as it was written"
        before = self._kept.get(entity, ()) if effect == ADDS else ()
        self._kept[entity] = (*before, bytes(value))


CHANGED_LISTS = (
    "adding_replicas",
    "directories",
    "eligible_leader_replicas",
    "isr",
    "last_known_elr",
    "removing_replicas",
    "replicas",
)

APPLY: dict[int, Effect] = {
    kinds.TopicRecord.api_key: ImageBuilder._topic,
    kinds.RemoveTopicRecord.api_key: ImageBuilder._remove_topic,
    kinds.PartitionRecord.api_key: ImageBuilder._partition,
    kinds.PartitionChangeRecord.api_key: ImageBuilder._partition_change,
    kinds.ConfigRecord.api_key: ImageBuilder._config,
    kinds.FeatureLevelRecord.api_key: ImageBuilder._feature,
    kinds.ProducerIdsRecord.api_key: ImageBuilder._producer_ids,
    kinds.ClearElrRecord.api_key: ImageBuilder._clear_elr,
    kinds.BeginTransactionRecord.api_key: ImageBuilder._begin,
    kinds.EndTransactionRecord.api_key: ImageBuilder._end,
    kinds.AbortTransactionRecord.api_key: ImageBuilder._abort,
    kinds.NoOpRecord.api_key: ImageBuilder._nothing,
}

REPLACES, ADDS, REMOVES = range(3)

# Record type -> the entity that it is about, and what it does to what is kept of that.
KEPT: dict[int, tuple[Callable[[Any], tuple[Hashable, ...]], int]] = {
    kinds.RegisterBrokerRecord.api_key: (lambda record: ("broker", record.broker_id), REPLACES),
    kinds.UnregisterBrokerRecord.api_key: (lambda record: ("broker", record.broker_id), REMOVES),
    kinds.FenceBrokerRecord.api_key: (lambda record: ("broker", record.id), ADDS),
    kinds.UnfenceBrokerRecord.api_key: (lambda record: ("broker", record.id), ADDS),
    kinds.BrokerRegistrationChangeRecord.api_key: (lambda record: ("broker", record.broker_id), ADDS),
    kinds.RegisterControllerRecord.api_key: (lambda record: ("controller", record.controller_id), REPLACES),
    kinds.DelegationTokenRecord.api_key: (lambda record: ("token", record.token_id), REPLACES),
    kinds.RemoveDelegationTokenRecord.api_key: (lambda record: ("token", record.token_id), REMOVES),
    kinds.UserScramCredentialRecord.api_key: (
        lambda record: ("scram", record.name, record.mechanism),
        REPLACES,
    ),
    kinds.RemoveUserScramCredentialRecord.api_key: (
        lambda record: ("scram", record.name, record.mechanism),
        REMOVES,
    ),
    kinds.ClientQuotaRecord.api_key: (
        lambda record: (
            "quota",
            frozenset((part.entity_type, part.entity_name) for part in record.entity),
            record.key,
        ),
        REPLACES,
    ),
    kinds.AccessControlEntryRecord.api_key: (lambda record: ("acl", record.id), REPLACES),
    kinds.RemoveAccessControlEntryRecord.api_key: (lambda record: ("acl", record.id), REMOVES),
    kinds.ZkMigrationStateRecord.api_key: (lambda record: ("zookeeper migration",), REPLACES),
}


def image_values(image: ClusterImage) -> Iterator[bytes]:
    """The values of records that make `image` from nothing, in the order of Kafka's MetadataImage."""
    level = image.metadata_version
    for message in _image_messages(image):
        yield encode_at_level(message, level)
    for values in image.kept.values():
        yield from values


def _image_messages(image: ClusterImage) -> Iterator[Message]:
    # The level comes first: a reader needs it for all that follows.
    for name in sorted(image.features, key=lambda name: (name != METADATA_VERSION, name)):
        yield kinds.FeatureLevelRecord(name=name, feature_level=image.features[name])
    for topic in image.topics.values():
        yield kinds.TopicRecord(name=topic.name, topic_id=topic.id)
        for index, partition in topic.partitions.items():
            yield partition_record(topic.id, index, partition)
    for (resource_type, resource_name), config in image.configs.items():
        for name, value in config.items():
            yield kinds.ConfigRecord(resource_type=resource_type, resource_name=resource_name, name=name, value=value)
    if image.next_producer_id:
        yield kinds.ProducerIdsRecord(broker_id=-1, broker_epoch=-1, next_producer_id=image.next_producer_id)


def partition_record(topic_id: bytes, index: int, partition: PartitionImage) -> kinds.PartitionRecord:
    return kinds.PartitionRecord(
        partition_id=index,
        topic_id=topic_id,
        replicas=list(partition.replicas),
        isr=list(partition.isr),
        removing_replicas=list(partition.removing_replicas),
        adding_replicas=list(partition.adding_replicas),
        leader=partition.leader,
        leader_recovery_state=partition.leader_recovery_state,
        leader_epoch=partition.leader_epoch,
        partition_epoch=partition.partition_epoch,
        directories=list(partition.directories),
        eligible_leader_replicas=list(partition.eligible_leader_replicas) or None,
        last_known_elr=list(partition.last_known_elr) or None,
    )


def apply_messages(image: ClusterImage, messages: Iterable[Message], *, offset: int, epoch: int) -> ClusterImage:
    """The image after `messages`, the last of which stands at `offset`."""
    builder = ImageBuilder(image)
    for message in messages:
        builder.apply(message, encode_at_level(message, builder.metadata_version))
    return builder.build(offset=offset, epoch=epoch)
