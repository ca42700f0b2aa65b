"""The logs of a broker through starts, stops and the work in between. The cases are those of Kafka's LogManagerTest."""

import errno
import os
import time
from pathlib import Path

import pytest

from kstore.errors import KafkaStorageError
from kstore.log.config import LogConfig
from kstore.log.flush import FlushJob
from kstore.log.partition_log import PartitionLog
from kstore.model import TopicPartition
from tests.log.build import NOW, append, batch, batches_of, checkpoint, create, fill, loaded, offsets_of
from tests.log.conftest import MakeManager

TP = TopicPartition("topic", 0)
SIZE = len(batch())
MINUTE = 60_000


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


# --- background work ---


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
    assert len(manager.tick(NOW + MINUTE, NOW + MINUTE)) <= manager.FLUSHES_PER_TICK + 3


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


def test_a_high_watermark_of_before_a_cut_commits_nothing_that_came_behind_it(
    tmp_path: Path, managers: MakeManager
) -> None:
    """A follower was cut, took over other records and crashed: with the watermark that was written down before, they
    were taken for committed (rule 18)."""
    manager = managers(tmp_path)
    log = create(manager)
    fill(log, 5)
    manager.tick(NOW, NOW)
    manager.run_due(NOW + 5_000)
    assert checkpoint(tmp_path, "replication-offset-checkpoint") == {0: 5}
    log.truncate_to(2, now_ms=NOW)
    for _ in range(4):
        append(log, batch())
    assert (log.high_watermark, log.log_end_offset) == (2, 6)
    manager.close_handles()
    assert managers(tmp_path).logs[TP].high_watermark == 2


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


@pytest.fixture(params=[-60 * MINUTE, 60 * MINUTE], ids=["back", "forward"])
def reset(request: pytest.FixtureRequest) -> int:
    """The wall clock's time after it was set."""
    return NOW + int(request.param)


def test_a_clock_that_is_set_neither_puts_checkpoints_off_nor_brings_them_on(
    tmp_path: Path, managers: MakeManager, reset: int
) -> None:
    manager = managers(tmp_path)
    manager.run_due(NOW, 0)
    fill(create(manager), 5)
    names = ("replication-offset-checkpoint", "recovery-point-offset-checkpoint")
    for monotonic_ms, written in ((4_999, ()), (5_000, names[:1]), (MINUTE - 1, names[:1]), (MINUTE, names)):
        manager.run_due(reset, monotonic_ms)
        assert [name for name in names if (tmp_path / name).exists() and checkpoint(tmp_path, name)] == list(written)


def test_retention_goes_by_the_date_and_is_looked_at_as_time_passes(
    tmp_path: Path, managers: MakeManager, reset: int
) -> None:
    manager = managers(tmp_path, retention_check_ms=5 * MINUTE)
    manager.run_due(NOW, 0)
    log = create(manager, segment_bytes=2 * SIZE, retention_ms=30 * MINUTE)
    fill(log, 5, timestamp=NOW)
    manager.run_due(reset, 5 * MINUTE - 1)
    assert log.log_start_offset == 0
    manager.run_due(reset, 5 * MINUTE)
    assert log.log_start_offset == (5 if reset > NOW else 0)


def test_a_clock_that_is_set_puts_no_flush_off(tmp_path: Path, managers: MakeManager, reset: int) -> None:
    manager = managers(tmp_path)
    manager.run_due(NOW, 0)
    log = create(manager, flush_ms=1000)
    fill(log, 1)
    manager.run_due(reset, 1000)
    assert log.recovery_point == 1


def test_failed_background_flush_takes_the_directory_offline(tmp_path: Path, managers: MakeManager) -> None:
    manager = managers(tmp_path / "a", tmp_path / "b")
    manager.run_due(NOW)
    log = create(manager)
    fill(log, 1)
    for work in manager.tick(NOW + MINUTE, NOW + MINUTE):
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
