"""Retention, truncation, flush, close and deletion. The cases are those of Kafka's UnifiedLogTest and LocalLogTest."""

import os
from pathlib import Path

import pytest

from kstore.errors import CorruptRecordError
from kstore.log.append import COORDINATOR
from kstore.log.config import LogConfig
from kstore.log.partition_log import HIGH_WATERMARK, PartitionLog
from tests.log.build import NOW, TP, append, batch, batches_of, content, fill, marker, offsets_of, open_log
from tests.log.conftest import MakeLog

SIZE = len(batch())


def bases(log: PartitionLog) -> list[int]:
    return [segment.base_offset for segment in log.segments]


def names(log: PartitionLog, suffix: str) -> list[str]:
    return [name for name in log.directory.names() if name.endswith(suffix)]


# --- retention ---


def test_old_segments_go_by_size(make_log: MakeLog) -> None:
    log = make_log(segment_bytes=5 * SIZE, retention_bytes=10 * SIZE)
    fill(log, 23)
    assert log.delete_old_segments(NOW) == 2
    assert (bases(log), log.log_start_offset) == ([10, 15, 20], 10)
    assert log.delete_old_segments(NOW) == 0
    assert offsets_of(batches_of(log)) == list(range(10, 23))


def test_old_segments_go_by_time(make_log: MakeLog) -> None:
    log = make_log(segment_bytes=5 * SIZE, retention_ms=1000)
    for number in range(15):
        append(log, batch(timestamp=NOW + 100 * number))
    log.maybe_increment_high_watermark(15)
    assert log.delete_old_segments(NOW + 1400) == 0
    assert log.delete_old_segments(NOW + 1401) == 1
    assert log.delete_old_segments(NOW + 10_000) == 2
    assert (bases(log), log.log_start_offset, log.log_end_offset) == ([15], 15, 15)
    assert append(log, batch()).first_offset == 15


def test_segments_without_timestamps_age_with_their_files(tmp_path: Path) -> None:
    log = open_log(tmp_path / "topic-0")
    log.update_config(log.config._replace(segment_bytes=SIZE, retention_ms=1000))
    fill(log, 3, timestamp=-1)
    old = NOW - 5000
    for name in names(log, "0.log"):
        os.utime(tmp_path / "topic-0" / name, (old / 1000, old / 1000))
    for name in (*names(log, "1.log"), *names(log, "2.log")):
        os.utime(tmp_path / "topic-0" / name, (NOW / 1000, NOW / 1000))
    assert log.delete_old_segments(NOW) == 1


def test_compacted_log_keeps_old_segments(make_log: MakeLog) -> None:
    log = make_log(segment_bytes=SIZE, retention_bytes=0, retention_ms=0, cleanup_policy=("compact",))
    fill(log, 5)
    assert log.delete_old_segments(NOW + 1) == 0
    log.update_config(log.config._replace(cleanup_policy=("compact", "delete")))
    assert log.delete_old_segments(NOW + 1) == 5


def test_deleted_records_go_whatever_the_policy(make_log: MakeLog) -> None:
    log = make_log(segment_bytes=5 * SIZE, cleanup_policy=("compact",))
    fill(log, 15)
    log.maybe_increment_log_start_offset(10)
    assert log.delete_old_segments(NOW) == 2
    assert bases(log) == [10]
    log.maybe_increment_log_start_offset(12)
    assert log.delete_old_segments(NOW) == 0


def test_records_above_the_high_watermark_are_kept(make_log: MakeLog) -> None:
    log = make_log(segment_bytes=5 * SIZE, retention_bytes=0)
    for _ in range(15):
        append(log, batch())
    assert log.delete_old_segments(NOW) == 0
    log.maybe_increment_high_watermark(7)
    assert log.delete_old_segments(NOW) == 1
    log.maybe_increment_high_watermark(15)
    assert log.delete_old_segments(NOW) == 2
    assert bases(log) == [15]


def test_deletion_has_two_steps(make_log: MakeLog) -> None:
    log = make_log(segment_bytes=SIZE, retention_bytes=SIZE, file_delete_delay_ms=1000)
    fill(log, 3)
    reader = log.read(0, max_bytes=SIZE)
    log.delete_old_segments(NOW)
    assert names(log, "0000.log.deleted") == ["00000000000000000000.log.deleted"]
    (files,) = log.log_dir.deleted
    assert files.due_ms == NOW + 1000
    files.unlink()
    assert names(log, ".deleted") == []
    if isinstance(reader.records, bytes):
        return
    assert len(reader.records.read()) == SIZE  # a slice that is being sent outlives its file


def test_snapshots_go_with_their_segments(make_log: MakeLog) -> None:
    log = make_log(segment_bytes=len(batch(producer_id=1, producer_epoch=0, base_sequence=0)), retention_bytes=0)
    fill(log, 3, producer_id=1, producer_epoch=0, base_sequence=0)  # duplicates
    for sequence in range(1, 4):
        append(log, batch(producer_id=1, producer_epoch=0, base_sequence=sequence))
    assert log.producer_state.snapshots == [1, 2, 3]
    log.maybe_increment_high_watermark(4)
    log.delete_old_segments(NOW)
    assert log.producer_state.snapshots == [4]
    assert append(log, batch(producer_id=1, producer_epoch=0, base_sequence=4)).first_offset == 4


def test_epochs_are_cut_with_the_segments(make_log: MakeLog) -> None:
    log = make_log(segment_bytes=5 * SIZE, retention_bytes=10 * SIZE)
    for number in range(15):
        append(log, batch(), leader_epoch=number // 5)
    log.maybe_increment_high_watermark(15)
    log.update_config(log.config._replace(retention_bytes=5 * SIZE))
    log.delete_old_segments(NOW)
    assert [tuple(entry) for entry in log.leader_epoch_cache.entries] == [(2, 10)]


def test_retention_is_idempotent(make_log: MakeLog) -> None:
    log = make_log(segment_bytes=SIZE, retention_ms=0)
    fill(log, 5)
    assert log.delete_old_segments(NOW + 1) == 5
    assert log.delete_old_segments(NOW + 1) == 0
    assert len(log.segments) == 1


# --- truncation ---


def test_cut_where_the_log_is_damaged_is_refused_with_nothing_removed(tmp_path: Path) -> None:
    """The segments above were gone, and the log went on at its old end."""
    log = PartitionLog.open(str(tmp_path), TP, LogConfig(segment_bytes=2 * SIZE), now_ms=NOW)
    fill(log, 12)
    log.flush(now_ms=NOW)
    with open(tmp_path / f"{2:020}.log", "r+b") as file:
        file.seek(SIZE + 8)
        file.write((1 << 20).to_bytes(4, "big"))  # the length of its last batch
    with pytest.raises(CorruptRecordError):
        log.truncate_to(3, now_ms=NOW)
    assert log.log_dir.failure is None
    assert [segment.base_offset for segment in log.segments] == [0, 2, 4, 6, 8, 10]
    assert append(log, batch()).first_offset == 12
    log.truncate_to(2, now_ms=NOW)  # in front of it
    assert append(log, batch()).first_offset == 2
    assert offsets_of(batches_of(log)) == [0, 1, 2]


@pytest.mark.parametrize("offset", range(16))
def test_log_ends_where_it_was_cut(make_log: MakeLog, offset: int) -> None:
    log = make_log(segment_bytes=4 * SIZE, index_interval_bytes=SIZE)
    fill(log, 15)
    assert log.truncate_to(offset, now_ms=NOW) == (offset < 15)
    assert log.log_end_offset == min(offset, 15)
    assert log.high_watermark == min(offset, 15)
    assert offsets_of(batches_of(log)) == list(range(offset))[:15]
    assert append(log, batch()).first_offset == min(offset, 15)
    assert offsets_of(batches_of(log)) == list(range(min(offset, 15) + 1))


def test_cut_inside_a_batch_takes_the_batch(make_log: MakeLog) -> None:
    log = make_log()
    append(log, batch(3))
    append(log, batch(3))
    log.truncate_to(4, now_ms=NOW)
    assert log.log_end_offset == 4
    assert log.size_in_bytes == len(batch(3))


def test_cut_log_is_the_same_after_a_restart(make_log: MakeLog) -> None:
    log = make_log(segment_bytes=4 * SIZE)
    fill(log, 15)
    log.truncate_to(6, now_ms=NOW)
    log.flush(now_ms=NOW)
    log.close()
    log = make_log(segment_bytes=4 * SIZE)
    assert offsets_of(batches_of(log)) == list(range(6))


def test_cut_forgets_timestamps_above(make_log: MakeLog) -> None:
    log = make_log(index_interval_bytes=1)
    for number in range(10):
        append(log, batch(timestamp=NOW + number))
    log.truncate_to(5, now_ms=NOW)
    assert log.segments.active.max_timestamp == NOW + 4
    assert log.offset_for_timestamp(NOW + 5) is None
    append(log, batch(timestamp=NOW + 2))
    assert log.segments.active.max_timestamp == NOW + 4


def test_cut_takes_producer_state_back(make_log: MakeLog) -> None:
    log = make_log(segment_bytes=3 * len(batch(producer_id=1, producer_epoch=0, base_sequence=0)))
    for sequence in range(8):
        append(log, batch(producer_id=1, producer_epoch=0, base_sequence=sequence))
    log.truncate_to(4, now_ms=NOW)
    assert log.producer_state.producers[1].last_sequence == 3
    assert append(log, batch(producer_id=1, producer_epoch=0, base_sequence=4)).first_offset == 4
    log.truncate_to(0, now_ms=NOW)
    assert log.producer_state.producers == {}


def test_cut_below_an_open_transaction_frees_the_last_stable_offset(make_log: MakeLog) -> None:
    log = make_log()
    append(log, batch())
    append(log, batch(producer_id=1, producer_epoch=0, base_sequence=0, transactional=True))
    append(log, batch())
    log.maybe_increment_high_watermark(3)
    assert log.last_stable_offset == 1
    log.truncate_to(1, now_ms=NOW)
    assert log.first_unstable_offset == -1
    fill(log, 1)
    assert log.last_stable_offset == 2


def test_cut_above_an_open_transaction_keeps_it(make_log: MakeLog) -> None:
    log = make_log()
    append(log, batch(producer_id=1, producer_epoch=0, base_sequence=0, transactional=True))
    append(log, batch())
    append(log, marker(1), origin=COORDINATOR)
    log.maybe_increment_high_watermark(3)
    assert log.last_stable_offset == 3
    log.truncate_to(2, now_ms=NOW)
    assert log.last_stable_offset == 0
    assert log.collect_aborted_transactions(0, 9) == []


def test_cut_at_the_end_drops_an_epoch_without_records(make_log: MakeLog) -> None:
    log = make_log()
    fill(log, 2)
    log.assign_epoch_start_offset(7, 2)
    assert not log.truncate_to(2, now_ms=NOW)
    assert log.latest_epoch == 0


def test_cut_epochs(make_log: MakeLog) -> None:
    log = make_log()
    for number in range(15):
        append(log, batch(), leader_epoch=number // 5)
    log.truncate_to(12, now_ms=NOW)
    assert [tuple(entry) for entry in log.leader_epoch_cache.entries] == [(0, 0), (1, 5), (2, 10)]
    log.truncate_to(10, now_ms=NOW)
    assert [tuple(entry) for entry in log.leader_epoch_cache.entries] == [(0, 0), (1, 5)]
    log.truncate_to(0, now_ms=NOW)
    assert log.leader_epoch_cache.entries == []


def test_log_restarts_at_another_offset(make_log: MakeLog) -> None:
    log = make_log(segment_bytes=4 * SIZE)
    fill(log, 9)
    log.truncate_fully_and_start_at(100, now_ms=NOW)
    assert (log.log_start_offset, log.log_end_offset, log.high_watermark, bases(log)) == (100, 100, 100, [100])
    assert append(log, batch()).first_offset == 100
    log.truncate_fully_and_start_at(100, now_ms=NOW)
    assert log.size_in_bytes == 0
    log.truncate_fully_and_start_at(50, log_start_offset=40, now_ms=NOW)
    assert (log.log_start_offset, log.log_end_offset) == (40, 50)


def test_cut_below_the_first_segment_restarts_the_log(make_log: MakeLog) -> None:
    log = make_log(segment_bytes=4 * SIZE, retention_bytes=4 * SIZE)
    fill(log, 12)
    log.delete_old_segments(NOW)
    assert log.log_start_offset > 0
    log.truncate_to(2, now_ms=NOW)
    assert (log.log_start_offset, log.log_end_offset, bases(log)) == (2, 2, [2])


def test_cut_takes_the_log_start_along(make_log: MakeLog) -> None:
    log = make_log()
    fill(log, 10)
    log.maybe_increment_log_start_offset(6)
    log.truncate_to(4, now_ms=NOW)
    assert (log.log_start_offset, log.log_end_offset, log.high_watermark) == (4, 4, 4)


def test_negative_cut_is_a_bug(make_log: MakeLog) -> None:
    with pytest.raises(ValueError, match="cannot cut"):
        make_log().truncate_to(-1, now_ms=NOW)


# --- flush and close ---


def test_recovery_point_advances_when_the_flush_is_complete(make_log: MakeLog) -> None:
    log = make_log()
    fill(log, 5)
    job = log.begin_flush()
    assert job is not None
    fill(log, 2)
    job.run()
    assert log.recovery_point == 0
    log.complete_flush(job, now_ms=NOW + 5)
    assert (log.recovery_point, log.unflushed_messages, log.last_flush_ms) == (5, 2, NOW + 5)
    log.flush(now_ms=NOW)
    assert log.recovery_point == 7
    assert log.begin_flush() is None


def test_flush_of_what_was_cut_meanwhile_counts_for_nothing(make_log: MakeLog) -> None:
    log = make_log()
    fill(log, 5)
    job = log.begin_flush()
    assert job is not None
    log.truncate_to(2, now_ms=NOW)
    fill(log, 9)
    job.run()
    log.complete_flush(job, now_ms=NOW)
    assert log.recovery_point == 0


def test_flush_messages_asks_for_a_flush(make_log: MakeLog) -> None:
    log = make_log(flush_messages=3)
    fill(log, 2)
    assert not log.must_flush
    fill(log, 1)
    assert log.must_flush
    log.flush(now_ms=NOW)
    assert not log.must_flush


def test_flush_reaches_every_file_that_a_restart_believes(make_log: MakeLog) -> None:
    from kstore.log.memory_directory import MemoryDirectory

    log = make_log(segment_bytes=3 * SIZE, index_interval_bytes=1)
    directory = log.directory
    if not isinstance(directory, MemoryDirectory):
        return
    fill(log, 8)
    directory.syncs.clear()
    log.flush(now_ms=NOW)
    assert set(directory.syncs) == {
        *(f"{base:020d}.log" for base in (0, 3, 6)),
        *(f"{base:020d}.{suffix}" for base in (0, 3) for suffix in ("index", "timeindex")),
        *(f"{offset:020d}.snapshot" for offset in (3, 6, 8)),
        ".",
    }


def test_snapshot_of_the_last_flush_replaces_the_one_before(make_log: MakeLog) -> None:
    log = make_log()
    for _ in range(3):
        fill(log, 2)
        log.flush(now_ms=NOW)
    assert log.producer_state.snapshots == [6]


def test_closed_log_is_found_again_without_recovery(make_log: MakeLog) -> None:
    log = make_log(segment_bytes=4 * SIZE)
    for number in range(10):
        append(log, batch(timestamp=NOW + number), leader_epoch=2)
    job = log.begin_close()
    assert job is not None
    job.run()
    log.complete_flush(job, now_ms=NOW)
    log.close()
    again = make_log(segment_bytes=4 * SIZE)
    assert (again.log_end_offset, again.recovery_point, again.recovered_from_crash) == (10, 10, False)
    assert again.segments.active.max_timestamp == NOW + 9
    assert again.latest_epoch == 2
    assert again.producer_state.map_end_offset == 10
    assert offsets_of(batches_of(again)) == list(range(10))


def test_close_twice_is_no_error(make_log: MakeLog) -> None:
    log = make_log()
    fill(log, 1)
    log.close()
    log.close()


def test_empty_log_is_closed_and_opened(make_log: MakeLog) -> None:
    log = make_log()
    job = log.begin_close()
    assert job is not None
    job.run()
    log.complete_flush(job, now_ms=NOW)
    log.close()
    log = make_log()
    assert (log.log_end_offset, bases(log)) == (0, [0])


# --- configuration and deletion ---


def test_configuration_changes_at_once(make_log: MakeLog) -> None:
    log = make_log(segment_bytes=100 * SIZE)
    fill(log, 3)
    log.update_config(log.config._replace(segment_bytes=4 * SIZE, message_timestamp_type="LogAppendTime"))
    assert append(log, batch(), now_ms=NOW + 3).log_append_time == NOW + 3
    fill(log, 1)
    assert bases(log) == [0, 4]


def test_deleted_partition_is_renamed_first(tmp_path: Path) -> None:
    log = open_log(tmp_path / "topic-0")
    fill(log, 2)
    reader = log.read(0, max_bytes=1)
    log.rename_for_delete()
    (name,) = os.listdir(tmp_path)
    assert name.startswith("topic-0.")
    assert name.endswith("-delete")
    log.delete()
    assert os.listdir(tmp_path) == []
    assert len(content(reader)) == SIZE


def test_preallocated_segment_has_no_zeros_when_it_is_sealed(tmp_path: Path) -> None:
    log = open_log(tmp_path / "topic-0")
    log.update_config(log.config._replace(preallocate=True, segment_bytes=1 << 20))
    fill(log, 1)
    log.roll(now_ms=NOW)
    fill(log, 2)
    log.roll(now_ms=NOW)
    sizes = {name: (tmp_path / "topic-0" / name).stat().st_size for name in names(log, ".log")}
    assert sorted(sizes.values()) == [0, SIZE, 2 * SIZE]
    assert offsets_of(batches_of(log)) == [0, 1, 2]


def test_bound_stays_right_when_retention_takes_all(make_log: MakeLog) -> None:
    log = make_log(retention_bytes=0)
    fill(log, 5)
    log.delete_old_segments(NOW)
    assert content(log.read(5, max_bytes=99, upper_bound=HIGH_WATERMARK)) == b""
    fill(log, 1)
    assert len(content(log.read(5, max_bytes=9999, upper_bound=HIGH_WATERMARK))) == SIZE
