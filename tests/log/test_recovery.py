"""Recovery after an unclean stop. The cases are those of Kafka's LogLoaderTest and LogSegmentTest."""

import tracemalloc
from pathlib import Path

import pytest

from kstore.errors import CorruptRecordError, OutOfOrderSequenceError, UnsupportedForMessageFormatError
from kstore.log.append import COORDINATOR
from kstore.log.config import LogConfig
from kstore.log.log_dir import LogDir
from kstore.log.partition_log import PartitionLog
from tests.log.build import NOW, append, batch, batches_of, crash, fill, marker, offsets_of, open_log

SIZE = len(batch())
MIB = 1024 * 1024


def recover(directory: Path, config: LogConfig | None = None, **arguments: object) -> PartitionLog:
    return open_log(directory, config, clean_shutdown=False, **arguments)


def small(**fields: object) -> LogConfig:
    return LogConfig(**{"segment_bytes": 5 * SIZE, "index_interval_bytes": 2 * SIZE, **fields})  # type: ignore[arg-type]


def idempotent(sequence: int, **arguments: object) -> bytearray:
    return batch(producer_id=7, producer_epoch=0, base_sequence=sequence, **arguments)  # type: ignore[arg-type]


def entries(log: PartitionLog) -> list[tuple[list[tuple[int, int]], list[tuple[int, int]]]]:
    """All index entries of all segments."""
    return [
        (
            [s.offset_index.entry(n) for n in range(s.offset_index.entries)],
            [s.time_index.entry(n) for n in range(s.time_index.entries)],
        )
        for s in log.segments
    ]


def write(directory: Path, count: int, config: LogConfig | None = None) -> PartitionLog:
    log = open_log(directory, config or small())
    for number in range(count):
        append(log, batch(timestamp=NOW + number), leader_epoch=number // 10)
    log.maybe_increment_high_watermark(count)
    return log


# --- the torn tail ---


@pytest.mark.parametrize("kept", [0, 1, 12, 17, 60, SIZE - 1])
def test_torn_tail_is_cut(tmp_path: Path, kept: int) -> None:
    directory = tmp_path / "topic-0"
    log = write(directory, 3, LogConfig())
    crash(log)
    path = directory / "00000000000000000000.log"
    path.write_bytes(path.read_bytes()[: 2 * SIZE + kept])
    log = recover(directory)
    assert (log.log_end_offset, log.size_in_bytes) == (2, 2 * SIZE)
    assert path.stat().st_size == 2 * SIZE
    assert append(log, batch()).first_offset == 2
    assert offsets_of(batches_of(log)) == [0, 1, 2]


@pytest.mark.parametrize("garbage", [bytes(100), b"\xff" * 100, b"\0" * 4096, batch(base_offset=3)[:-1]])
def test_garbage_behind_the_last_batch_is_cut(tmp_path: Path, garbage: bytes) -> None:
    directory = tmp_path / "topic-0"
    crash(write(directory, 3, LogConfig()))
    path = directory / "00000000000000000000.log"
    path.write_bytes(path.read_bytes() + garbage)
    log = recover(directory)
    assert (log.log_end_offset, path.stat().st_size) == (3, 3 * SIZE)


@pytest.mark.parametrize("position", range(8, SIZE, 7))
def test_every_flipped_byte_above_the_recovery_point_ends_the_log(tmp_path: Path, position: int) -> None:
    directory = tmp_path / "topic-0"
    crash(write(directory, 4, LogConfig()))
    path = directory / "00000000000000000000.log"
    content = bytearray(path.read_bytes())
    content[2 * SIZE + position] ^= 0x55
    path.write_bytes(content)
    if position == 16 or 12 <= position < 16:  # the magic; the leader epoch, which no checksum covers
        return
    log = recover(directory)
    assert log.log_end_offset == 2
    assert offsets_of(batches_of(log)) == [0, 1]


def test_segments_behind_damage_are_removed(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    crash(write(directory, 18))
    path = directory / "00000000000000000005.log"
    content = bytearray(path.read_bytes())
    content[2 * SIZE + 30] ^= 1
    path.write_bytes(content)
    log_dir = LogDir(str(tmp_path))
    log = recover(directory, small(), log_dir=log_dir)
    assert (log.log_end_offset, [s.base_offset for s in log.segments]) == (7, [0, 5])
    assert len(log_dir.deleted[0].names) >= 6
    assert offsets_of(batches_of(log)) == list(range(7))


def test_offsets_that_go_back_end_the_log(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    crash(write(directory, 3, LogConfig()))
    path = directory / "00000000000000000000.log"
    path.write_bytes(path.read_bytes() + batch(base_offset=1))
    assert recover(directory).log_end_offset == 3


# --- the recovery point ---


def test_batches_below_the_recovery_point_are_not_read_again(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    crash(write(directory, 18))
    path = directory / "00000000000000000005.log"
    content = bytearray(path.read_bytes())
    content[SIZE + 70] ^= 1
    path.write_bytes(content)
    log = recover(directory, small(), recovery_point=10)
    assert log.log_end_offset == 18
    assert log.recovery_point == 10
    with pytest.raises(CorruptRecordError):
        batches_of(log)


def test_recovery_begins_inside_a_segment(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    config = LogConfig(index_interval_bytes=SIZE)
    log = write(directory, 20, config)
    log.flush(now_ms=NOW)
    point = log.recovery_point
    for number in range(20, 30):
        append(log, batch(timestamp=NOW + number), leader_epoch=3)
    expected = entries(log)
    crash(log)
    path = directory / "00000000000000000000.log"
    content = bytearray(path.read_bytes())
    content[5 * SIZE + 70] ^= 1  # believed
    content[28 * SIZE + 70] ^= 1  # checked
    path.write_bytes(content)
    log = recover(directory, config, recovery_point=point)
    assert log.log_end_offset == 28
    log.truncate_to(28, now_ms=NOW)
    found = entries(log)
    assert found[0][0] == [entry for entry in expected[0][0] if entry[0] < 28]


@pytest.mark.parametrize("recovery_point", [0, 3, 5, 7, 10, 18, 99])
def test_recovered_indexes_are_those_of_an_undisturbed_life(tmp_path: Path, recovery_point: int) -> None:
    crash(write(tmp_path / "a-0", 18))
    undisturbed = write(tmp_path / "b-0", 18)
    undisturbed.begin_close()
    log = recover(tmp_path / "a-0", small(), recovery_point=recovery_point)
    assert entries(log) == entries(undisturbed)
    assert [s.load_max_timestamp() for s in log.segments] == [s.load_max_timestamp() for s in undisturbed.segments]
    assert log.leader_epoch_cache.entries == undisturbed.leader_epoch_cache.entries


def test_recovery_twice_changes_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    crash(write(directory, 18))
    log = recover(directory, small())
    first = entries(log), log.producer_state.snapshots, [s.size for s in log.segments]
    crash(log)
    log = recover(directory, small())
    assert (entries(log), log.producer_state.snapshots, [s.size for s in log.segments]) == first


def test_recovery_point_beyond_the_log_is_brought_back(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    log = write(directory, 18)
    log.flush(now_ms=NOW)
    crash(log)
    (directory / "00000000000000000015.log").write_bytes(b"")
    log = recover(directory, small(), recovery_point=18)
    assert (log.log_end_offset, log.recovery_point) == (15, 15)
    assert append(log, batch()).first_offset == 15


def test_hole_that_a_power_loss_left_ends_the_log(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    crash(write(directory, 18))
    path = directory / "00000000000000000005.log"
    path.write_bytes(path.read_bytes()[: 3 * SIZE])  # the next segment's name was durable before these bytes were
    log = recover(directory, small(), recovery_point=5)
    assert (log.log_end_offset, [s.base_offset for s in log.segments]) == (8, [0, 5])
    crash(log)


def test_hole_that_compaction_left_is_kept(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    crash(write(directory, 18))
    path = directory / "00000000000000000005.log"
    path.write_bytes(path.read_bytes()[: 3 * SIZE])
    log = recover(directory, small(cleanup_policy=("compact",)), recovery_point=5)
    assert log.log_end_offset == 18
    assert offsets_of(batches_of(log)) == [*range(8), *range(10, 18)]


def test_log_that_was_killed_is_said_to_be(tmp_path: Path) -> None:
    crash(write(tmp_path / "topic-0", 3))
    assert recover(tmp_path / "topic-0").recovered_from_crash
    assert not open_log(tmp_path / "other-0", clean_shutdown=False).recovered_from_crash  # new


def test_empty_active_segment_is_recovered(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    log = write(directory, 5)
    log.roll(now_ms=NOW)
    crash(log)
    log = recover(directory, small())
    assert [s.base_offset for s in log.segments] == [0, 5]
    assert append(log, batch()).first_offset == 5


# --- indexes ---


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("suffix", ["index", "timeindex"])
def test_missing_indexes_are_built(tmp_path: Path, clean: bool, suffix: str) -> None:
    directory = tmp_path / "topic-0"
    log = write(directory, 18)
    log.begin_close()
    expected = entries(log)
    log.close()
    for path in directory.glob(f"*.{suffix}"):
        path.unlink()
    log = open_log(directory, small(), clean_shutdown=clean, recovery_point=18)
    assert log.log_end_offset == 18
    assert [offsets for offsets, _ in entries(log)] == [offsets for offsets, _ in expected]
    assert [times[-1] for _, times in entries(log)] == [times[-1] for _, times in expected]
    for number in range(18):
        found = log.offset_for_timestamp(NOW + number)
        assert found is not None
        assert found.offset == number


@pytest.mark.parametrize("content", [b"", b"\1", b"\xff" * 24, b"\x7f" * 25, bytes(10 << 20)], ids=len)
@pytest.mark.parametrize("suffix", ["index", "timeindex"])
def test_damaged_indexes_cost_no_records(tmp_path: Path, suffix: str, content: bytes) -> None:
    directory = tmp_path / "topic-0"
    log = write(directory, 18)
    log.begin_close()
    log.close()
    for path in directory.glob(f"*.{suffix}"):
        path.write_bytes(content)
    log = open_log(directory, small(), clean_shutdown=True)
    assert log.log_end_offset == 18
    for number in range(18):
        assert offsets_of(batches_of(log, number))[0] == number
        found = log.offset_for_timestamp(NOW + number)
        assert found is not None
        assert found.offset == number
    assert append(log, batch()).first_offset == 18


def test_index_without_a_log_is_removed(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    write(directory, 3).close()
    for suffix in ("index", "timeindex", "txnindex"):
        (directory / f"00000000000000000099.{suffix}").write_bytes(bytes(24))
    log = open_log(directory, small())
    assert [s.base_offset for s in log.segments] == [0]
    assert not list(directory.glob("*99.*"))


def test_damage_inside_a_log_that_was_closed_is_left_for_readers_to_be_told(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    log = write(directory, 18)
    log.begin_close()
    log.close()
    path = directory / "00000000000000000005.log"
    content = bytearray(path.read_bytes())
    content[2 * SIZE + 8 : 2 * SIZE + 12] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    (directory / "00000000000000000005.index").unlink()
    log = open_log(directory, small())
    assert path.read_bytes() == content
    assert offsets_of(batches_of(log, 10)) == list(range(10, 18))
    with pytest.raises(CorruptRecordError):
        log.read(7, max_bytes=SIZE)


def test_nothing_is_appended_behind_a_torn_tail_of_a_log_that_was_closed(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    write(directory, 3, LogConfig()).close()
    path = directory / "00000000000000000000.log"
    path.write_bytes(path.read_bytes() + batch()[:40])
    log = open_log(directory)
    assert append(log, batch()).first_offset == 3
    assert offsets_of(batches_of(log)) == [0, 1, 2, 3]


# --- producers and transactions ---


def test_producer_state_is_rebuilt_without_snapshots(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    log = open_log(directory, small())
    for sequence in range(12):
        append(log, idempotent(sequence))
    crash(log)
    for path in directory.glob("*.snapshot"):
        path.unlink()
    log = recover(directory, small())
    assert append(log, idempotent(11)).is_duplicate
    with pytest.raises(OutOfOrderSequenceError):
        append(log, idempotent(20))
    append(log, idempotent(12))
    assert [offset for offset in log.producer_state.snapshots if offset < 12] == [
        s.base_offset for s in log.segments if 0 < s.base_offset < 12
    ]


@pytest.mark.parametrize("recovery_point", [0, 4, 6, 9, 12])
def test_snapshots_are_there_again_after_recovery(tmp_path: Path, recovery_point: int) -> None:
    directory = tmp_path / "topic-0"
    config = LogConfig(segment_bytes=3 * len(idempotent(0)))
    log = open_log(directory, config)
    for sequence in range(12):
        append(log, idempotent(sequence))
    crash(log)
    log = recover(directory, config, recovery_point=recovery_point)
    assert log.producer_state.snapshots == [3, 6, 9, 12]
    for offset in (3, 6, 9, 12):
        assert [e.last_sequence for e in log.producer_state.read_snapshot(offset)] == [offset - 1]


def test_torn_snapshot_is_not_believed(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    config = LogConfig(segment_bytes=3 * len(idempotent(0)))
    log = open_log(directory, config)
    for sequence in range(8):
        append(log, idempotent(sequence))
    crash(log)
    for path in directory.glob("*.snapshot"):
        path.write_bytes(path.read_bytes()[:-9])
    log = recover(directory, config, recovery_point=7)
    assert log.producer_state.producers[7].last_sequence == 7
    append(log, idempotent(8))


def test_snapshots_beyond_the_recovered_end_go(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    config = LogConfig(segment_bytes=3 * len(idempotent(0)))
    log = open_log(directory, config)
    for sequence in range(8):
        append(log, idempotent(sequence))
    log.flush(now_ms=NOW)
    crash(log)
    path = directory / "00000000000000000003.log"
    path.write_bytes(path.read_bytes()[:-1])
    log = recover(directory, config, recovery_point=0)
    assert log.log_end_offset == 5
    assert log.producer_state.snapshots == [3, 5]
    assert log.producer_state.producers[7].last_sequence == 4
    append(log, idempotent(5))


def test_transaction_that_began_before_the_log_start_is_still_aborted(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    log = open_log(directory)
    append(log, batch(producer_id=1, producer_epoch=0, base_sequence=0, transactional=True))
    append(log, batch(producer_id=1, producer_epoch=0, base_sequence=1, transactional=True))
    append(log, marker(1), origin=COORDINATOR)
    log.maybe_increment_high_watermark(3)
    log.maybe_increment_log_start_offset(1)
    close(log)
    for clean in (True, False):
        for path in directory.glob("*.*index"):
            path.unlink()
        log = open_log(directory, log_start_offset=1, clean_shutdown=clean)
        assert log.collect_aborted_transactions(1, 3) == [(1, 0, 2, 3)]
        close(log)


def close(log: PartitionLog) -> None:
    job = log.begin_close()
    assert job is not None
    job.run()
    log.complete_flush(job, now_ms=NOW)
    log.close()


def test_missing_indexes_do_not_cost_what_a_snapshot_knows(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    log = open_log(directory)
    append(log, idempotent(0))
    fill(log, 1)
    log.maybe_increment_log_start_offset(1)
    close(log)
    for path in directory.glob("*.*index"):
        path.unlink()
    log = open_log(directory, log_start_offset=1)
    with pytest.raises(OutOfOrderSequenceError):
        append(log, idempotent(7))
    append(log, idempotent(1))


def test_producers_whose_records_were_deleted_are_kept(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    log = open_log(directory)
    for producer_id in (1, 2, 3):
        append(log, batch(producer_id=producer_id, producer_epoch=0, base_sequence=0))
    log.maybe_increment_high_watermark(3)
    log.maybe_increment_log_start_offset(1)
    assert set(log.producer_state.producers) == {1, 2, 3}
    crash(log)
    log = recover(directory, log_start_offset=1)
    assert set(log.producer_state.producers) == {1, 2, 3}
    assert log.log_start_offset == 1


def test_open_transaction_is_found_again(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    log = open_log(directory, small())
    fill(log, 6)
    append(log, idempotent(0, transactional=True))
    fill(log, 6)
    crash(log)
    log = recover(directory, small(), recovery_point=12)
    log.update_high_watermark(13)
    assert log.last_stable_offset == 6
    append(log, marker(7), origin=COORDINATOR)
    log.maybe_increment_high_watermark(14)
    assert log.last_stable_offset == 14
    assert log.collect_aborted_transactions(0, 14) == [(7, 6, 13, 14)]


@pytest.mark.parametrize("recovery_point", [0, 3, 6, 8])
@pytest.mark.parametrize("lost", [True, False])
def test_transaction_index_is_rebuilt(tmp_path: Path, recovery_point: int, lost: bool) -> None:
    directory = tmp_path / "topic-0"
    config = LogConfig(segment_bytes=3 * len(idempotent(0, transactional=True)))
    log = open_log(directory, config)
    for producer_id in (1, 2, 3, 4):
        append(log, batch(producer_id=producer_id, producer_epoch=0, base_sequence=0, transactional=True))
    for producer_id in (2, 1, 3):
        append(log, marker(producer_id, commit=producer_id == 1), origin=COORDINATOR)
    expected = log.collect_aborted_transactions(0, 100)
    crash(log)
    if lost and recovery_point < 4:
        for path in directory.glob("*.txnindex"):
            path.unlink()
    log = recover(directory, config, recovery_point=recovery_point)
    assert log.collect_aborted_transactions(0, 100) == expected
    assert [txn.producer_id for txn in expected] == [2, 3]
    log.update_high_watermark(7)
    assert log.last_stable_offset == 3


def test_damaged_transaction_index_is_rebuilt(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    log = open_log(directory)
    append(log, batch(producer_id=1, producer_epoch=0, base_sequence=0, transactional=True))
    append(log, marker(1), origin=COORDINATOR)
    expected = log.collect_aborted_transactions(0, 100)
    log.close()
    (directory / "00000000000000000000.txnindex").write_bytes(b"\x7f" * 34)
    log = open_log(directory)
    assert log.collect_aborted_transactions(0, 100) == expected


def test_old_coordinators_marker_in_the_log_is_taken(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    log = open_log(directory)
    for base, coordinator_epoch in ((0, 5), (2, 3)):
        follower = {"base_offset": base, "producer_id": 1, "producer_epoch": 0}
        records = batch(base_sequence=base, transactional=True, **follower) + marker(
            1, base_offset=base + 1, coordinator_epoch=coordinator_epoch
        )
        log.append_as_follower(records, leader_epoch=0, now_ms=NOW)
    crash(log)
    log = recover(directory)
    assert log.producer_state.producers[1].coordinator_epoch == 3
    assert len(log.collect_aborted_transactions(0, 9)) == 2


# --- leader epochs and log start ---


def test_leader_epochs_are_rebuilt_from_the_batches(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    crash(write(directory, 25))
    (directory / "leader-epoch-checkpoint").unlink()
    log = recover(directory, small())
    assert [tuple(entry) for entry in log.leader_epoch_cache.entries] == [(0, 0), (1, 10), (2, 20)]


def test_damaged_leader_epochs_are_read_from_the_log(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    write(directory, 25).close()
    (directory / "leader-epoch-checkpoint").write_bytes(b"0\n9\n0 0\n")
    log = open_log(directory, small())
    assert [tuple(entry) for entry in log.leader_epoch_cache.entries] == [(0, 0), (1, 10), (2, 20)]
    assert (directory / "leader-epoch-checkpoint").read_bytes() == b"0\n3\n0 0\n1 10\n2 20\n"


def test_stale_leader_epochs_are_cut_to_the_log(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    crash(write(directory, 15))
    (directory / "leader-epoch-checkpoint").write_bytes(b"0\n4\n0 0\n1 10\n2 15\n3 99\n")
    log = recover(directory, small(), log_start_offset=3)
    assert [tuple(entry) for entry in log.leader_epoch_cache.entries] == [(0, 3), (1, 10)]


def test_log_start_beyond_the_log_begins_it_anew(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    crash(write(directory, 15))
    log = recover(directory, small(), log_start_offset=40)
    assert (log.log_start_offset, log.log_end_offset, log.size_in_bytes) == (40, 40, 0)
    assert append(log, batch()).first_offset == 40


def test_log_start_beyond_the_log_is_believed_up_to_the_high_watermark(tmp_path: Path) -> None:
    """Records were deleted, and a power loss took the tail: what is left is not to be seen again."""
    directory = tmp_path / "topic-0"
    crash(write(directory, 15))
    log = recover(directory, small(), log_start_offset=40, high_watermark=41)
    assert (log.log_start_offset, log.log_end_offset, log.size_in_bytes) == (40, 40, 0)


@pytest.mark.parametrize("clean", [True, False])
def test_log_start_beyond_all_that_is_known_of_the_log_deletes_nothing(
    tmp_path: Path, clean: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A damaged digit of the checkpoint deleted the whole log."""
    directory = tmp_path / "topic-0"
    log = write(directory, 15)
    log.begin_close()
    log.close()
    log = open_log(directory, small(), clean_shutdown=clean, log_start_offset=90, high_watermark=15)
    assert (log.log_start_offset, offsets_of(batches_of(log))) == (0, list(range(15)))
    assert log.log_dir.deleted == []
    assert "begins at offset 90, but it ends at 15" in caplog.text


def test_log_start_above_an_old_high_watermark_is_believed_within_the_log(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    crash(write(directory, 15))
    log = recover(directory, small(), log_start_offset=12, high_watermark=3)
    assert (log.log_start_offset, log.log_end_offset) == (12, 15)


def test_log_start_below_the_first_segment_is_raised(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    log = write(directory, 15)
    log.update_config(log.config._replace(retention_bytes=6 * SIZE))
    log.delete_old_segments(NOW)
    crash(log)
    assert recover(directory, small(), log_start_offset=2).log_start_offset == 5


# --- memory ---


def peak_of_recovery(directory: Path, **arguments: object) -> tuple[PartitionLog, int]:
    """The recovered log, and how many bytes were in memory at once."""
    tracemalloc.start()
    try:
        log = recover(directory, **arguments)
        return log, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("magic", [0, 2])
def test_damaged_length_costs_no_memory(tmp_path: Path, magic: int) -> None:
    """A batch that claimed the rest of its segment was read into memory whole, up to 1 GiB a thread."""
    directory = tmp_path / "topic-0"
    crash(write(directory, 3, LogConfig()))
    path = directory / "00000000000000000000.log"
    size = 64 * MIB
    damaged = bytearray(61)
    damaged[8:12] = (size - 2 * SIZE - 12).to_bytes(4, "big")
    damaged[16] = magic
    with open(path, "r+b") as file:
        file.seek(2 * SIZE)
        file.write(damaged)
        file.truncate(size)
    log, peak = peak_of_recovery(directory)
    assert log.log_end_offset == 2
    assert peak < 4 * MIB


def test_large_batches_are_recovered_in_little_memory(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    log = open_log(directory, LogConfig(max_message_bytes=64 * MIB))
    for value in (b"x", bytes(32 * MIB), b"y"):
        append(log, batch(value=value, producer_id=7, producer_epoch=0, base_sequence=log.log_end_offset))
    crash(log)
    log, peak = peak_of_recovery(directory)
    assert log.log_end_offset == 3
    assert log.producer_state.producers[7].last_sequence == 2
    assert peak < 4 * MIB


# --- what cannot be served ---


@pytest.mark.parametrize("magic", [0, 1])
@pytest.mark.parametrize("clean", [True, False])
def test_old_messages_are_named_with_file_and_position(tmp_path: Path, magic: int, clean: bool) -> None:
    directory = tmp_path / "topic-0"
    write(directory, 8).close()
    path = directory / "00000000000000000000.log"
    content = bytearray(path.read_bytes())
    content[16] = magic
    path.write_bytes(content)
    with pytest.raises(UnsupportedForMessageFormatError, match=r"position 0 of .*00000000000000000000\.log"):
        open_log(directory, small(), clean_shutdown=clean, recovery_point=8)


def test_old_message_found_by_recovery_is_named(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    crash(write(directory, 3, LogConfig()))
    path = directory / "00000000000000000000.log"
    content = bytearray(path.read_bytes())
    content[2 * SIZE + 16] = 1
    path.write_bytes(content)
    with pytest.raises(UnsupportedForMessageFormatError, match=f"position {2 * SIZE}"):
        recover(directory)


def test_unreadable_topic_id_of_a_log_with_records_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    write(directory, 3).close()
    (directory / "partition.metadata").write_bytes(b"version: 0\ntopic_id: !!!")
    with pytest.raises(CorruptRecordError):
        open_log(directory)


def test_torn_topic_id_of_an_empty_log_is_as_none(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    open_log(directory).close()
    (directory / "partition.metadata").write_bytes(b"")
    assert open_log(directory).topic_id is None


def test_log_file_with_another_name_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    write(directory, 3).close()
    (directory / "x.log").write_bytes(b"")
    with pytest.raises(CorruptRecordError):
        open_log(directory)


def test_length_with_nothing_but_zeros_behind_it_is_a_torn_tail(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    crash(write(directory, 3, LogConfig()))
    path = directory / "00000000000000000000.log"
    content = bytearray(path.read_bytes())
    content[2 * SIZE + 12 :] = bytes(SIZE - 12)
    path.write_bytes(content)
    assert open_log(directory, clean_shutdown=False).log_end_offset == 2


def test_zeros_where_the_recovery_point_is_are_a_torn_tail(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    crash(write(directory, 3, LogConfig()))
    with open(directory / "00000000000000000000.log", "ab") as file:
        file.write(bytes(4096))
    log = open_log(directory, clean_shutdown=False, recovery_point=3)
    assert log.log_end_offset == 3
    assert not log.log_dir.has_lost_batches


def test_batches_behind_damage_are_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    directory = tmp_path / "topic-0"
    crash(write(directory, 6, LogConfig()))
    path = directory / "00000000000000000000.log"
    content = bytearray(path.read_bytes())
    content[3 * SIZE - 1] ^= 1
    path.write_bytes(content)
    log = open_log(directory, clean_shutdown=False)
    assert log.log_end_offset == 2
    assert "3 batches up to offset 5 lie behind the damage" in caplog.text
    assert log.log_dir.has_lost_batches


@pytest.mark.parametrize(("position", "data"), [(23, b"\x80\0\0\0"), (0, b"\x80")])
def test_a_last_batch_that_says_it_ends_before_the_log_begins_does_not_delete_it(
    tmp_path: Path, position: int, data: bytes
) -> None:
    """After an orderly stop its offsets were believed: the log ended before its start, and all of it was deleted."""
    log = open_log(tmp_path / "topic-0", LogConfig(segment_bytes=4 * len(batch())))
    fill(log, 6)
    log.flush(now_ms=NOW)
    crash(log)
    with (tmp_path / "topic-0" / "00000000000000000004.log").open("r+b") as file:
        file.seek(len(batch()) + position)
        file.write(data)
    again = open_log(tmp_path / "topic-0", clean_shutdown=True)
    assert offsets_of(batches_of(again)) == [0, 1, 2, 3, 4]
    assert append(again, batch()).first_offset == 5


def test_an_index_that_leads_out_of_the_log_costs_nothing(tmp_path: Path) -> None:
    """What was found by timestamp lay where the offset index said, wherever that was."""
    log = open_log(tmp_path / "topic-0", LogConfig(index_interval_bytes=1))
    for number in range(6):
        append(log, batch(timestamp=NOW + number))
    log.flush(now_ms=NOW)
    log.close()
    with (tmp_path / "topic-0" / "00000000000000000000.index").open("r+b") as file:
        file.seek(8 + 4)
        file.write(b"\x80")
    again = open_log(tmp_path / "topic-0", clean_shutdown=True)
    found = again.offset_for_timestamp(NOW + 2)
    assert found is not None
    assert found.offset == 2


def test_a_time_index_with_a_time_before_all_times_costs_nothing(tmp_path: Path) -> None:
    log = open_log(tmp_path / "topic-0", LogConfig(index_interval_bytes=1))
    for number in range(9):
        append(log, batch(timestamp=NOW + number))
    log.flush(now_ms=NOW)
    log.close()
    with (tmp_path / "topic-0" / "00000000000000000000.timeindex").open("r+b") as file:
        file.seek(5 * 12)
        file.write(b"\x80")
    again = open_log(tmp_path / "topic-0", clean_shutdown=True)
    for number in range(9):
        found = again.offset_for_timestamp(NOW + number)
        assert found is not None
        assert found.offset == number


def test_a_last_batch_that_says_it_comes_earlier_does_not_take_the_end_back(tmp_path: Path) -> None:
    """The end of the log was what that batch said, and the next record got an offset that was taken."""
    log = open_log(tmp_path / "topic-0", LogConfig(index_interval_bytes=1))
    fill(log, 6)
    log.flush(now_ms=NOW)
    log.close()
    with (tmp_path / "topic-0" / "00000000000000000000.log").open("r+b") as file:
        file.seek(5 * len(batch()) + 7)
        file.write(b"\x01")
    again = open_log(tmp_path / "topic-0", clean_shutdown=True)
    assert offsets_of(batches_of(again)) == [0, 1, 2, 3, 4]
    assert append(again, batch()).first_offset == 5
