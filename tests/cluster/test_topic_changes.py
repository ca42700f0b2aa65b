"""Decisions about topics: what Kafka accepts makes records, what it refuses has Kafka's error."""

from collections import Counter

import pytest

from kstore.cluster.image import ClusterImage, PartitionImage, TopicImage
from kstore.cluster.topic_changes import (
    Counts,
    Placement,
    Room,
    TooManyRecordsError,
    TopicCreation,
    delete_topics,
    grow_topic,
)
from kstore.errors import (
    InvalidPartitionsError,
    InvalidReplicaAssignmentError,
    InvalidReplicationFactorError,
    InvalidRequestError,
    InvalidTopicError,
    PolicyViolationError,
    TopicAlreadyExistsError,
)
from kstore.protocol.messages.metadata_records import PartitionRecord

DIRECTORY = bytes(range(16))
DEFAULTS = Counts(3, 1)


def placement(*brokers):
    return Placement(brokers or (1,), lambda broker: DIRECTORY)


def creation(*known, brokers=(1,)):
    topics = {name: topic(name) for name in known}
    return TopicCreation(ClusterImage(topics=topics), placement(*brokers), DEFAULTS)


def topic(name, partitions=1, replicas=(1,)):
    image = PartitionImage(replicas, replicas, replicas[0], 0, 0, (DIRECTORY,) * len(replicas))
    return TopicImage(name, name.encode().ljust(16, b"\0"), dict.fromkeys(range(partitions), image))


def add(made, name="t", counts=Counts(), assignments=None, configs=None):  # noqa: B008 - a value
    made.check_name(name)
    return made.add(name, counts, assignments=assignments or {}, configs=configs or {})


def kinds(records):
    return Counter(type(record).__name__ for record in records)


def test_a_topic_is_its_record_its_configuration_and_its_partitions():
    made = creation()
    created = add(made, counts=Counts(2, 1), configs={"retention.ms": "1", "segment.ms": "2"})
    names = [type(record).__name__ for record in made.records]
    # Kafka reads the configuration between the topic and its partitions.
    assert names == ["TopicRecord", "ConfigRecord", "ConfigRecord", "PartitionRecord", "PartitionRecord"]
    assert (created.partitions, created.replication_factor) == (2, 1)
    partition = made.records[-1]
    assert (partition.partition_id, partition.topic_id) == (1, created.topic_id)
    assert (partition.replicas, partition.isr, partition.leader) == ([1], [1], 1)
    assert (partition.leader_epoch, partition.partition_epoch) == (0, 0)
    assert partition.directories == [DIRECTORY]


def test_minus_one_asks_for_the_defaults():
    created = add(creation())
    assert (created.partitions, created.replication_factor) == (3, 1)


@pytest.mark.parametrize("count", [0, -2, -(2**31)])
def test_a_topic_has_at_least_one_partition(count):
    with pytest.raises(InvalidPartitionsError):
        add(creation(), counts=Counts(count, 1))


@pytest.mark.parametrize("factor", [0, -2, -(2**15)])
def test_a_partition_has_at_least_one_replica(factor):
    with pytest.raises(InvalidReplicationFactorError):
        add(creation(), counts=Counts(1, factor))


def test_a_wrong_replication_factor_is_named_before_a_wrong_number_of_partitions():
    with pytest.raises(InvalidReplicationFactorError):
        add(creation(), counts=Counts(0, 0))


def test_more_replicas_than_brokers_are_refused():
    with pytest.raises(InvalidReplicationFactorError, match="there are 1"):
        add(creation(), counts=Counts(1, 2))


def test_replicas_go_round_the_brokers():
    made = creation(brokers=(1, 2, 3))
    add(made, counts=Counts(4, 2))
    assert [record.replicas for record in made.records[1:]] == [[1, 2], [2, 3], [3, 1], [1, 3]]


def test_an_existing_name_is_refused():
    with pytest.raises(TopicAlreadyExistsError):
        add(creation("t"))


def test_a_name_given_earlier_in_the_request_is_taken():
    made = creation("a.b")
    add(made, "x.y")
    with pytest.raises(TopicAlreadyExistsError):
        add(made, "x.y")
    # Only topics that are there collide, as in Kafka.
    add(made, "x_y")
    with pytest.raises(InvalidTopicError, match=r"a\.b"):
        add(made, "a_b")


@pytest.mark.parametrize("name", ["", "..", "a/b", "a" * 250, "__cluster_metadata"])
def test_an_illegal_name_is_refused(name):
    with pytest.raises(InvalidTopicError):
        add(creation(), name)


def test_a_refused_topic_leaves_nothing_behind():
    made = creation()
    with pytest.raises(InvalidReplicationFactorError):
        add(made, "t", Counts(1, 7))
    assert made.records == []
    add(made, "t")


@pytest.mark.parametrize("counts", [Counts(1, -1), Counts(-1, 1), Counts(1, 1)])
def test_counts_and_assignments_exclude_each_other(counts):
    with pytest.raises(InvalidRequestError):
        add(creation(), counts=counts, assignments={0: [1]})


def test_assignments_are_taken_in_the_order_of_partitions():
    made = creation(brokers=(1, 2))
    created = add(made, assignments={1: [2, 1], 0: [1, 2]})
    assert [(r.partition_id, r.replicas, r.leader) for r in made.records[1:]] == [(0, [1, 2], 1), (1, [2, 1], 2)]
    assert (created.partitions, created.replication_factor) == (2, 2)


@pytest.mark.parametrize(
    "assignments",
    [
        {0: [1], 2: [1]},
        {1: [1]},
        {-1: [1], 0: [1]},
        {0: []},
        {0: [1, 1]},
        {0: [9]},
        {0: [-1]},
        {0: [1, 2], 1: [1]},
    ],
    ids=["gap", "not from 0", "negative", "empty", "twice", "unknown", "negative broker", "unequal"],
)
def test_assignments_that_make_no_sense_are_refused(assignments):
    with pytest.raises(InvalidReplicaAssignmentError):
        add(creation(brokers=(1, 2)), assignments=assignments)


def test_a_request_has_a_most_of_records_however_they_are_spread():
    made = creation()
    for index in range(9):
        add(made, f"t{index}", Counts(1000, 1))
    with pytest.raises(TooManyRecordsError):
        add(made, "one.too.many", Counts(1000, 1))


@pytest.mark.parametrize("count", [10_000, 2**31 - 1])
def test_a_count_beyond_all_reason_is_refused_before_it_costs_anything(count):
    with pytest.raises(TooManyRecordsError):
        add(creation(), counts=Counts(count, 1))


def test_a_topic_grows_by_what_it_lacks():
    records = grow_topic(topic("t", 2), count=4, assignments=None, placement=placement())
    assert [record.partition_id for record in records] == [2, 3]
    assert {record.topic_id for record in records} == {topic("t").id}
    assert [(record.leader, record.leader_epoch) for record in records] == [(1, 0), (1, 0)]


@pytest.mark.parametrize("count", [2, 1, 0, -1, -(2**31)])
def test_a_topic_only_grows(count):
    with pytest.raises(InvalidPartitionsError):
        grow_topic(topic("t", 2), count=count, assignments=None, placement=placement())


def test_new_partitions_have_as_many_replicas_as_the_old_ones():
    grown = grow_topic(topic("t", 1, (1, 2)), count=2, assignments=None, placement=placement(1, 2, 3))
    assert grown[0].replicas == [2, 3]


def test_new_partitions_may_be_assigned():
    grown = grow_topic(topic("t", 1), count=3, assignments=[[2], [1]], placement=placement(1, 2))
    assert [(record.partition_id, record.replicas) for record in grown] == [(1, [2]), (2, [1])]


@pytest.mark.parametrize(
    "assignments",
    [[], [[1]], [[1], [1], [1]], [[1], []], [[1], [1, 2]], [[1, 2], [2, 1]], [[1], [9]], [[1], [1, 1]]],
)
def test_assignments_of_new_partitions_are_checked(assignments):
    with pytest.raises(InvalidReplicaAssignmentError):
        grow_topic(topic("t", 1), count=3, assignments=assignments, placement=placement(1, 2))


def test_a_topic_that_lacks_a_partition_does_not_grow():
    """As a script may have written it: its number of partitions is not that of the next one."""
    known = topic("t", 3)
    odd = known._replace(partitions={index: found for index, found in known.partitions.items() if index})
    with pytest.raises(InvalidPartitionsError, match=r"\[1, 2\]"):
        grow_topic(odd, count=4, assignments=None, placement=placement())


def test_growth_beyond_all_reason_is_refused():
    with pytest.raises(TooManyRecordsError):
        grow_topic(topic("t"), count=2**31 - 1, assignments=None, placement=placement())


def test_deleted_topics_are_named_by_id():
    doomed = [topic("a"), topic("b")]
    records = delete_topics(doomed)
    assert kinds(records) == {"RemoveTopicRecord": 2}
    assert [record.topic_id for record in records] == [each.id for each in doomed]


def test_partitions_of_one_request_share_the_room_that_there_is():
    little = placement()._replace(room=Room(5))
    creation = TopicCreation(ClusterImage(), little, Counts(1, 1))
    creation.add("a", Counts(3), assignments={}, configs={})
    with pytest.raises(PolicyViolationError, match="file descriptors for 2"):
        creation.add("b", Counts(3), assignments={}, configs={})
    creation.add("c", Counts(), assignments={0: [1], 1: [1]}, configs={})
    with pytest.raises(PolicyViolationError):
        grow_topic(topic("t", 1), count=2, assignments=None, placement=little)
    assert len([record for record in creation.records if isinstance(record, PartitionRecord)]) == 5
