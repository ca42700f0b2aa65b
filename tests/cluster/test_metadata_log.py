"""The metadata log keeps what was agreed on, through stops, crashes, snapshots and what Kafka left."""

import errno
import shutil
from pathlib import Path

import pytest

from kstore._native.builder import BatchBuilder
from kstore._native.records import FileRecords
from kstore.cluster import metadata_log
from kstore.cluster.bootstrap import Controller
from kstore.cluster.image import ClusterImage
from kstore.cluster.metadata_log import MetadataLog
from kstore.cluster.quorum_state import QuorumState, read_quorum_state, write_quorum_state
from kstore.cluster.snapshot import SnapshotId, find_snapshots
from kstore.errors import ConfigError, CorruptRecordError, KafkaStorageError, RecordListTooLargeError
from kstore.log.log_dir import LogDir
from kstore.model import uuid_from_text
from kstore.protocol.messages import metadata_records as kinds
from kstore.protocol.messages.control_records import VotersRecord, encode_control_record
from kstore.protocol.schema import Message
from tests.golden import golden as golden_files
from tests.golden.golden import KRAFT

NOW = 1_700_000_000_000
ME = Controller(1, bytes(range(16)))
LOG = f"{0:020}.log"


def start(root: Path, **options: int) -> MetadataLog:
    return MetadataLog.open(str(root), ME, now_ms=NOW, **options)


def write(metadata: MetadataLog, *messages: Message) -> ClusterImage:
    change = metadata.append(messages, now_ms=NOW)
    change.run()
    metadata.complete(change, now_ms=NOW)
    return metadata.image


def topic(number: int) -> list[Message]:
    topic_id = number.to_bytes(16, "big")
    return [
        kinds.TopicRecord(name=f"topic-{number}", topic_id=topic_id),
        kinds.PartitionRecord(
            partition_id=0,
            topic_id=topic_id,
            replicas=[1],
            isr=[1],
            leader=1,
            leader_epoch=0,
            partition_epoch=0,
            directories=[ME.directory_id],
        ),
    ]


def take_snapshot(metadata: MetadataLog) -> None:
    snapshot = metadata.begin_snapshot(now_ms=NOW)
    assert snapshot is not None
    snapshot.run()
    metadata.complete_snapshot(snapshot, now_ms=NOW)


def append_foreign(root: Path, *messages: Message, epoch: int = 1, control: bool = False) -> None:
    """A batch at the end of the log, from nobody kstore knows."""
    path = root / "__cluster_metadata-0" / LOG
    records = FileRecords(path, writable=True)
    end = max((batch.next_offset for batch in records.scan()), default=0)
    builder = BatchBuilder(base_offset=end, partition_leader_epoch=epoch, is_control=control)
    for message in messages:
        if control:
            builder.append(NOW, *encode_control_record(message))
        else:
            builder.append(NOW, None, kinds.encode_record(message, 0))
    records.append(builder.build())
    records.close()


def test_a_new_log_begins_at_the_level_of_39_with_this_node_as_its_voter(tmp_path: Path) -> None:
    metadata = start(tmp_path)
    assert metadata.image.features == {"metadata.version": 21}
    assert metadata.image.topics == {}
    directory = tmp_path / "__cluster_metadata-0"
    assert find_snapshots(str(directory)) == [SnapshotId(0, 0)]
    assert read_quorum_state(str(directory)) == QuorumState(1, 1, version=1)
    metadata.close(now_ms=NOW)


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "abandoned"])
def test_what_was_completed_is_there_at_the_next_start(tmp_path: Path, closed: bool) -> None:
    metadata = start(tmp_path)
    image = write(metadata, *topic(1), kinds.ProducerIdsRecord(broker_id=1, next_producer_id=1000))
    if closed:
        metadata.close(now_ms=NOW)
    assert start(tmp_path).image == image


def test_a_change_counts_only_when_it_is_complete(tmp_path: Path) -> None:
    metadata = start(tmp_path)
    change = metadata.append(topic(1), now_ms=NOW)
    assert metadata.image.topics == {}
    change.run()
    assert metadata.image.topics == {}
    metadata.complete(change, now_ms=NOW)
    assert set(metadata.image.topics) == {"topic-1"}


def test_every_start_that_writes_has_an_epoch_of_its_own(tmp_path: Path) -> None:
    epochs = []
    for number in range(3):
        metadata = start(tmp_path)
        write(metadata, *topic(number))
        epochs.append(metadata.image.epoch)
        metadata.close(now_ms=NOW)
        state = read_quorum_state(str(tmp_path / "__cluster_metadata-0"))
        assert state is not None
        assert state.leader_epoch == epochs[-1]
    assert epochs == [1, 2, 3]


def test_a_start_that_writes_nothing_changes_nothing(tmp_path: Path) -> None:
    metadata = start(tmp_path)
    write(metadata, *topic(1))
    metadata.close(now_ms=NOW)
    before = {file.name: file.read_bytes() for file in (tmp_path / "__cluster_metadata-0").iterdir()}
    start(tmp_path).close(now_ms=NOW)
    after = {file.name: file.read_bytes() for file in (tmp_path / "__cluster_metadata-0").iterdir()}
    assert {name: after[name] for name in (LOG, "quorum-state", "leader-epoch-checkpoint")} == {
        name: before[name] for name in (LOG, "quorum-state", "leader-epoch-checkpoint")
    }


def test_the_epoch_is_above_that_of_quorum_state_and_its_form_is_kept(tmp_path: Path) -> None:
    start(tmp_path).close(now_ms=NOW)
    directory = str(tmp_path / "__cluster_metadata-0")
    write_quorum_state(directory, QuorumState(41, 1, 0, (1,)))
    metadata = start(tmp_path)
    assert write(metadata, *topic(1)).epoch == 42
    assert read_quorum_state(directory) == QuorumState(42, 1, 0, (1,))


def test_a_torn_end_goes_and_what_lies_before_stays(tmp_path: Path) -> None:
    metadata = start(tmp_path)
    image = write(metadata, *topic(1))
    path = tmp_path / "__cluster_metadata-0" / LOG
    good = path.stat().st_size
    write(metadata, *topic(2))
    metadata.close(now_ms=NOW)
    whole = path.read_bytes()
    for size in (good + 1, good + 30, good + 70, len(whole) - 1):
        path.write_bytes(whole[:size])
        again = start(tmp_path)
        assert again.image.topics == image.topics
        again.close(now_ms=NOW)


@pytest.mark.parametrize("where", ["first batch", "before the last"])
def test_damage_with_good_batches_behind_it_stops_the_start_and_cuts_nothing(tmp_path: Path, where: str) -> None:
    metadata = start(tmp_path)
    path = tmp_path / "__cluster_metadata-0" / LOG
    position = 80 if where == "first batch" else path.stat().st_size + 80
    for number in range(2):
        write(metadata, *topic(number))
    metadata.close(now_ms=NOW)
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptRecordError, match=rf"{LOG} is damaged at position \d+"):
        start(tmp_path)
    assert path.read_bytes() == data


def test_a_snapshot_that_is_not_whole_stops_the_start(tmp_path: Path) -> None:
    metadata = start(tmp_path)
    write(metadata, *topic(1))
    take_snapshot(metadata)
    metadata.close(now_ms=NOW)
    newest = find_snapshots(str(tmp_path / "__cluster_metadata-0"))[-1]
    path = tmp_path / "__cluster_metadata-0" / newest.name
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CorruptRecordError, match=newest.name):
        start(tmp_path)


def test_snapshots_replace_the_log_and_the_one_before_the_last_stays(tmp_path: Path) -> None:
    metadata = start(tmp_path)
    for number in range(5):
        write(metadata, *topic(number))
        take_snapshot(metadata)
    image = write(metadata, *topic(9))
    metadata.close(now_ms=NOW)
    directory = tmp_path / "__cluster_metadata-0"
    assert len(find_snapshots(str(directory))) == 2
    assert not (directory / LOG).exists()
    again = start(tmp_path)
    assert again.image == image
    assert write(again, *topic(10)).offset > image.offset


def test_a_snapshot_is_due_after_its_bytes_and_not_twice(tmp_path: Path) -> None:
    metadata = start(tmp_path, snapshot_bytes=1000)
    numbers = iter(range(100))
    while not metadata.is_snapshot_due(now_ms=NOW):
        write(metadata, *topic(next(numbers)))
    snapshot = metadata.begin_snapshot(now_ms=NOW)
    assert snapshot is not None
    assert not metadata.is_snapshot_due(now_ms=NOW)
    assert metadata.begin_snapshot(now_ms=NOW) is None
    change = metadata.append(topic(500), now_ms=NOW)  # while the snapshot is on its way
    snapshot.run()
    metadata.complete_snapshot(snapshot, now_ms=NOW)
    change.run()
    metadata.complete(change, now_ms=NOW)
    image = metadata.image
    metadata.close(now_ms=NOW)
    assert start(tmp_path).image == image


def test_a_snapshot_that_finds_no_room_is_tried_again_later_and_not_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was tried, and told of, every second."""
    metadata = start(tmp_path, snapshot_bytes=1)
    write(metadata, *topic(1))

    def no_room(*_arguments: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(metadata_log, "write_snapshot", no_room)
        with pytest.raises(KafkaStorageError):
            take_snapshot(metadata)
    assert metadata.failure is None
    assert not metadata.is_snapshot_due(now_ms=NOW)
    assert not metadata.is_snapshot_due(now_ms=NOW + metadata_log.SNAPSHOT_RETRY_MS - 1)
    assert metadata.is_snapshot_due(now_ms=NOW + metadata_log.SNAPSHOT_RETRY_MS)
    take_snapshot(metadata)
    metadata.close(now_ms=NOW)


def test_an_unfinished_snapshot_is_removed(tmp_path: Path) -> None:
    start(tmp_path).close(now_ms=NOW)
    directory = tmp_path / "__cluster_metadata-0"
    for name in (f"{7:020}-{1:010}.checkpoint.part", f"{7:020}-{1:010}.checkpoint.deleted"):
        (directory / name).write_bytes(b"half")
    start(tmp_path).close(now_ms=NOW)
    assert not [name for name in directory.iterdir() if name.suffix in (".part", ".deleted")]


def test_an_open_transaction_is_aborted_before_the_next_record(tmp_path: Path) -> None:
    start(tmp_path).close(now_ms=NOW)
    append_foreign(tmp_path, kinds.BeginTransactionRecord(), kinds.TopicRecord(name="half", topic_id=bytes(16)))
    metadata = start(tmp_path)
    assert metadata.image.topics == {}
    write(metadata, *topic(1))
    write(metadata, *topic(2))
    metadata.close(now_ms=NOW)
    again = start(tmp_path)
    assert set(again.image.topics) == {"topic-1", "topic-2"}
    assert again.image == metadata.image


def test_an_unknown_record_stops_the_start_and_is_named(tmp_path: Path) -> None:
    start(tmp_path).close(now_ms=NOW)
    records = FileRecords(tmp_path / "__cluster_metadata-0" / LOG, writable=True)
    builder = BatchBuilder(base_offset=1, partition_leader_epoch=1)
    builder.append(NOW, None, b"\x01\x7f\x00")
    records.append(builder.build())
    records.close()
    with pytest.raises(Exception, match=r"offset 1: metadata record type 127 is unknown") as caught:
        start(tmp_path)
    assert "__cluster_metadata-0" in str(caught.value)


def test_a_newer_level_stops_the_start(tmp_path: Path) -> None:
    start(tmp_path).close(now_ms=NOW)
    append_foreign(tmp_path, kinds.FeatureLevelRecord(name="metadata.version", feature_level=31))
    with pytest.raises(ConfigError, match="31"):
        start(tmp_path)


def test_other_voters_in_the_log_stop_the_start(tmp_path: Path) -> None:
    start(tmp_path).close(now_ms=NOW)
    voters = [VotersRecord.Voter(voter_id=voter) for voter in (1, 2, 3)]
    append_foreign(tmp_path, VotersRecord(voters=voters), control=True)
    with pytest.raises(ConfigError, match=r"voters 1, 2, 3"):
        start(tmp_path)


def test_other_voters_in_quorum_state_stop_the_start(tmp_path: Path) -> None:
    start(tmp_path).close(now_ms=NOW)
    write_quorum_state(str(tmp_path / "__cluster_metadata-0"), QuorumState(1, 2, 0, (1, 2, 3)))
    with pytest.raises(ConfigError, match=r"voters 1, 2, 3"):
        start(tmp_path)


def test_a_log_that_begins_behind_its_snapshots_stops_the_start(tmp_path: Path) -> None:
    metadata = start(tmp_path)
    for number in range(3):
        write(metadata, *topic(number))
        take_snapshot(metadata)
    write(metadata, *topic(9))
    metadata.close(now_ms=NOW)
    directory = tmp_path / "__cluster_metadata-0"
    for snapshot in find_snapshots(str(directory)):
        (directory / snapshot.name).unlink()
    with pytest.raises(CorruptRecordError, match="its newest snapshot ends at 0"):
        start(tmp_path)


def test_a_snapshot_beyond_the_log_takes_its_place(tmp_path: Path) -> None:
    metadata = start(tmp_path)
    write(metadata, *topic(1))
    size = (tmp_path / "__cluster_metadata-0" / LOG).stat().st_size
    image = write(metadata, *topic(2))
    take_snapshot(metadata)
    metadata.close(now_ms=NOW)
    directory = tmp_path / "__cluster_metadata-0"
    for file in directory.glob("0*.log"):
        if file.name != LOG:
            file.unlink()
    with open(directory / LOG, "r+b") as file:
        file.truncate(size)
    again = start(tmp_path)
    assert again.image.topics == image.topics
    assert write(again, *topic(3)).offset == image.offset + 2


def test_a_change_that_is_too_large_is_refused_whole(tmp_path: Path) -> None:
    metadata = start(tmp_path)
    huge = [
        kinds.ConfigRecord(resource_type=2, resource_name="t", name=f"{number}", value="x" * 30_000)
        for number in range(300)
    ]
    with pytest.raises(RecordListTooLargeError):
        metadata.append(huge, now_ms=NOW)
    assert set(write(metadata, *topic(1)).topics) == {"topic-1"}


def test_a_failed_fsync_is_never_retried_and_takes_the_directory_offline(tmp_path: Path) -> None:
    log_dir = LogDir(str(tmp_path))
    metadata = MetadataLog.open(str(tmp_path), ME, now_ms=NOW, log_dir=log_dir)
    change = metadata.append(topic(1), now_ms=NOW)
    assert change.job is not None
    change.job.error = OSError(errno.EIO, "the disk is gone")
    with pytest.raises(KafkaStorageError):
        metadata.complete(change, now_ms=NOW)
    assert metadata.image.topics == {}
    assert log_dir.failure is not None
    with pytest.raises(KafkaStorageError):
        metadata.append(topic(2), now_ms=NOW)


def test_a_full_disk_refuses_the_change_and_the_next_one_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = start(tmp_path)
    write(metadata, *topic(1))

    def full(*arguments: object, **options: object) -> None:
        raise KafkaStorageError("No space left")

    with monkeypatch.context() as patch:
        patch.setattr(type(metadata._log), "begin_flush", full)
        with pytest.raises(KafkaStorageError):
            metadata.append(topic(2), now_ms=NOW)
    image = write(metadata, *topic(3))
    assert set(image.topics) == {"topic-1", "topic-3"}
    metadata.close(now_ms=NOW)
    assert start(tmp_path).image == image


@pytest.mark.parametrize("name", KRAFT)
def test_what_kafka_wrote_is_read_with_its_snapshot_and_goes_on_at_its_level(name: str, tmp_path: Path) -> None:
    golden = golden_files.golden(name)
    root = tmp_path / "data"
    shutil.copytree(golden.directory, root)
    metadata = MetadataLog.open(str(root), Controller(golden.node_id, bytes(16)), now_ms=NOW)
    image = metadata.image
    found = {(topic.name, index): topic.id for topic in image.topics.values() for index in topic.partitions}
    for key, partition in golden.partitions.items():
        assert found[key] == uuid_from_text(partition.topic_id)
    assert image.metadata_version == {"kafka-3.9.1": 21, "kafka-4.3.0": 30}[name]
    assert image.topic_config("append-time")["message.timestamp.type"] == "LogAppendTime"
    assert image.next_producer_id >= 1000
    assert ("broker", golden.node_id) in image.kept
    epoch = image.epoch
    after = write(metadata, *topic(1))
    assert after.epoch > epoch
    take_snapshot(metadata)
    metadata.close(now_ms=NOW)
    again = MetadataLog.open(str(root), Controller(golden.node_id, bytes(16)), now_ms=NOW)
    assert again.image == after


@pytest.mark.parametrize("name", KRAFT)
def test_kafkas_log_read_from_its_beginning_is_what_its_snapshot_and_the_rest_say(name: str, tmp_path: Path) -> None:
    images = []
    for keep in (True, False):
        root = tmp_path / str(keep)
        shutil.copytree(golden_files.golden(name).directory, root)
        directory = root / "__cluster_metadata-0"
        if not keep:
            for snapshot in find_snapshots(str(directory)):
                (directory / snapshot.name).unlink()
        metadata = MetadataLog.open(str(root), Controller(golden_files.golden(name).node_id, bytes(16)), now_ms=NOW)
        images.append(metadata.image)
        metadata.close(now_ms=NOW)
    assert images[0]._replace(kept={}) == images[1]._replace(kept={})
    assert images[0].kept.keys() == images[1].kept.keys()


@pytest.mark.parametrize("name", KRAFT)
def test_a_directory_that_kafka_only_formatted_begins_with_its_bootstrap_records(name: str, tmp_path: Path) -> None:
    golden = golden_files.golden(name)
    shutil.copy(golden.directory / "bootstrap.checkpoint", tmp_path)
    metadata = MetadataLog.open(str(tmp_path), Controller(golden.node_id, bytes(16)), now_ms=NOW)
    assert metadata.image.metadata_version == {"kafka-3.9.1": 21, "kafka-4.3.0": 30}[name]
    if name == "kafka-4.3.0":
        assert metadata.image.features["group.version"] == 1
