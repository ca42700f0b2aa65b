"""ListOffsets against a live broker."""

import shutil

import pytest

from kstore.protocol.messages.delete_records import DeleteRecordsRequest
from kstore.protocol.messages.list_offsets import ListOffsetsRequest
from tests.fix_broker import batch
from tests.golden.golden import golden

NONE, UNKNOWN_TOPIC, UNSUPPORTED_VERSION, INVALID_REQUEST = 0, 3, 35, 42
FENCED_EPOCH, UNKNOWN_EPOCH = 74, 75
LATEST, EARLIEST, MAX, EARLIEST_LOCAL, LATEST_TIERED, EARLIEST_PENDING = -1, -2, -3, -4, -5, -6
NOT_FOUND = (-1, -1)
VERSIONS = range(1, 10)
Wanted = ListOffsetsRequest.ListOffsetsPartition


def ask(client, topic, *parts, version=9, isolation_level=0):
    request = ListOffsetsRequest(
        replica_id=-1,
        isolation_level=isolation_level if version >= 2 else 0,
        topics=[ListOffsetsRequest.ListOffsetsTopic(name=topic, partitions=list(parts))],
    )
    (answer,) = client.ask(request, version).topics
    assert answer.name == topic
    return answer.partitions


def lookup(client, topic, timestamp, *, partition=0, epoch=-1, **options):
    wanted = Wanted(partition_index=partition, timestamp=timestamp, current_leader_epoch=epoch)
    (part,) = ask(client, topic, wanted, **options)
    return part


def found(client, topic, timestamp, **options):
    part = lookup(client, topic, timestamp, **options)
    assert part.error_code == NONE
    return part.timestamp, part.offset


@pytest.fixture(scope="module")
def times(broker):
    """Records with the timestamps 100, 300, 200, 300, 50."""
    with broker.connect() as client:
        client.create_topic("times", 2)
        for timestamp in (100, 300, 200, 300, 50):
            client.produce("times", batch(b"x", timestamp=timestamp))
    return "times"


@pytest.mark.parametrize("version", VERSIONS)
def test_start_and_end_are_told_in_every_version(client, times, version):
    assert found(client, times, LATEST, version=version) == (-1, 5)
    assert found(client, times, EARLIEST, version=version) == (-1, 0)
    if version >= 4:
        assert lookup(client, times, LATEST, version=version).leader_epoch == 0


@pytest.mark.parametrize(
    ("timestamp", "answer"),
    [(0, (100, 0)), (100, (100, 0)), (101, (300, 1)), (300, (300, 1)), (301, NOT_FOUND), (2**62, NOT_FOUND)],
)
def test_a_timestamp_is_looked_up(client, times, timestamp, answer):
    assert found(client, times, timestamp) == answer


def test_the_largest_timestamp_is_the_first_record_that_has_it(client, times):
    assert found(client, times, MAX) == (300, 1)


def test_without_tiers_the_local_start_is_the_start_and_nothing_is_tiered(client, times):
    assert found(client, times, EARLIEST_LOCAL) == (-1, 0)
    assert found(client, times, LATEST_TIERED) == NOT_FOUND


@pytest.mark.parametrize(
    ("timestamp", "first"), [(MAX, 7), (EARLIEST_LOCAL, 8), (LATEST_TIERED, 9), (EARLIEST_PENDING, 11), (-7, 99)]
)
def test_a_negative_timestamp_has_a_meaning_from_its_version_on(client, times, timestamp, first):
    for version in VERSIONS:
        code = lookup(client, times, timestamp, version=version).error_code
        assert code == (NONE if version >= first else UNSUPPORTED_VERSION), version


def test_an_empty_partition_has_a_start_and_an_end(client, times):
    for timestamp in (LATEST, EARLIEST, EARLIEST_LOCAL):
        assert found(client, times, timestamp, partition=1) == (-1, 0)
    for timestamp in (0, MAX, LATEST_TIERED):
        assert found(client, times, timestamp, partition=1) == NOT_FOUND


def test_unknown_partitions_are_told(client, times):
    for topic, partition in (("nobody", 0), (times, 2), (times, -1)):
        part = lookup(client, topic, LATEST, partition=partition)
        assert (part.error_code, part.offset) == (UNKNOWN_TOPIC, -1)


def test_a_partition_that_is_named_twice_is_refused_twice(client, times):
    wanted = [Wanted(partition_index=index, timestamp=LATEST) for index in (0, 1, 0)]
    codes = [(part.partition_index, part.error_code) for part in ask(client, times, *wanted)]
    assert codes == [(0, INVALID_REQUEST), (1, NONE), (0, INVALID_REQUEST)]


def test_another_belief_in_the_leader_is_told(client, times):
    assert lookup(client, times, LATEST, epoch=0).error_code == NONE
    assert lookup(client, times, LATEST, epoch=7).error_code == UNKNOWN_EPOCH
    assert lookup(client, times, LATEST_TIERED, epoch=7).error_code == UNKNOWN_EPOCH


def test_deleted_records_are_not_found(client):
    client.create_topic("shortened")
    for timestamp in (100, 200, 300):
        client.produce("shortened", batch(b"x", timestamp=timestamp))
    part = DeleteRecordsRequest.DeleteRecordsPartition(partition_index=0, offset=2)
    topic = DeleteRecordsRequest.DeleteRecordsTopic(name="shortened", partitions=[part])
    client.ask(DeleteRecordsRequest(topics=[topic]), 2)
    assert found(client, "shortened", EARLIEST) == (-1, 2)
    assert found(client, "shortened", 0) == (300, 2)


def test_what_is_not_committed_is_not_told(broker, client):
    client.create_topic("uncommitted")
    client.produce("uncommitted", batch(b"a", timestamp=100))

    def change(app):
        leader = app.context.replicas.get("uncommitted", 0).leader
        leader.replicas, leader.isr, leader.remote_end_offsets = (1, 2), frozenset({1, 2}), {2: 1}

    broker.call(change)
    client.produce("uncommitted", batch(b"b", timestamp=200), acks=1)
    assert found(client, "uncommitted", LATEST) == (-1, 1)
    assert found(client, "uncommitted", 150) == NOT_FOUND


@pytest.mark.parametrize("name", ["kafka-3.9.1", "kafka-4.3.0"])
def test_an_open_transaction_holds_back_the_end_for_read_committed(start_broker, tmp_path, name):
    made = golden(name)
    shutil.copytree(made.directory, tmp_path / "theirs")
    client = start_broker(tmp_path / "theirs").connect()
    partition = made.partitions["transactions", 0]
    assert partition.last_stable_offset < partition.log_end_offset
    assert found(client, "transactions", LATEST) == (-1, partition.log_end_offset)
    assert found(client, "transactions", LATEST, isolation_level=1) == (-1, partition.last_stable_offset)


def test_timestamps_are_found_in_every_golden_partition(start_broker, tmp_path):
    made = golden("kafka-3.9.1")
    shutil.copytree(made.directory, tmp_path / "theirs")
    client = start_broker(tmp_path / "theirs").connect()
    for (topic, index), partition in made.partitions.items():
        if topic.startswith("__"):
            continue
        # Two records of each partition, by their own timestamps: the first that is not older.
        for record in (partition.records[:1] + partition.records[-1:]) if partition.records else []:
            first = next(each for each in partition.records if each.timestamp >= record.timestamp)
            part = lookup(client, topic, record.timestamp, partition=index)
            assert (part.error_code, part.timestamp) == (NONE, first.timestamp), (topic, index)
