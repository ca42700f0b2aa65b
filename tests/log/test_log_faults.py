"""Disks that are full or fail: nothing that was acknowledged is lost, nothing that failed is acknowledged."""

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kstore.errors import KafkaError, KafkaStorageError, OutOfOrderSequenceError
from kstore.log.config import LogConfig
from kstore.log.memory_directory import MemoryDirectory
from kstore.log.memory_log import MemoryLog
from tests.log.build import NOW, TP, append, batch, batches_of, content, fill, offsets_of, open_log

SIZE = len(batch())
CONFIG = LogConfig(segment_bytes=4 * SIZE, index_interval_bytes=1, retention_bytes=12 * SIZE, file_delete_delay_ms=0)


class FailNth:
    """Fails the operation number `nth` of all that the log does, with `code`."""

    def __init__(self, nth: int, code: int, *, and_all_after: bool = False) -> None:
        self.nth = nth
        self.code = code
        self.and_all_after = and_all_after
        self.seen = 0
        self.failed: str | None = None

    def __call__(self, kind: str, name: str) -> int | None:
        self.seen += 1
        if self.seen == self.nth or (self.and_all_after and self.seen > self.nth):
            self.failed = f"{kind} {name}"
            return self.code
        return None


def life(log: MemoryLog) -> tuple[list[int], int]:
    """Appends, rolls, flushes, deletes and reads; returns the acknowledged offsets and the end of the last flush."""
    acknowledged: list[int] = []
    flushed = 0
    for number in range(24):
        try:
            info = append(log, batch(producer_id=7, producer_epoch=0, base_sequence=number), leader_epoch=number // 9)
            acknowledged.append(info.first_offset)
            log.maybe_increment_high_watermark(log.log_end_offset)
            if number % 5 == 4:
                log.flush(now_ms=NOW)
                flushed = log.log_end_offset
            if number % 7 == 6:
                log.delete_old_segments(NOW)
            log.read(log.log_end_offset - 1, max_bytes=SIZE)
        except KafkaStorageError:
            continue
        except KafkaError:
            # A sequence gap behind a refused batch.
            continue
    return acknowledged, flushed


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EMFILE])
@pytest.mark.parametrize("and_all_after", [False, True])
def test_whatever_operation_fails_nothing_acknowledged_is_lost(code: int, and_all_after: bool) -> None:
    counted = FailNth(0, 0)
    log = MemoryLog.create(TP, CONFIG, now_ms=NOW)
    log.memory.fault = counted
    life(log)
    assert counted.seen > 100
    for nth in range(1, counted.seen + 1):
        fault = FailNth(nth, code, and_all_after=and_all_after)
        log = MemoryLog.create(TP, CONFIG, now_ms=NOW)
        log.memory.fault = fault
        acknowledged, flushed = life(log)
        log.memory.fault = None
        where = f"operation {nth}: {fault.failed}"
        # What was acknowledged is in order, without a hole, and can be read while the directory is online.
        assert acknowledged == sorted(set(acknowledged)), where
        assert log.log_end_offset == (acknowledged[-1] + 1 if acknowledged else 0), where
        if log.log_dir.failure is None:
            assert offsets_of(batches_of(log)) == list(range(log.log_start_offset, log.log_end_offset)), where
            info = append(log, batch())
            assert info.first_offset == log.log_end_offset - 1, where
        else:
            assert code == errno.EIO or (fault.failed or "").startswith(("sync", "rename", "delete")), where
            with pytest.raises(KafkaStorageError):
                append(log, batch())
        again = log.crash(now_ms=NOW)
        assert again.log_end_offset >= flushed, where
        assert offsets_of(batches_of(again)) == list(range(again.log_start_offset, again.log_end_offset)), where


def test_full_disk_refuses_reads_on_and_accepts_when_there_is_room() -> None:
    log = MemoryLog.create(TP, LogConfig(), now_ms=NOW)
    fill(log, 3)
    log.memory.room = sum(len(file.data) for file in log.memory.files.values()) + SIZE // 2
    for _ in range(3):
        with pytest.raises(KafkaStorageError) as caught:
            append(log, batch())
        assert caught.value.retriable
    assert (log.log_end_offset, log.size_in_bytes) == (3, 3 * SIZE)
    assert offsets_of(batches_of(log)) == [0, 1, 2]
    assert log.log_dir.failure is None
    log.memory.room = None
    assert append(log, batch()).first_offset == 3


@pytest.mark.parametrize("known", [True, False])
def test_what_follows_a_batch_that_the_full_disk_did_not_take_is_no_gap(known: bool) -> None:
    """Told of a gap, librdkafka began a new epoch and sent again what other partitions had appended (found with three
    brokers and random faults)."""
    log = MemoryLog.create(TP, LogConfig(), now_ms=NOW)
    first = 3 if known else 0

    def send(sequence: int, epoch: int = 0) -> int:
        return append(log, batch(producer_id=7, producer_epoch=epoch, base_sequence=sequence)).first_offset

    for sequence in range(first):
        send(sequence)
    log.memory.fault = lambda kind, name: errno.ENOSPC if kind == "write" else None
    with pytest.raises(KafkaStorageError):
        send(first)
    log.memory.fault = None
    for sequence in (first + 1, first + 2):
        with pytest.raises(KafkaStorageError, match=f"behind {first}, which could not be taken yet"):
            send(sequence)
    # Another producer has nothing to do with it; all goes on in order, and a repetition is known again.
    other = append(log, batch(producer_id=8, producer_epoch=0, base_sequence=0)).first_offset
    assert [send(first + each) for each in range(3)] == [other + 1, other + 2, other + 3]
    assert send(first) == other + 1
    with pytest.raises(OutOfOrderSequenceError):
        send(first + 9)


@pytest.mark.parametrize("from_leader", [False, True])
def test_a_new_epoch_of_the_producer_and_what_another_leader_took_end_the_refusal(from_leader: bool) -> None:
    log = MemoryLog.create(TP, LogConfig(), now_ms=NOW)
    log.memory.fault = lambda kind, name: errno.ENOSPC if kind == "write" else None
    with pytest.raises(KafkaStorageError):
        append(log, batch(producer_id=7, producer_epoch=0, base_sequence=0))
    log.memory.fault = None
    if from_leader:
        log.append_as_follower(batch(producer_id=7, producer_epoch=0, base_sequence=0), leader_epoch=0, now_ms=NOW)
    else:
        append(log, batch(producer_id=7, producer_epoch=1, base_sequence=0))
    append(log, batch(producer_id=7, producer_epoch=0 if from_leader else 1, base_sequence=1))
    assert log.log_end_offset == 2


def test_full_disk_lets_retention_make_room() -> None:
    config = LogConfig(segment_bytes=4 * SIZE, retention_bytes=0, file_delete_delay_ms=0)
    log = MemoryLog.create(TP, config, now_ms=NOW)
    fill(log, 12)
    log.memory.fault = lambda kind, name: errno.ENOSPC if kind == "write" else None
    with pytest.raises(KafkaStorageError):
        log.delete_old_segments(NOW)  # the active segment cannot be replaced
    assert [s.base_offset for s in log.segments] == [8]
    assert len(log.log_dir.deleted) == 1
    log.memory.fault = None
    assert log.delete_old_segments(NOW) == 1
    assert append(log, batch()).first_offset == 12


def test_failed_fsync_is_final() -> None:
    log = MemoryLog.create(TP, LogConfig(), now_ms=NOW)
    fill(log, 3)
    syncs = []

    def fail_data_syncs(kind: str, name: str) -> int | None:
        if kind == "sync" and name.endswith(".log"):
            syncs.append(name)
            return errno.ENOSPC
        return None

    log.memory.fault = fail_data_syncs
    with pytest.raises(KafkaStorageError):
        log.flush(now_ms=NOW)
    log.memory.fault = None
    assert log.log_dir.failure is not None
    assert log.recovery_point == 0
    for attempt in (lambda: log.flush(now_ms=NOW), lambda: append(log, batch()), lambda: log.read(0, max_bytes=1)):
        with pytest.raises(KafkaStorageError):
            attempt()
    assert len(syncs) == 1


def test_failed_read_takes_the_directory_offline() -> None:
    log = MemoryLog.create(TP, LogConfig(), now_ms=NOW)
    fill(log, 3)
    log.memory.fault = lambda kind, name: errno.EIO if kind == "read" else None
    with pytest.raises(KafkaStorageError):
        log.read(0, max_bytes=1)
    assert log.log_dir.failure is not None


def test_full_disk_while_cutting_leaves_a_log_that_works() -> None:
    log = MemoryLog.create(TP, LogConfig(segment_bytes=4 * SIZE), now_ms=NOW)
    for number in range(12):
        append(log, batch(), leader_epoch=number)
    log.memory.fault = lambda kind, name: errno.ENOSPC if kind == "write" else None
    log.truncate_to(6, now_ms=NOW)
    assert log.latest_epoch == 5
    log.memory.fault = None
    append(log, batch(), leader_epoch=20)
    again = MemoryDirectory()
    again.files = log.memory.files
    assert log.memory.read_file("leader-epoch-checkpoint") == b"0\n7\n0 0\n1 1\n2 2\n3 3\n4 4\n5 5\n20 6\n"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    mount = tmp_path / "disk"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(mount)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        # The same cases run over MemoryDirectory everywhere.
        yield tmp_path
        return
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


def test_real_file_system_that_fills_up(small_disk: Path) -> None:
    if not os.path.ismount(small_disk):
        pytest.skip("only root can mount a small file system")
    log = open_log(small_disk / "topic-0", LogConfig(segment_bytes=64 * 1024, retention_bytes=0))
    acknowledged = 0
    while log.size_in_bytes < 1 << 20:
        try:
            append(log, batch(value=bytes(1000)))
        except KafkaStorageError:
            break
        acknowledged += 1
    assert 100 < acknowledged < 300
    assert log.log_dir.failure is None
    for _ in range(3):
        with pytest.raises(KafkaStorageError):
            append(log, batch(value=bytes(1000)))
    assert offsets_of(batches_of(log)) == list(range(acknowledged))
    # A smaller batch may still fit, and the log goes on where it was.
    log.maybe_increment_high_watermark(acknowledged)
    assert log.delete_old_segments(NOW) >= 1
    for files in log.log_dir.deleted:
        files.unlink()
    assert append(log, batch(value=bytes(1000))).first_offset == acknowledged
    assert len(content(log.read(acknowledged, max_bytes=1))) > 1000
    for segment in log.segments:
        segment.drop_handles()
    again = open_log(small_disk / "topic-0", clean_shutdown=False, log_start_offset=log.log_start_offset)
    assert again.log_end_offset == acknowledged + 1
