"""Descriptors: a partition holds one, and when none is left nothing goes offline for it."""

import errno
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kstore.errors import ConfigError, CorruptIndexError, KafkaStorageError
from kstore.log.config import LogConfig
from kstore.log.directory import DiskDirectory
from kstore.log.log_dir import LogDir
from kstore.log.manager import LogManager
from kstore.log.partition_log import DESCRIPTORS_OF_A_CUT, PartitionLog
from kstore.model import TopicPartition
from tests.log.build import NOW, append, batch, batches_of, fill, offsets_of

MINUTE = 60_000
SIZE = len(batch())


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[LogManager]:
    made = LogManager([str(tmp_path)])
    made.load_all(NOW)
    made.run_due(NOW)
    yield made
    made.close_handles()


def create(manager: LogManager, partition: int = 0, **config: object) -> PartitionLog:
    topic_partition = TopicPartition("topic", partition)
    return manager.get_or_create(topic_partition, topic_id=bytes(16), config=LogConfig(**config), now_ms=NOW)  # type: ignore[arg-type]


def held(directory: Path) -> list[str]:
    """The files below a directory that this process has open, without those of locks."""
    links = (f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd"))
    names = [os.readlink(link) for link in links if os.path.lexists(link)]
    return sorted(name for name in names if name.startswith(f"{directory}/") and not name.endswith(".lock"))


@contextmanager
def failing(monkeypatch: pytest.MonkeyPatch, name: str, times: int = 1) -> Iterator[None]:
    """An operation of directories finds no descriptor, so many times."""
    real: Callable[..., object] = getattr(DiskDirectory, name)
    left = times

    def fail(directory: DiskDirectory, *arguments: object) -> object:
        nonlocal left
        if left:
            left -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return real(directory, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(DiskDirectory, name, fail)
        yield


@contextmanager
def no_descriptors(free: int = 0) -> Iterator[None]:
    """The process finds only so many more."""
    used = set(map(int, os.listdir("/proc/self/fd")))
    limit = [number for number in range(len(used) + free + 1) if number not in used][free]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_partition_holds_one_descriptor(manager: LogManager, tmp_path: Path) -> None:
    """It held three until the next start, for both indexes of its segment were open."""
    for partition in range(10):
        fill(create(manager, partition, index_interval_bytes=0), 5)
    manager.run_due(NOW + MINUTE)
    assert held(tmp_path) == [f"{tmp_path}/topic-{n}/{0:020}.log" for n in range(10)]


def test_old_segments_hold_none_after_a_while(manager: LogManager, tmp_path: Path) -> None:
    log = create(manager, index_interval_bytes=0, segment_bytes=3 * SIZE)
    fill(log, 12)
    manager.run_due(NOW + 1)  # flushes what is sealed
    assert offsets_of(batches_of(log)) == list(range(12))
    manager.run_due(NOW + MINUTE)
    assert held(tmp_path) == [f"{tmp_path}/topic-0/{9:020}.log"]
    assert offsets_of(batches_of(log)) == list(range(12))


def test_old_segments_of_many_logs_are_looked_at_a_few_at_a_time(
    manager: LogManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LogManager, "RELEASES_PER_TICK", 2)
    logs = [create(manager, partition, segment_bytes=2 * SIZE) for partition in range(5)]
    for log in logs:
        fill(log, 4)
    manager.run_due(NOW + MINUTE - 1)
    for log in logs:
        log.read(0, max_bytes=1)
    left = []
    for later in range(3):
        before = len(held(tmp_path))
        manager.tick(NOW + MINUTE + later, NOW + MINUTE + later)
        left.append(before - len(held(tmp_path)))
    assert left[0] == left[1] == 2 * left[2] > 0


def test_segment_that_is_not_durable_keeps_its_descriptor(tmp_path: Path) -> None:
    """With the last descriptor the kernel may forget that a write has failed."""
    log = PartitionLog.open(str(tmp_path), TopicPartition("topic", 0), LogConfig(segment_bytes=3 * SIZE), now_ms=NOW)
    fill(log, 7)
    log.release_descriptors()
    assert held(tmp_path) == [f"{tmp_path}/{n:020}.log" for n in (0, 3, 6)]
    log.flush(now_ms=NOW)
    log.release_descriptors()
    assert held(tmp_path) == [f"{tmp_path}/{6:020}.log"]


def test_descriptors_are_let_go_at_once_when_there_are_none_left(manager: LogManager, tmp_path: Path) -> None:
    log = create(manager, segment_bytes=3 * SIZE)
    fill(log, 7)
    manager.run_due(NOW + 1)  # flushes what is sealed, and lets it go
    assert len(held(tmp_path)) == 1
    batches_of(log)
    assert len(held(tmp_path)) == 3
    log.log_dir.io_error("testing", OSError(errno.EMFILE, "Too many open files"))
    manager.run_due(NOW + 2)
    assert len(held(tmp_path)) == 1


@pytest.mark.parametrize("operation", ["sync_file", "sync"])
def test_flush_that_finds_no_descriptor_is_done_again(
    manager: LogManager, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    """It was taken for a failed fsync, and the directory went offline."""
    log = create(manager, segment_bytes=3 * SIZE)
    for sequence in range(4):
        append(log, batch(producer_id=1, producer_epoch=0, base_sequence=sequence))
    synced: list[str] = []
    sync_file = DiskDirectory.sync_file

    def noted(directory: DiskDirectory, name: str) -> None:
        synced.append(name)
        sync_file(directory, name)

    monkeypatch.setattr(DiskDirectory, "sync_file", noted)
    with failing(monkeypatch, operation), pytest.raises(KafkaStorageError):
        log.flush(now_ms=NOW)
    assert log.log_dir.failure is None
    assert log.recovery_point == 0
    synced.clear()
    log.flush(now_ms=NOW)
    assert log.recovery_point == 4
    # What was sealed and what was written for recovery are not forgotten.
    assert {f"{0:020}.index", f"{3:020}.snapshot"} <= set(synced)


def test_partition_may_be_deleted_while_it_is_flushed(manager: LogManager) -> None:
    """A file that had been closed is opened again by its name, which is another one then."""
    log = create(manager, segment_bytes=3 * SIZE)
    fill(log, 3)
    log.flush(now_ms=NOW)
    fill(log, 1)
    log.release_descriptors()
    job = log.begin_flush()
    assert job is not None
    manager.delete(log.topic_partition, now_ms=NOW)
    job.run()
    assert job.error is None


def test_first_append_that_finds_no_descriptor_is_refused(manager: LogManager, monkeypatch: pytest.MonkeyPatch) -> None:
    log = create(manager)
    with failing(monkeypatch, "sync"), pytest.raises(KafkaStorageError):
        append(log, batch())
    assert log.log_dir.failure is None
    assert append(log, batch()).first_offset == 0


@pytest.mark.parametrize("offset", [0, 4, 7])
def test_cut_that_finds_no_descriptor_is_refused_before_it_begins(manager: LogManager, offset: int) -> None:
    """It took the directory offline, half of it done."""
    log = create(manager, segment_bytes=3 * SIZE)
    for sequence in range(8):
        append(log, batch(producer_id=1, producer_epoch=0, base_sequence=sequence))
    log.flush(now_ms=NOW)
    log.release_descriptors()

    def cut() -> None:
        if offset:
            log.truncate_to(offset, now_ms=NOW)
        else:
            log.truncate_fully_and_start_at(0, now_ms=NOW)

    for free in (0, DESCRIPTORS_OF_A_CUT - 2):
        with no_descriptors(free), pytest.raises(KafkaStorageError):
            cut()
        assert log.log_dir.failure is None
        assert offsets_of(batches_of(log)) == list(range(8))
        log.release_descriptors()
    with no_descriptors(DESCRIPTORS_OF_A_CUT):
        cut()
    assert log.log_end_offset == offset
    assert append(log, batch(producer_id=1, producer_epoch=0, base_sequence=offset)).first_offset == offset
    assert offsets_of(batches_of(log)) == list(range(offset + 1))


def reopened(path: Path, entries: int) -> PartitionLog:
    """A log in the middle of a segment that has so many index entries, as a start finds it."""
    topic_partition, config = TopicPartition("topic", 0), LogConfig(index_interval_bytes=0)
    log = PartitionLog.open(str(path), topic_partition, config, now_ms=NOW)
    for number in range(entries + 1):
        append(log, batch(timestamp=NOW + number))
    log.flush(now_ms=NOW)
    log.close()
    return PartitionLog.open(str(path), topic_partition, config, recovery_point=log.log_end_offset, now_ms=NOW)


def offset_at(log: PartitionLog, timestamp: int) -> int:
    found = log.offset_for_timestamp(timestamp)
    assert found is not None
    return found.offset


def test_appends_need_no_descriptor_once_the_log_is_open(tmp_path: Path) -> None:
    """An index that moved its tail on opened its file, behind the write of the batch: the next one got the same
    offset."""
    log = reopened(tmp_path, 1100)
    segment = log.segments.active
    for number in range(1101, 5000):
        segment.flush_indexes()
        with no_descriptors():
            assert append(log, batch(timestamp=NOW + number)).first_offset == number
    assert segment.size == log.log_end_offset * SIZE
    # All but the first batch that was appended to the log each time that it was opened.
    assert segment.offset_index.entries == segment.time_index.entries == 4998
    assert offset_at(log, NOW + 700) == 700
    assert offsets_of(batches_of(log)) == list(range(5000))


@pytest.mark.parametrize("suffix", [".index", ".timeindex"])
def test_damaged_index_refuses_no_append(tmp_path: Path, suffix: str) -> None:
    """Only its last entry is looked at when it is opened; a block before that was found damaged behind the write of a
    batch."""
    log = reopened(tmp_path, 1100)
    size = 8 if suffix == ".index" else 12
    with open(tmp_path / f"{0:020}{suffix}", "r+b") as file:
        file.seek(512 * size)
        file.write(bytes(512 * size))
    for number in range(1101, 6000):
        assert append(log, batch(timestamp=NOW + number)).first_offset == number
    assert offsets_of(batches_of(log)) == list(range(6000))
    assert offset_at(log, NOW + 700) == 700


def test_append_is_done_when_the_batch_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever becomes of its index entry."""
    log = reopened(tmp_path, 10)
    segment = log.segments.active
    segment.close_handles()
    for error in (OSError(errno.EMFILE, "Too many open files"), CorruptIndexError("damaged"), ValueError("not above")):

        def fail(*arguments: object, error: Exception = error, **more: object) -> object:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(DiskDirectory, "open_offset_index", fail)
            end = log.log_end_offset
            assert append(log, batch()).first_offset == end
            info = log.append_as_follower(batch(base_offset=end + 1, leader_epoch=0), leader_epoch=0, now_ms=NOW)
            assert info.first_offset == end + 1
    assert offsets_of(batches_of(log)) == list(range(17))


def test_deleted_partition_is_removed_later(
    manager: LogManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(manager)
    manager.delete(TopicPartition("topic", 0), now_ms=NOW)

    def refuse(path: str) -> None:
        raise OSError(errno.EMFILE, "Too many open files", path)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", refuse)
        manager.run_due(NOW + MINUTE)
    assert manager.live_dirs
    assert list(tmp_path.glob("topic-0.*-delete"))
    manager.run_due(NOW + 2 * MINUTE)
    assert not list(tmp_path.glob("topic-0.*-delete"))


def test_start_with_more_partitions_than_descriptors_says_so(manager: LogManager, tmp_path: Path) -> None:
    """The directory was said to have failed, and all its partitions were offline."""
    for partition in range(30):
        fill(create(manager, partition), 1)
    manager.close(NOW)
    again = LogManager([str(tmp_path)])
    try:
        with no_descriptors(19), pytest.raises(ConfigError, match=r"ulimit -n\) is too low for 30 partitions"):
            again.load_all(NOW)
    finally:
        again.close_handles()


def test_refusals_of_one_kind_are_told_of_now_and_then(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each refused request wrote a line."""
    log_dir = LogDir(str(tmp_path))
    for code in (errno.ENOSPC, errno.EMFILE) * 1000:
        log_dir.io_error("appending", OSError(code, os.strerror(code)))
    assert len(caplog.records) == 2
