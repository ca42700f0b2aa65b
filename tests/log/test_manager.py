"""The logs of a broker. The cases are those of Kafka's LogManagerTest."""

import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kstore.errors import ConfigError, InconsistentTopicIdError, KafkaStorageError
from kstore.log import offset_checkpoint
from kstore.log.checkpoint_file import read_offsets, write_offsets
from kstore.log.config import LogConfig
from kstore.log.directory import DiskDirectory
from kstore.log.flush import FlushJob
from kstore.log.manager import LogManager
from kstore.log.meta_properties import MetaProperties, parse_properties, read_meta_properties
from kstore.log.partition_log import PartitionLog
from kstore.log.work import CheckpointWork
from kstore.model import TopicPartition
from tests.log.build import NOW, append, batch, batches_of, fill, offsets_of

MakeManager = Callable[..., LogManager]

TP = TopicPartition("topic", 0)
SIZE = len(batch())
MINUTE = 60_000


@pytest.fixture
def managers() -> Iterator[MakeManager]:
    """Makes managers, and lets their directories go at the end."""
    made: list[LogManager] = []

    def make(*dirs: Path, load: bool = True, **arguments: object) -> LogManager:
        manager = LogManager([str(path) for path in dirs], **arguments)  # type: ignore[arg-type]
        made.append(manager)
        if load:
            manager.load_all(NOW)
        return manager

    yield make
    for manager in made:
        manager.close_handles()


def create(manager: LogManager, partition: int = 0, **config: object) -> PartitionLog:
    return manager.get_or_create(
        TopicPartition("topic", partition),
        config=LogConfig(**config),  # type: ignore[arg-type]
        now_ms=NOW,
    )


def loaded(managers: MakeManager, path: Path) -> PartitionLog:
    log = managers(path).get(TP)
    assert log is not None
    return log


# --- directories ---


def test_directories_are_made_and_locked(tmp_path: Path, managers: MakeManager) -> None:
    managers(tmp_path / "a" / "b", tmp_path / "c")
    assert (tmp_path / "a" / "b" / ".lock").exists()
    with pytest.raises(ConfigError, match="this process uses"):
        LogManager([str(tmp_path / "c")])


def test_other_process_is_kept_out_as_kafka_does_it(tmp_path: Path, managers: MakeManager) -> None:
    managers(tmp_path)
    attempt = (
        "import fcntl, sys\n"
        "file = open(sys.argv[1], 'r+')\n"
        "try: fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "except OSError: sys.exit(7)\n"
    )
    assert subprocess.run([sys.executable, "-c", attempt, str(tmp_path / ".lock")], check=False).returncode == 7


def test_lock_is_free_again_after_close(tmp_path: Path, managers: MakeManager) -> None:
    managers(tmp_path).close(NOW)
    managers(tmp_path)


def test_directory_that_is_listed_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    for twin in (str(tmp_path), f"{tmp_path}/", f"{tmp_path}/x/..", str(tmp_path / "link")):
        with pytest.raises(ConfigError, match="twice"):
            LogManager([str(tmp_path), twin])
    LogManager([str(tmp_path)]).close_handles()


def test_directory_that_cannot_be_made_is_offline_and_the_others_serve(tmp_path: Path, managers: MakeManager) -> None:
    (tmp_path / "file").write_bytes(b"")
    manager = managers(tmp_path / "file" / "dir", tmp_path / "good")
    assert [d.path for d in manager.live_dirs] == [str(tmp_path / "good")]
    assert manager.take_failed_dirs() == {str(tmp_path / "file" / "dir"): []}
    assert create(manager).log_dir.path == str(tmp_path / "good")


def test_no_usable_directory_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match="none of the log directories"):
        LogManager([str(tmp_path / "file" / "dir")])


def test_owner_is_written_as_kafka_reads_it_and_kept(tmp_path: Path, managers: MakeManager) -> None:
    manager = managers(tmp_path)
    manager.write_owner("Zm9vYmFyYmF6cXV4MTIzNA", 3)
    found = read_meta_properties(str(tmp_path))
    assert found is not None
    assert found[:2] == ("Zm9vYmFyYmF6cXV4MTIzNA", 3)
    lines = (tmp_path / "meta.properties").read_text().splitlines()
    assert "version=1" in lines
    assert "node.id=3" in lines
    manager.close(NOW)
    again = managers(tmp_path)
    assert (again.cluster_id, again.node_id) == ("Zm9vYmFyYmF6cXV4MTIzNA", 3)
    again.write_owner("Zm9vYmFyYmF6cXV4MTIzNA", 3)
    assert read_meta_properties(str(tmp_path)) == found


def test_directory_of_another_cluster_or_node_is_refused(tmp_path: Path, managers: MakeManager) -> None:
    manager = managers(tmp_path)
    manager.write_owner("cluster-a", 3)
    manager.close(NOW)
    with pytest.raises(ConfigError, match="cluster"):
        LogManager([str(tmp_path)], cluster_id="cluster-b")
    with pytest.raises(ConfigError, match="node"):
        LogManager([str(tmp_path)], node_id=4)


def test_meta_properties_of_kafka_are_read(tmp_path: Path) -> None:
    path = tmp_path / "meta.properties"
    path.write_text("#\n#Mon Jan 01 00:00:00 UTC 2024\nbroker.id=7\nversion=0\ncluster.id=abc\\:d\n")
    assert read_meta_properties(str(tmp_path)) == MetaProperties("abc:d", 7, None, 0)
    path.write_text("version=1\ncluster.id=x\nnode.id=1\ndirectory.id=AAECAwQFBgcICQoLDA0ODw\n")
    assert read_meta_properties(str(tmp_path)) == MetaProperties("x", 1, bytes(range(16)), 1)
    assert parse_properties("! c\n k = v=w \n\nx\\=y : z\n") == {"k": "v=w", "x=y": "z"}


@pytest.mark.parametrize("text", ["", "version=2\n", "version=1\nnode.id=1\n", "version=1\ncluster.id=x\nnode.id=a\n"])
def test_meta_properties_that_cannot_be_understood_stop_the_start(tmp_path: Path, text: str) -> None:
    (tmp_path / "meta.properties").write_text(text)
    with pytest.raises(ConfigError, match=r"meta\.properties"):
        LogManager([str(tmp_path)])


# --- partitions ---


def test_partition_is_made_once_and_found(tmp_path: Path, managers: MakeManager) -> None:
    manager = managers(tmp_path)
    assert manager.get(TP) is None
    log = create(manager)
    assert (tmp_path / "topic-0" / "00000000000000000000.log").exists()
    assert create(manager) is log
    assert manager.get(TP) is log


def test_topic_ids_are_held_against_each_other(tmp_path: Path, managers: MakeManager) -> None:
    manager = managers(tmp_path)
    manager.get_or_create(TP, topic_id=bytes(16), now_ms=NOW)
    manager.get_or_create(TP, topic_id=bytes(16), now_ms=NOW)
    with pytest.raises(InconsistentTopicIdError):
        manager.get_or_create(TP, topic_id=bytes(range(16)), now_ms=NOW)


def test_new_partitions_go_where_there_are_fewest(tmp_path: Path, managers: MakeManager) -> None:
    manager = managers(*(tmp_path / name for name in "abc"))
    for number in range(20):
        create(manager, number)
        counts = [len(manager.logs_in(log_dir)) for log_dir in manager.dirs]
        assert max(counts) - min(counts) <= 1


def test_partition_is_made_elsewhere_when_a_directory_fails(tmp_path: Path, managers: MakeManager) -> None:
    manager = managers(tmp_path / "a", tmp_path / "b")
    (tmp_path / "a" / "topic-0").write_bytes(b"in the way")
    log = create(manager)
    assert log.log_dir.path == str(tmp_path / "b")
    assert list(manager.take_failed_dirs()) == [str(tmp_path / "a")]
    assert manager.take_failed_dirs() == {}


def test_partition_that_found_no_room_leaves_nothing_behind(
    tmp_path: Path, managers: MakeManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = managers(tmp_path / "a", tmp_path / "b")
    full = str(tmp_path / "a" / "topic-0" / "00000000000000000000.log")
    open_records = DiskDirectory.open_records

    def without_room(directory: DiskDirectory, name: str, **arguments: object) -> object:
        if os.path.join(directory.path, name) == full:
            raise OSError(errno.ENOSPC, "no room", full)
        return open_records(directory, name, **arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(DiskDirectory, "open_records", without_room)
    log = create(manager)
    fill(log, 1)
    assert log.log_dir.path == str(tmp_path / "b")
    assert not os.path.exists(tmp_path / "a" / "topic-0")
    manager.close(NOW)
    again = managers(tmp_path / "a", tmp_path / "b")
    assert again.logs[TP].log_end_offset == 1
    assert not again.offline


def test_partition_that_may_be_on_a_failed_directory_is_not_begun_anew(tmp_path: Path, managers: MakeManager) -> None:
    manager = managers(tmp_path / "a", tmp_path / "b")
    manager.dirs[0].fail("testing", OSError(errno.EIO, "broken"))
    with pytest.raises(KafkaStorageError):
        manager.get_or_create(TP, is_new=False, now_ms=NOW)
    manager.get_or_create(TP, is_new=True, now_ms=NOW)


def test_failed_directory_takes_its_partitions_along_and_no_others(tmp_path: Path, managers: MakeManager) -> None:
    manager = managers(tmp_path / "a", tmp_path / "b")
    logs = [create(manager, number) for number in range(4)]
    for log in logs:
        fill(log, 1)
    failed = logs[0].log_dir
    failed.fail("testing", OSError(errno.EIO, "broken"))
    gone = [log.topic_partition for log in logs if log.log_dir is failed]
    assert manager.take_failed_dirs() == {failed.path: gone}
    for log in logs:
        if log.topic_partition in gone:
            assert manager.get(log.topic_partition) is None
            with pytest.raises(KafkaStorageError):
                append(log, batch())
            with pytest.raises(KafkaStorageError):
                manager.get_or_create(log.topic_partition, now_ms=NOW)
        else:
            append(log, batch())
    manager.close(NOW)
    assert not os.path.exists(f"{failed.path}/.kafka_cleanshutdown")
    assert (tmp_path / "b" / ".kafka_cleanshutdown").exists()


def test_deleted_partition_is_gone_at_once_and_its_files_later(tmp_path: Path, managers: MakeManager) -> None:
    manager = managers(tmp_path, default_config=LogConfig(file_delete_delay_ms=5000))
    fill(create(manager, file_delete_delay_ms=1), 3)
    assert manager.delete(TP, now_ms=NOW)
    assert manager.get(TP) is None
    assert not manager.delete(TP, now_ms=NOW)
    (left,) = [path for path in tmp_path.iterdir() if path.is_dir()]
    assert left.name.endswith("-delete")
    manager.run_due(NOW + 4999)
    assert left.exists()
    manager.run_due(NOW + 5000)
    assert not left.exists()
    assert create(manager).log_end_offset == 0


def test_name_of_a_deleted_directory_fits_whatever_the_topics_length(tmp_path: Path, managers: MakeManager) -> None:
    manager = managers(tmp_path)
    long = TopicPartition("t" * 249, 0)
    manager.get_or_create(long, now_ms=NOW)
    assert manager.delete(long, now_ms=NOW)
    (left,) = [path for path in tmp_path.iterdir() if path.is_dir()]
    assert len(left.name) == 255


# --- start and stop ---


def test_logs_are_found_again_after_an_orderly_stop(tmp_path: Path, managers: MakeManager) -> None:
    manager = managers(tmp_path / "a", tmp_path / "b", broker_epoch=12)
    for number in range(4):
        fill(create(manager, number), number + 1)
    manager.close(NOW)
    assert (tmp_path / "a" / ".kafka_cleanshutdown").read_bytes() == b'{"version":0,"brokerEpoch":12}'
    again = managers(tmp_path / "a", tmp_path / "b")
    assert again.unclean_dirs == []
    assert not (tmp_path / "a" / ".kafka_cleanshutdown").exists()
    assert {tp.partition: log.log_end_offset for tp, log in again.logs.items()} == {0: 1, 1: 2, 2: 3, 3: 4}
    assert all(log.high_watermark == log.log_end_offset for log in again.logs.values())
    assert not any(log.recovered_from_crash for log in again.logs.values())


def test_killed_broker_is_recovered_and_said_to_be_killed(tmp_path: Path, managers: MakeManager) -> None:
    manager = managers(tmp_path)
    for number in range(9):
        fill(create(manager, number), 5)
    manager.close_handles()
    again = managers(tmp_path, recovery_threads=4)
    assert [d.path for d in again.unclean_dirs] == [str(tmp_path)]
    assert len(again.logs) == 9
    for log in again.logs.values():
        assert log.recovered_from_crash
        assert offsets_of(batches_of(log)) == [0, 1, 2, 3, 4]


def test_crash_while_loading_is_a_crash(tmp_path: Path, managers: MakeManager) -> None:
    manager = managers(tmp_path)
    fill(create(manager), 1)
    manager.close(NOW)
    managers(tmp_path).close_handles()
    assert managers(tmp_path).unclean_dirs


def test_stop_that_fails_is_no_orderly_stop(tmp_path: Path, managers: MakeManager) -> None:
    manager = managers(tmp_path)
    log = create(manager)
    fill(log, 1)
    job = log.begin_flush()
    assert job is not None
    job.error = OSError(errno.EIO, "broken")
    with pytest.raises(KafkaStorageError):
        log.complete_flush(job, now_ms=NOW)
    manager.close(NOW)
    assert not (tmp_path / ".kafka_cleanshutdown").exists()


def test_log_that_cannot_be_closed_leaves_its_directory_unclean(
    tmp_path: Path, managers: MakeManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = managers(tmp_path / "a", tmp_path / "b")
    logs = [create(manager, number) for number in range(2)]
    full = OSError(errno.ENOSPC, "no room")

    def begin_close(log: PartitionLog) -> FlushJob | None:
        if log is logs[0]:
            raise log.log_dir.io_error("closing", full)
        return log.begin_flush(closing=True)

    def close(log: PartitionLog) -> None:
        if log is logs[0]:
            raise full

    monkeypatch.setattr(PartitionLog, "begin_close", begin_close)
    monkeypatch.setattr(PartitionLog, "close", close)
    manager.close(NOW)
    marked = {log.log_dir.path: Path(log.log_dir.path, ".kafka_cleanshutdown").exists() for log in logs}
    assert marked == {logs[0].log_dir.path: False, logs[1].log_dir.path: True}
    assert manager.logs == {}
    managers(tmp_path / "a", tmp_path / "b")  # the locks are free


def test_partition_that_cannot_be_loaded_keeps_its_checkpoints_and_its_unclean_stop(
    tmp_path: Path, managers: MakeManager
) -> None:
    manager = managers(tmp_path)
    log = create(manager)
    fill(log, 4)
    log.assign_topic_id(bytes(16))
    log.maybe_increment_log_start_offset(2)
    create(manager, 1)
    manager.close(NOW)
    (tmp_path / ".kafka_cleanshutdown").unlink()
    metadata = tmp_path / "topic-0" / "partition.metadata"
    content = metadata.read_bytes()
    metadata.write_bytes(b"damage")
    broken = managers(tmp_path)
    assert list(broken.logs) == [TopicPartition("topic", 1)]
    fill(broken.logs[TopicPartition("topic", 1)], 1)
    broken.close(NOW)
    assert not (tmp_path / ".kafka_cleanshutdown").exists()
    metadata.write_bytes(content)
    again = managers(tmp_path)
    assert again.logs[TP].recovered_from_crash
    assert (again.logs[TP].log_start_offset, again.logs[TP].recovery_point) == (2, 4)


def test_empty_directory_is_not_unclean(tmp_path: Path, managers: MakeManager) -> None:
    assert managers(tmp_path).unclean_dirs == []


def test_configuration_is_the_topics_own(tmp_path: Path, managers: MakeManager) -> None:
    manager = managers(tmp_path)
    create(manager)
    manager.get_or_create(TopicPartition("other", 0), now_ms=NOW)
    manager.close(NOW)
    again = managers(tmp_path, load=False)
    again.load_all(NOW, lambda topic: LogConfig(segment_bytes=1000 if topic == "other" else 2000))
    assert {tp.topic: log.config.segment_bytes for tp, log in again.logs.items()} == {"topic": 2000, "other": 1000}


def test_partition_with_old_messages_is_offline_and_the_others_serve(tmp_path: Path, managers: MakeManager) -> None:
    manager = managers(tmp_path)
    for number in range(2):
        fill(create(manager, number), 3)
    manager.close(NOW)
    path = tmp_path / "topic-0" / "00000000000000000000.log"
    content = bytearray(path.read_bytes())
    content[16] = 1
    path.write_bytes(content)
    again = managers(tmp_path)
    assert list(again.logs) == [TopicPartition("topic", 1)]
    assert str(path) in again.offline[TP]
    assert "position 0" in again.offline[TP]
    assert again.live_dirs
    with pytest.raises(KafkaStorageError, match="position 0"):
        again.get_or_create(TP, now_ms=NOW)


def test_foreign_directories_are_left_alone(tmp_path: Path, managers: MakeManager) -> None:
    for name in ("lost+found", "remote-log-index-cache", "notes", "x-y", "__cluster_metadata-0", "topic-1.abc-future"):
        (tmp_path / name).mkdir()
    assert managers(tmp_path).logs == {}
    assert (tmp_path / "notes").exists()


def test_partitions_that_were_being_deleted_are_deleted(tmp_path: Path, managers: MakeManager) -> None:
    manager = managers(tmp_path)
    fill(create(manager), 3)
    manager.delete(TP, now_ms=NOW)
    manager.close_handles()
    again = managers(tmp_path)
    assert again.logs == {}
    again.run_due(NOW + MINUTE)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


@pytest.mark.parametrize(
    "name", ["recovery-point-offset-checkpoint", "log-start-offset-checkpoint", "replication-offset-checkpoint"]
)
def test_damaged_checkpoint_costs_no_records(tmp_path: Path, managers: MakeManager, name: str) -> None:
    manager = managers(tmp_path)
    fill(create(manager), 5)
    manager.close(NOW)
    (tmp_path / ".kafka_cleanshutdown").unlink()
    (tmp_path / name).write_bytes(b"\0garbage")
    log = loaded(managers, tmp_path)
    assert offsets_of(batches_of(log)) == [0, 1, 2, 3, 4]


# --- checkpoints and background work ---


def checkpoint(tmp_path: Path, name: str) -> dict[int, int]:
    return {tp.partition: offset for tp, offset in read_offsets(str(tmp_path / name)).items()}


def test_dirty_logs_are_flushed_and_their_recovery_points_kept(tmp_path: Path, managers: MakeManager) -> None:
    manager = managers(tmp_path)
    manager.run_due(NOW)
    logs = [create(manager, number) for number in range(40)]
    for log in logs:
        fill(log, 2)
    manager.run_due(NOW + MINUTE - 1)
    assert logs[0].recovery_point == 0
    manager.run_due(NOW + MINUTE)
    assert {log.recovery_point for log in logs} == {2}
    assert checkpoint(tmp_path, "recovery-point-offset-checkpoint") == dict.fromkeys(range(40), 2)


def test_new_partitions_are_made_durable_before_their_first_append_asks(tmp_path: Path, managers: MakeManager) -> None:
    manager = managers(tmp_path)
    logs = [create(manager, number) for number in range(5)]
    for log in logs:
        log.assign_epoch_start_offset(3, 0)
    manager.run_due(NOW)
    assert not any(log._unsynced for log in logs)
    assert logs[0].log_dir.names_synced == 5
    for log in logs:
        append(log, batch(), leader_epoch=3)
    assert logs[0].directory.read_file("leader-epoch-checkpoint") == b"0\n1\n3 0\n"


def test_epoch_that_comes_while_a_log_is_prepared_is_not_lost(tmp_path: Path, managers: MakeManager) -> None:
    log = create(managers(tmp_path))
    job = log.begin_prepare()
    assert job is not None
    log.assign_epoch_start_offset(4, 0)
    job.run()
    log.complete_prepare(job)
    assert log._unsynced
    append(log, batch(), leader_epoch=4)
    assert log.directory.read_file("leader-epoch-checkpoint") == b"0\n1\n4 0\n"


def test_one_tick_begins_few_flushes(tmp_path: Path, managers: MakeManager) -> None:
    manager = managers(tmp_path)
    for number in range(40):
        fill(create(manager, number), 1)
    manager.run_due(NOW)
    assert len(manager.tick(NOW + MINUTE)) <= manager.FLUSHES_PER_TICK + 3


def test_sealed_segment_is_flushed_soon(tmp_path: Path, managers: MakeManager) -> None:
    manager = managers(tmp_path)
    manager.run_due(NOW)
    log = create(manager, segment_bytes=2 * SIZE)
    fill(log, 3)
    manager.run_due(NOW + 1)
    assert log.recovery_point == 3


def test_flush_ms_is_kept(tmp_path: Path, managers: MakeManager) -> None:
    manager = managers(tmp_path)
    manager.run_due(NOW)
    log = create(manager, flush_ms=1000)
    fill(log, 1)
    manager.run_due(NOW + 999)
    assert log.recovery_point == 0
    manager.run_due(NOW + 1000)
    assert log.recovery_point == 1


def test_flush_ms_is_looked_at_as_often_as_the_scheduler_is_told_to(tmp_path: Path, managers: MakeManager) -> None:
    manager = managers(tmp_path, flush_check_ms=5000)
    manager.run_due(NOW)
    log = create(manager, flush_ms=1000)
    fill(log, 1)
    manager.run_due(NOW + 4999)
    assert log.recovery_point == 0
    manager.run_due(NOW + 5000)
    assert log.recovery_point == 1


def test_high_watermarks_are_kept_every_five_seconds(tmp_path: Path, managers: MakeManager) -> None:
    manager = managers(tmp_path)
    manager.run_due(NOW)
    log = create(manager)
    for _ in range(5):
        append(log, batch())
    log.maybe_increment_high_watermark(3)
    manager.run_due(NOW + 5000)
    assert checkpoint(tmp_path, "replication-offset-checkpoint") == {0: 3}
    manager.close_handles()
    assert loaded(managers, tmp_path).high_watermark == 3


def test_high_watermark_of_a_checkpoint_is_clamped(tmp_path: Path, managers: MakeManager) -> None:
    manager = managers(tmp_path)
    fill(create(manager), 3)
    manager.close(NOW)
    write_offsets(str(tmp_path / "replication-offset-checkpoint"), {TP: 99})
    assert loaded(managers, tmp_path).high_watermark == 3


def test_deleted_records_stay_deleted(tmp_path: Path, managers: MakeManager) -> None:
    manager = managers(tmp_path)
    manager.run_due(NOW)
    log = create(manager)
    create(manager, 1)
    fill(log, 5)
    log.maybe_increment_log_start_offset(3)
    manager.run_due(NOW + MINUTE)
    assert checkpoint(tmp_path, "log-start-offset-checkpoint") == {0: 3}
    manager.close_handles()
    assert loaded(managers, tmp_path).log_start_offset == 3


@pytest.mark.parametrize("offset", ["90", "4"])
def test_damaged_start_offset_is_not_believed_later_either(tmp_path: Path, managers: MakeManager, offset: str) -> None:
    """The log grew beyond the wrong offset before the next checkpoint, and was cut there at the next start."""
    manager = managers(tmp_path)
    fill(create(manager), 3)
    manager.close(NOW)
    (tmp_path / "log-start-offset-checkpoint").write_text(f"0\n1\ntopic 0 {offset}\n")
    manager = managers(tmp_path)
    log = manager.logs[TP]
    fill(log, 3)
    manager.close_handles()
    assert offsets_of(batches_of(loaded(managers, tmp_path))) == [0, 1, 2, 3, 4, 5]


def test_high_watermark_is_kept_before_the_start_offset_that_it_bounds(tmp_path: Path, managers: MakeManager) -> None:
    manager = managers(tmp_path, high_watermark_checkpoint_ms=100 * MINUTE)
    manager.tick(NOW)
    log = create(manager)
    fill(log, 5)
    log.maybe_increment_log_start_offset(5)
    written = [
        work.replacement.checkpoint.name for work in manager.tick(NOW + MINUTE) if isinstance(work, CheckpointWork)
    ]
    assert written[-2:] == ["replication-offset-checkpoint", "log-start-offset-checkpoint"]


def test_bytes_behind_a_truncation_are_not_taken_for_flushed(tmp_path: Path, managers: MakeManager) -> None:
    """The checkpoint still said 10 when the log had been cut at 4 and grown again: damage behind was not looked for."""
    manager = managers(tmp_path)
    log = create(manager)
    fill(log, 10)
    log.flush(now_ms=NOW)
    manager.run_due(NOW)
    manager.run_due(NOW + MINUTE)
    assert read_offsets(str(tmp_path / "recovery-point-offset-checkpoint")) == {TP: 10}
    log.truncate_to(4, now_ms=NOW)
    fill(log, 6)
    manager.close_handles()
    path = tmp_path / "topic-0" / "00000000000000000000.log"
    content = bytearray(path.read_bytes())
    content[7 * SIZE - 1] ^= 1
    path.write_bytes(content)
    assert loaded(managers, tmp_path).log_end_offset == 6


@pytest.mark.parametrize("start", [4, 20])
def test_start_of_a_log_that_was_begun_anew_is_that_of_its_checkpoint_at_once(
    tmp_path: Path, managers: MakeManager, start: int
) -> None:
    manager = managers(tmp_path)
    log = create(manager)
    fill(log, 10)
    log.maybe_increment_log_start_offset(8)
    log.flush(now_ms=NOW)
    manager.run_due(NOW)
    manager.run_due(NOW + MINUTE)
    log.truncate_fully_and_start_at(start, now_ms=NOW)
    fill(log, 6)
    manager.close_handles()
    again = loaded(managers, tmp_path)
    assert (again.log_start_offset, again.log_end_offset) == (start, start + 6)


def test_what_lies_behind_a_truncation_is_not_taken_for_clean(tmp_path: Path, managers: MakeManager) -> None:
    manager = managers(tmp_path)
    log = create(manager, segment_bytes=3 * SIZE)
    fill(log, 10)
    log.first_dirty_offset = 9
    manager.run_due(NOW)
    manager.run_due(NOW + MINUTE)
    assert checkpoint(tmp_path, "cleaner-offset-checkpoint") == {0: 9}
    log.truncate_to(5, now_ms=NOW)
    assert checkpoint(tmp_path, "cleaner-offset-checkpoint") == {0: 3}


def test_truncation_that_cannot_be_told_does_not_happen(
    tmp_path: Path, managers: MakeManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = managers(tmp_path)
    log = create(manager)
    fill(log, 10)
    log.flush(now_ms=NOW)
    manager.run_due(NOW)
    manager.run_due(NOW + MINUTE)

    def no_room(path: str, offsets: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(offset_checkpoint, "write_offsets", no_room)
    for cut in (lambda: log.truncate_to(4, now_ms=NOW), lambda: log.truncate_fully_and_start_at(4, now_ms=NOW)):
        with pytest.raises(KafkaStorageError):
            cut()
    assert log.log_end_offset == 10
    assert manager.live_dirs


def test_log_that_ends_before_its_recovery_point_is_not_trusted_up_to_it(tmp_path: Path, managers: MakeManager) -> None:
    """A power loss took what had been fsynced; the old recovery point covered what came next."""
    manager = managers(tmp_path)
    fill(create(manager), 10)
    manager.logs[TP].flush(now_ms=NOW)
    manager.run_due(NOW)
    manager.run_due(NOW + MINUTE)
    manager.close_handles()
    path = tmp_path / "topic-0" / "00000000000000000000.log"
    os.truncate(path, 4 * SIZE)
    manager = managers(tmp_path)
    fill(manager.logs[TP], 6)
    manager.close_handles()
    content = bytearray(path.read_bytes())
    content[7 * SIZE - 1] ^= 1
    path.write_bytes(content)
    assert loaded(managers, tmp_path).log_end_offset == 6


def test_checkpoints_of_a_deleted_partition_are_not_taken_for_a_new_one(tmp_path: Path, managers: MakeManager) -> None:
    manager = managers(tmp_path)
    manager.run_due(NOW)
    log = create(manager)
    fill(log, 9)
    log.maybe_increment_log_start_offset(7)
    manager.run_due(NOW + MINUTE)
    manager.delete(TP, now_ms=NOW)
    fill(create(manager), 2)
    manager.close_handles()
    log = loaded(managers, tmp_path)
    assert (log.log_start_offset, log.log_end_offset, log.recovery_point) == (0, 2, 0)


def test_unchanged_checkpoints_are_not_written_again(tmp_path: Path, managers: MakeManager) -> None:
    manager = managers(tmp_path)
    manager.run_due(NOW)
    fill(create(manager), 1)
    manager.run_due(NOW + MINUTE)
    before = (tmp_path / "replication-offset-checkpoint").stat().st_ino
    manager.run_due(NOW + 2 * MINUTE)
    assert (tmp_path / "replication-offset-checkpoint").stat().st_ino == before


def test_retention_runs_and_files_go_in_two_steps(tmp_path: Path, managers: MakeManager) -> None:
    manager = managers(tmp_path, retention_check_ms=1000)
    manager.run_due(NOW)
    log = create(manager, segment_bytes=2 * SIZE, retention_bytes=2 * SIZE, file_delete_delay_ms=5000)
    fill(log, 6)
    manager.run_due(NOW + 1000)
    assert log.log_start_offset == 4
    assert len(list((tmp_path / "topic-0").glob("*.log.deleted"))) == 2
    manager.run_due(NOW + 6000)
    assert not list((tmp_path / "topic-0").glob("*.deleted"))


def test_damage_in_one_log_does_not_stop_retention_of_the_others(tmp_path: Path, managers: MakeManager) -> None:
    manager = managers(tmp_path)
    for number in range(2):
        fill(create(manager, number, segment_bytes=2 * SIZE), 5, timestamp=-1)
    manager.close(NOW)
    path = tmp_path / "topic-0" / "00000000000000000000.log"
    content = bytearray(path.read_bytes())
    content[SIZE + 8 : SIZE + 12] = bytes(4)
    path.write_bytes(content)
    os.truncate(path.with_suffix(".timeindex"), 0)
    again = managers(tmp_path, retention_check_ms=MINUTE)
    for log in again.logs.values():
        log.update_config(LogConfig(retention_ms=0))
    late = time.time_ns() // 1_000_000 + MINUTE
    again.run_due(NOW)
    again.run_due(late)
    assert [log.segments.first.base_offset for log in again.logs.values()] == [0, 5]


def test_producers_expire(tmp_path: Path, managers: MakeManager) -> None:
    manager = managers(tmp_path, producer_id_expiration_ms=1000, producer_id_expiration_check_ms=100)
    manager.run_due(NOW)
    log = create(manager)
    append(log, batch(producer_id=1, producer_epoch=0, base_sequence=0))
    manager.run_due(NOW + 999)
    assert log.producer_state.producers
    manager.run_due(NOW + 1100)
    assert not log.producer_state.producers


def test_failed_background_flush_takes_the_directory_offline(tmp_path: Path, managers: MakeManager) -> None:
    manager = managers(tmp_path / "a", tmp_path / "b")
    manager.run_due(NOW)
    log = create(manager)
    fill(log, 1)
    for work in manager.tick(NOW + MINUTE):
        work.run()
        if hasattr(work, "job"):
            work.job.error = OSError(errno.EIO, "broken")
        work.complete(NOW + MINUTE)
    assert manager.take_failed_dirs() == {log.log_dir.path: [TP]}


def test_flush_behind_a_failed_one_does_not_count(tmp_path: Path, managers: MakeManager) -> None:
    log = create(managers(tmp_path / "a", tmp_path / "b"))
    fill(log, 1)
    first = log.begin_flush()
    second = log.begin_flush()
    assert first is not None
    assert second is not None
    log.log_dir.fail("flushing in another thread", OSError(errno.EIO, "broken"))
    second.run()
    with pytest.raises(KafkaStorageError):
        log.complete_flush(second, now_ms=NOW)
    assert log.recovery_point == 0
