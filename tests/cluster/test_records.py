"""Each metadata record changes the image as Kafka's own replay does, and an image can be written as records."""

from collections.abc import Sequence

import pytest

from kstore.cluster.image import BROKER_RESOURCE, TOPIC_RESOURCE, ClusterImage, PartitionImage
from kstore.cluster.records import ImageBuilder, apply_messages, image_values, record_version
from kstore.errors import CorruptRecordError, InvalidRequestError
from kstore.protocol.messages import metadata_records as kinds
from kstore.protocol.messages.metadata_records import decode_record
from kstore.protocol.schema import Message

TOPIC_ID, OTHER_ID, DIRECTORY = bytes(range(16)), bytes(range(16, 32)), bytes(range(32, 48))
LEVEL = kinds.FeatureLevelRecord(name="metadata.version", feature_level=21)


def topic(name: str = "letters", topic_id: bytes = TOPIC_ID) -> kinds.TopicRecord:
    return kinds.TopicRecord(name=name, topic_id=topic_id)


def partition(index: int = 0, topic_id: bytes = TOPIC_ID, leader: int = 1) -> kinds.PartitionRecord:
    return kinds.PartitionRecord(
        partition_id=index,
        topic_id=topic_id,
        replicas=[1],
        isr=[1],
        leader=leader,
        leader_epoch=4,
        partition_epoch=7,
        directories=[DIRECTORY],
    )


def config(name: str, value: str | None, resource: str = "letters", type_: int = 2) -> kinds.ConfigRecord:
    return kinds.ConfigRecord(resource_type=type_, resource_name=resource, name=name, value=value)


def after(*messages: Message, image: ClusterImage | None = None) -> ClusterImage:
    return apply_messages(image or ClusterImage(), messages, offset=len(messages) - 1, epoch=3)


def test_a_topic_is_known_by_name_and_by_id() -> None:
    image = after(LEVEL, topic(), partition())
    assert image.topics["letters"].id == TOPIC_ID
    assert image.topic_names == {TOPIC_ID: "letters"}
    assert image.topics["letters"].partitions == {
        0: PartitionImage((1,), (1,), 1, leader_epoch=4, partition_epoch=7, directories=(DIRECTORY,))
    }
    assert (image.offset, image.epoch, image.metadata_version) == (2, 3, 21)


def test_the_image_before_stays_as_it_was() -> None:
    before = after(LEVEL, topic(), partition(), config("retention.ms", "5"))
    change = kinds.PartitionChangeRecord(topic_id=TOPIC_ID, partition_id=0, leader=-1)
    later = after(change, config("retention.ms", "6"), topic("more", OTHER_ID), image=before)
    assert before.topics["letters"].partitions[0].leader == 1
    assert before.topic_config("letters") == {"retention.ms": "5"}
    assert set(before.topics) == {"letters"}
    assert later.topics["letters"].partitions[0].leader == -1


def test_what_did_not_change_is_the_same_object() -> None:
    before = after(LEVEL, topic(), partition(), topic("more", OTHER_ID), config("retention.ms", "5"))
    change = kinds.PartitionChangeRecord(topic_id=TOPIC_ID, partition_id=0, leader=1)
    later = after(change, image=before)
    assert later.topics["more"] is before.topics["more"]
    assert later.topics["letters"] is not before.topics["letters"]
    assert later.configs is before.configs


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"leader": 1}, {"leader": 1, "leader_epoch": 5}),
        ({"leader": -1}, {"leader": -1, "leader_epoch": 5}),
        ({"isr": [1, 2]}, {"isr": (1, 2)}),
        ({"replicas": [1, 2], "adding_replicas": [2]}, {"replicas": (1, 2), "adding_replicas": (2,)}),
        ({"directories": [bytes(16)]}, {"directories": (bytes(16),)}),
        ({"leader_recovery_state": 1}, {"leader_recovery_state": 1}),
        ({"isr": [], "eligible_leader_replicas": [1]}, {"isr": (), "eligible_leader_replicas": (1,)}),
    ],
)
def test_a_partition_change_raises_the_partition_epoch_and_with_a_leader_the_leader_epoch(
    change: dict[str, object], expected: dict[str, object]
) -> None:
    level = kinds.FeatureLevelRecord(name="metadata.version", feature_level=30)
    before = after(level, topic(), partition())
    changed = after(kinds.PartitionChangeRecord(topic_id=TOPIC_ID, partition_id=0, **change), image=before)
    known = before.topics["letters"].partitions[0]
    assert changed.topics["letters"].partitions[0] == known._replace(partition_epoch=8, **expected)


def test_a_removed_topic_takes_its_configuration_with_it() -> None:
    image = after(
        LEVEL,
        topic(),
        partition(),
        config("retention.ms", "5"),
        config("retention.ms", "6", "more"),
        kinds.RemoveTopicRecord(topic_id=TOPIC_ID),
    )
    assert (image.topics, image.topic_names) == ({}, {})
    assert image.configs == {(TOPIC_RESOURCE, "more"): {"retention.ms": "6"}}


def test_a_topic_that_is_made_again_begins_anew() -> None:
    image = after(LEVEL, topic(), partition(), kinds.RemoveTopicRecord(topic_id=TOPIC_ID), topic(topic_id=OTHER_ID))
    assert image.topic_names == {OTHER_ID: "letters"}
    assert image.topics["letters"].partitions == {}


def test_configurations_are_set_and_unset_by_resource() -> None:
    image = after(
        config("a", "1"),
        config("b", "2"),
        config("a", None),
        config("c", "3", "", BROKER_RESOURCE),
        config("d", "4", "1", BROKER_RESOURCE),
        config("d", None, "1", BROKER_RESOURCE),
    )
    assert image.configs == {(TOPIC_RESOURCE, "letters"): {"b": "2"}, (BROKER_RESOURCE, ""): {"c": "3"}}


def test_features_and_producer_ids_are_kept() -> None:
    image = after(
        LEVEL,
        kinds.FeatureLevelRecord(name="group.version", feature_level=1),
        kinds.FeatureLevelRecord(name="group.version", feature_level=0),
        kinds.ProducerIdsRecord(broker_id=1, next_producer_id=3000),
    )
    assert image.features == {"metadata.version": 21}
    assert image.next_producer_id == 3000


def test_cleared_eligible_leaders_are_gone_from_one_topic_or_all() -> None:
    level = kinds.FeatureLevelRecord(name="metadata.version", feature_level=30)
    elr = [
        kinds.PartitionChangeRecord(topic_id=topic_id, partition_id=0, eligible_leader_replicas=[1])
        for topic_id in (TOPIC_ID, OTHER_ID)
    ]
    both = after(level, topic(), topic("more", OTHER_ID), partition(), partition(topic_id=OTHER_ID), *elr)
    one = after(kinds.ClearElrRecord(topic_name="more"), image=both)
    assert one.topics["letters"].partitions[0].eligible_leader_replicas == (1,)
    assert one.topics["more"].partitions[0].eligible_leader_replicas == ()
    none = after(kinds.ClearElrRecord(topic_name=""), image=both)
    assert none.topics["letters"].partitions[0].eligible_leader_replicas == ()


def test_an_ended_transaction_counts_and_an_aborted_or_open_one_does_not() -> None:
    begin = kinds.BeginTransactionRecord(name="boot")
    assert set(after(begin, topic(), kinds.EndTransactionRecord()).topics) == {"letters"}
    aborted = after(topic("more", OTHER_ID), begin, topic(), kinds.AbortTransactionRecord(reason="no"))
    assert set(aborted.topics) == {"more"}
    assert set(after(topic("more", OTHER_ID), begin, topic()).topics) == {"more"}
    assert set(after(begin, topic(), kinds.AbortTransactionRecord(), topic("more", OTHER_ID)).topics) == {"more"}


@pytest.mark.parametrize(
    "messages",
    [
        [LEVEL, partition()],
        [kinds.RemoveTopicRecord(topic_id=TOPIC_ID)],
        [kinds.PartitionChangeRecord(topic_id=TOPIC_ID, partition_id=0, leader=1)],
        [topic(), kinds.PartitionChangeRecord(topic_id=TOPIC_ID, partition_id=3, leader=1)],
        [kinds.EndTransactionRecord()],
        [kinds.AbortTransactionRecord()],
        [kinds.BeginTransactionRecord(), kinds.BeginTransactionRecord()],
        [kinds.ClearElrRecord(topic_name="letters")],
    ],
)
def test_a_record_about_what_is_not_there_is_damage(messages: Sequence[Message]) -> None:
    with pytest.raises(CorruptRecordError):
        after(*messages)


@pytest.mark.parametrize(("level", "version"), [(7, 0), (16, 0), (17, 1), (21, 1), (22, 1), (23, 2), (30, 2)])
def test_partitions_are_written_in_the_version_of_the_level(level: int, version: int) -> None:
    assert record_version(partition(), level) == version
    assert record_version(kinds.PartitionChangeRecord(), level) == version
    assert record_version(topic(), level) == 0


KEPT = [
    kinds.RegisterBrokerRecord(broker_id=1, broker_epoch=9),
    kinds.BrokerRegistrationChangeRecord(broker_id=1, broker_epoch=9, fenced=-1),
    kinds.RegisterControllerRecord(controller_id=1),
    kinds.AccessControlEntryRecord(id=TOPIC_ID, resource_name="letters", principal="User:me", host="*"),
    kinds.ClientQuotaRecord(
        entity=[kinds.ClientQuotaRecord.EntityData(entity_type="user", entity_name=None)], key="rate", value=5.0
    ),
    kinds.UserScramCredentialRecord(name="me", mechanism=1, salt=b"s", stored_key=b"k", server_key=b"v"),
    kinds.DelegationTokenRecord(owner="User:me", token_id="t"),
    kinds.ZkMigrationStateRecord(zk_migration_state=1),
]
REMOVALS = [
    kinds.UnregisterBrokerRecord(broker_id=1, broker_epoch=9),
    kinds.RemoveAccessControlEntryRecord(id=TOPIC_ID),
    kinds.ClientQuotaRecord(
        entity=[kinds.ClientQuotaRecord.EntityData(entity_type="user", entity_name=None)], key="rate", remove=True
    ),
    kinds.RemoveUserScramCredentialRecord(name="me", mechanism=1),
    kinds.RemoveDelegationTokenRecord(token_id="t"),
]


def replayed(image: ClusterImage) -> ClusterImage:
    builder = ImageBuilder(ClusterImage())
    for value in image_values(image):
        builder.apply(decode_record(value).message, value)
    return builder.build(offset=image.offset, epoch=image.epoch)


def test_every_record_type_of_kafka_has_an_effect_or_is_kept() -> None:
    for record_type, record in kinds.RECORD_TYPES.items():
        message = record()
        builder = ImageBuilder(after(LEVEL, topic(), partition()))
        try:
            builder.apply(message, kinds.encode_record(message, record.max_version))
        except CorruptRecordError:
            continue  # it speaks of something that is not there, so it was understood
        except KeyError:
            pytest.fail(f"{record.__name__} ({record_type}) is neither applied nor kept")


@pytest.mark.parametrize("level", [16, 21, 30])
def test_an_image_written_as_records_and_read_again_is_the_same(level: int) -> None:
    first = kinds.FeatureLevelRecord(name="metadata.version", feature_level=level)
    part = partition()
    image = after(
        first,
        kinds.FeatureLevelRecord(name="group.version", feature_level=1),
        topic(),
        part,
        config("retention.ms", "5"),
        config("max.connections", "5", "", BROKER_RESOURCE),
        kinds.ProducerIdsRecord(broker_id=1, next_producer_id=3000),
        *KEPT,
    )
    if level == 30:
        change = kinds.PartitionChangeRecord(topic_id=TOPIC_ID, partition_id=0, isr=[], last_known_elr=[1])
        image = apply_messages(image, [change], offset=image.offset, epoch=image.epoch)
    values = list(image_values(image))
    assert decode_record(values[0]).message == first
    assert replayed(image) == image
    assert len(image.kept) == 7
    assert len(image.kept["broker", 1]) == 2


def test_directories_are_left_out_below_the_level_that_has_them() -> None:
    old = kinds.FeatureLevelRecord(name="metadata.version", feature_level=16)
    assert after(old, topic(), partition()).topics["letters"].partitions[0].directories == ()
    assert after(LEVEL, topic(), partition()).topics["letters"].partitions[0].directories == (DIRECTORY,)


def test_text_that_no_record_can_hold_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="ConfigRecord"):
        after(config("retention.ms", "x" * 40_000))


def test_what_was_kept_is_let_go_when_it_is_removed_or_registered_anew() -> None:
    image = after(LEVEL, *KEPT)
    assert set(after(*REMOVALS, image=image).kept) == {("controller", 1), ("zookeeper migration",)}
    again = after(kinds.RegisterBrokerRecord(broker_id=1, broker_epoch=20), image=image)
    assert len(again.kept["broker", 1]) == 1
