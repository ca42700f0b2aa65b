"""A replica that moves to another log directory: what lies where, at each moment at which the process may end."""

import errno
import shutil
from pathlib import Path
from typing import Any

import pytest

from kstore.errors import InvalidProducerEpochError, InvalidTopicError, KafkaStorageError, LogDirNotFoundError
from kstore.log import log_moves, offset_checkpoint, producer_state
from kstore.log.checkpoint_file import CLEANER_OFFSET_CHECKPOINT, RECOVERY_POINT_CHECKPOINT, write_offsets
from kstore.log.config import LogConfig
from kstore.log.directory import DiskDirectory
from kstore.log.log_dir import CHECKPOINTS
from kstore.log.manager import LogManager
from kstore.log.partition_log import PartitionLog
from kstore.log.segment import Segment
from kstore.model import TopicPartition
from kstore.replica.log_copy import ANY_EPOCH, append_as_follower, append_some, bytes_behind, cut_to, skip_gap
from tests.log.build import NOW, append, batch, batches_of, marker, offsets_of
from tests.log.conftest import MakeManager

TP = TopicPartition("topic", 0)
ID = bytes(15) + b"\x01"


@pytest.fixture
def manager(tmp_path: Path, managers: MakeManager) -> LogManager:
    """A replica with records, in `a`."""
    found = managers(tmp_path / "a", tmp_path / "b")
    found.moves.preferred[TP] = str(tmp_path / "a")
    log = found.get_or_create(TP, topic_id=ID, now_ms=NOW)
    log.assign_epoch_start_offset(3, 0)
    for _ in range(5):
        append(log, batch(), leader_epoch=3)
    log.update_high_watermark(4)
    return found


def names(directory: Path) -> list[str]:
    """The directories of partitions, without what makes them unique."""
    found = [path.name for path in directory.iterdir() if path.is_dir()]
    return sorted(".".join([name.split(".")[0], *([name[-6:]] if "." in name else [])]) for name in found)


def copy_all(source: PartitionLog, copy: PartitionLog) -> None:
    cut_to(source, copy, now_ms=NOW)
    while copy.log_end_offset < source.log_end_offset:
        records = source.read(copy.log_end_offset, max_bytes=100).records
        data = records if isinstance(records, bytes) else records.read()
        append_as_follower(copy, data, leader_epoch=ANY_EPOCH, now_ms=NOW)


def move(manager: LogManager, to: Path) -> PartitionLog:
    copy = manager.moves.begin(TP, str(to), NOW)
    assert copy is not None
    copy_all(manager.logs[TP], copy)
    return manager.moves.complete(TP, NOW)


def test_a_replica_takes_all_it_is_with_it(manager: LogManager, tmp_path: Path, managers: MakeManager) -> None:
    source = manager.logs[TP]
    source.maybe_increment_log_start_offset(2)
    # An epoch in which nothing was appended is in no batch.
    source.assign_epoch_start_offset(7, 5)
    content = b"".join(path.read_bytes() for path in sorted((tmp_path / "a" / "topic-0").glob("*.log")))
    moved = move(manager, tmp_path / "b")
    assert moved is manager.logs[TP]
    assert (moved.log_start_offset, moved.high_watermark, moved.log_end_offset) == (2, 4, 5)
    assert (moved.topic_id, moved.latest_epoch) == (ID, 7)
    assert moved.leader_epoch_cache.entries == source.leader_epoch_cache.entries
    # From the log's start on.
    copied = b"".join(path.read_bytes() for path in sorted((tmp_path / "b" / "topic-0").glob("*.log")))
    assert copied == content[2 * len(batch()) :]
    assert (names(tmp_path / "a"), names(tmp_path / "b")) == (["topic-0.delete"], ["topic-0"])
    append(moved, batch(), leader_epoch=7)
    manager.close(NOW)
    again = managers(tmp_path / "a", tmp_path / "b").logs[TP]
    assert (again.log_start_offset, again.high_watermark, again.log_end_offset) == (2, 4, 6)
    assert again.log_dir.path == str(tmp_path / "b")


def test_what_is_no_record_goes_with_a_replica_too(manager: LogManager, tmp_path: Path) -> None:
    """A whole log was compacted anew. What followed a batch that a full disk had not taken, for which the replica was
    moved, was a gap, and librdkafka sends records twice then."""

    def refuse(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "no room")

    source = manager.logs[TP]
    source.first_dirty_offset = 3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Segment, "append", refuse)
        with pytest.raises(KafkaStorageError):
            append(source, batch(producer_id=5, producer_epoch=0, base_sequence=0), leader_epoch=3)
    moved = move(manager, tmp_path / "b")
    assert moved.first_dirty_offset == 3
    with pytest.raises(KafkaStorageError, match="could not be taken yet"):
        append(moved, batch(producer_id=5, producer_epoch=0, base_sequence=1), leader_epoch=3)
    for sequence in (0, 1):
        append(moved, batch(producer_id=5, producer_epoch=0, base_sequence=sequence), leader_epoch=3)


def test_a_copy_that_was_begun_goes_on_after_a_crash(
    manager: LogManager, tmp_path: Path, managers: MakeManager
) -> None:
    copy = manager.moves.begin(TP, str(tmp_path / "b"), NOW)
    assert copy is not None
    append_as_follower(copy, manager.logs[TP].read(0, max_bytes=1).records.read(), leader_epoch=ANY_EPOCH, now_ms=NOW)
    assert (names(tmp_path / "a"), names(tmp_path / "b")) == (["topic-0"], ["topic-0.future"])
    manager.close_handles()
    again = managers(tmp_path / "a", tmp_path / "b")
    copy = again.moves.futures[TP]
    assert again.logs[TP].log_dir.path == str(tmp_path / "a")
    assert copy.log_end_offset == 1
    assert again.moves.begin(TP, str(tmp_path / "b"), NOW) is copy
    copy_all(again.logs[TP], copy)
    assert offsets_of(batches_of(again.moves.complete(TP, NOW))) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("cleaned_up_to", "kept"), [(None, 0), (1, 1), (4, 0)])
def test_a_copy_whose_replica_may_have_been_compacted_behind_its_end_is_begun_anew(
    manager: LogManager, tmp_path: Path, managers: MakeManager, cleaned_up_to: int | None, kept: int
) -> None:
    """Its directory had failed, and the replica went on: a tombstone that is gone cannot delete what the copy has."""
    copy = manager.moves.begin(TP, str(tmp_path / "b"), NOW)
    assert copy is not None
    append_as_follower(copy, manager.logs[TP].read(0, max_bytes=1).records.read(), leader_epoch=ANY_EPOCH, now_ms=NOW)
    manager.close_handles()
    if cleaned_up_to is not None:
        write_offsets(str(tmp_path / "a" / CLEANER_OFFSET_CHECKPOINT), {TP: cleaned_up_to})
    again = managers(tmp_path / "a", tmp_path / "b", load=False)
    again.load_all(NOW, lambda topic: LogConfig(cleanup_policy=("compact",)))
    assert again.moves.futures[TP].log_end_offset == kept


class ProcessEndedError(BaseException):
    """Nobody catches it."""


# What a move does to the disk at its end, in this order, and once more for the directory that it leaves.
STEPS = (
    (DiskDirectory, "rename_self"),
    (DiskDirectory, "sync_parent"),
    (PartitionLog, "open"),
    (LogManager, "write_checkpoint"),
)


def end_at(monkeypatch: pytest.MonkeyPatch, call: int, error: BaseException) -> list[str]:
    """Has the given call of the steps raise the error; the names of all calls come into the list."""
    calls: list[str] = []

    def counted(name: str, real: Any) -> Any:
        def step(*args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            if len(calls) == call:
                raise error
            return real(*args, **kwargs)

        return step

    for owner, name in STEPS:
        monkeypatch.setattr(owner, name, counted(name, getattr(owner, name)))
    return calls


def replica_dirs(tmp_path: Path) -> list[str]:
    return [name for root in "ab" for name in names(tmp_path / root) if "." not in name]


@pytest.mark.parametrize("records", [5, 0])
@pytest.mark.parametrize("call", range(1, 9))
def test_wherever_the_process_ends_the_next_start_has_one_whole_replica(
    manager: LogManager, tmp_path: Path, managers: MakeManager, monkeypatch: pytest.MonkeyPatch, call: int, records: int
) -> None:
    """The one without checkpoints might be kept; two empty ones, and two that a power loss made unequal, stopped it."""
    source = manager.logs[TP]
    if records:
        source.maybe_increment_log_start_offset(2)
    else:
        source.truncate_to(0, now_ms=NOW)
    for name in CHECKPOINTS:
        manager.write_checkpoint(manager.dirs[0], name)
    copy = manager.moves.begin(TP, str(tmp_path / "b"), NOW)
    assert copy is not None
    copy_all(source, copy)
    calls = end_at(monkeypatch, call, ProcessEndedError())
    with pytest.raises(ProcessEndedError):
        manager.moves.complete(TP, NOW)
    assert len(calls) == call
    monkeypatch.undo()
    manager.close_handles()
    again = managers(tmp_path / "b", tmp_path / "a")
    log = again.logs[TP]
    expected = (2, 4, 5) if records else (0, 0, 0)
    assert (log.log_start_offset, log.high_watermark, log.log_end_offset) == expected
    assert len(replica_dirs(tmp_path)) == 1


@pytest.mark.parametrize(
    "error", [OSError(errno.EMFILE, "no descriptor"), OSError(errno.ENOSPC, "no room"), AssertionError()]
)
@pytest.mark.parametrize("call", range(1, 7))
def test_what_passes_fails_no_directory_and_the_move_is_tried_again(
    manager: LogManager,
    tmp_path: Path,
    managers: MakeManager,
    monkeypatch: pytest.MonkeyPatch,
    call: int,
    error: Exception,
) -> None:
    """A full disk took the directory offline; what is no OSError left a second replica, and no start after it."""
    copy = manager.moves.begin(TP, str(tmp_path / "b"), NOW)
    assert copy is not None
    copy_all(manager.logs[TP], copy)
    end_at(monkeypatch, call, error)
    with pytest.raises(KafkaStorageError if isinstance(error, OSError) else AssertionError):
        manager.moves.complete(TP, NOW)
    monkeypatch.undo()
    assert manager.take_failed_dirs() == {}
    assert (names(tmp_path / "a"), names(tmp_path / "b")) == (["topic-0"], ["topic-0.future"])
    append(manager.logs[TP], batch(), leader_epoch=3)
    copy_all(manager.logs[TP], manager.moves.futures[TP])
    moved = manager.moves.complete(TP, NOW)
    assert offsets_of(batches_of(moved)) == [0, 1, 2, 3, 4, 5]
    assert replica_dirs(tmp_path) == ["topic-0"]


def test_no_descriptor_for_the_directory_that_is_left_takes_none_offline(
    manager: LogManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = end_at(monkeypatch, -1, AssertionError())
    move(manager, tmp_path / "b")
    monkeypatch.undo()
    last = len(calls)
    assert calls[-2:] == ["rename_self", "sync_parent"]
    end_at(monkeypatch, last, OSError(errno.EMFILE, "no descriptor"))
    move(manager, tmp_path / "a")
    monkeypatch.undo()
    assert manager.take_failed_dirs() == {}
    assert replica_dirs(tmp_path) == ["topic-0"]


def test_a_disk_that_fails_at_the_end_leaves_the_replica_where_it_was(
    manager: LogManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(directory: DiskDirectory) -> None:
        raise OSError(errno.EIO, "Input/output error")

    copy = manager.moves.begin(TP, str(tmp_path / "b"), NOW)
    assert copy is not None
    copy_all(manager.logs[TP], copy)
    monkeypatch.setattr(DiskDirectory, "sync_parent", fail)
    with pytest.raises(KafkaStorageError):
        manager.moves.complete(TP, NOW)
    monkeypatch.undo()
    assert manager.logs[TP].log_dir.path == str(tmp_path / "a")
    assert manager.take_failed_dirs() == {str(tmp_path / "b"): []}
    append(manager.logs[TP], batch(), leader_epoch=3)
    assert "topic-0" not in names(tmp_path / "b")


def fail_at(monkeypatch: pytest.MonkeyPatch, call: int, number: int) -> list[str]:
    """Has the given one of all calls that directories get fail; the names of all come into the list."""
    calls: list[str] = []

    def counted(name: str, real: Any) -> Any:
        def step(*args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            if len(calls) == call:
                raise OSError(number, "refused")
            return real(*args, **kwargs)

        return step

    for name, real in vars(DiskDirectory).items():
        if callable(real) and not name.startswith("__"):
            monkeypatch.setattr(DiskDirectory, name, counted(name, real))
    monkeypatch.setattr(offset_checkpoint, "write_offsets", counted("write_offsets", offset_checkpoint.write_offsets))
    return calls


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EMFILE], ids=["EIO", "ENOSPC", "EMFILE"])
def test_whichever_call_fails_at_the_end_there_is_one_replica_with_all_records(
    tmp_path: Path, managers: MakeManager, number: int
) -> None:
    """In this process, and at the next start; only what is no fault of the disk is tried again without one."""
    seen: set[str] = set()
    call, is_last = 0, False
    while not is_last:
        call += 1
        root = tmp_path / str(call)
        found = managers(root / "a", root / "b")
        found.moves.preferred[TP] = str(root / "a")
        source = found.get_or_create(TP, topic_id=ID, config=LogConfig(segment_bytes=300), now_ms=NOW)
        for sequence in range(6):
            records = batch(producer_id=4, producer_epoch=0, base_sequence=sequence)
            append(source, records, leader_epoch=1 + sequence // 4)
        source.update_high_watermark(6)
        copy = found.moves.begin(TP, str(root / "b"), NOW)
        assert copy is not None
        copy_all(source, copy)
        with pytest.MonkeyPatch.context() as patch:
            calls = fail_at(patch, call, number)
            try:
                moved = found.moves.complete(TP, NOW)
                owner = moved
            except KafkaStorageError:
                owner = source
        is_last = len(calls) < call
        refused = "" if is_last else calls[call - 1]
        seen.add(refused)
        failed = found.take_failed_dirs()
        assert all(partitions == [] for partitions in failed.values())
        assert found.logs[TP] is owner
        assert (TP in found.moves.futures) == (owner is source and not failed)
        assert offsets_of(batches_of(owner)) == [0, 1, 2, 3, 4, 5]
        assert append(owner, batch(), leader_epoch=2).first_offset == 6
        # Nobody knows what an fsync has lost that was refused.
        assert not failed or number == errno.EIO or (number, refused) == (errno.ENOSPC, "sync_parent")
        if owner is source and not failed:
            copy_all(source, found.moves.futures[TP])
            owner = found.moves.complete(TP, NOW)
        found.close_handles()
        (again,) = managers(root / "a", root / "b").logs.values()
        assert offsets_of(batches_of(again)) == [0, 1, 2, 3, 4, 5, 6]
        assert len(replica_dirs(root)) == 1
    assert {"rename_self", "sync_parent", "open_records", "write_offsets", "write_file"} <= seen


def test_a_copy_is_given_up_for_another_wish_or_with_its_partition(manager: LogManager, tmp_path: Path) -> None:
    assert manager.moves.begin(TP, str(tmp_path / "b"), NOW) is not None
    assert manager.moves.begin(TP, str(tmp_path / "a"), NOW) is None
    assert manager.moves.futures == {}
    assert names(tmp_path / "b") == ["topic-0.delete"]
    assert manager.moves.begin(TP, str(tmp_path / "b"), NOW) is not None
    manager.delete(TP, now_ms=NOW)
    assert manager.moves.futures == {}
    assert names(tmp_path / "b") == ["topic-0.delete", "topic-0.delete"]


def test_a_replica_that_is_to_come_is_made_where_it_is_wanted(manager: LogManager, tmp_path: Path) -> None:
    for number, wanted in ((1, "a"), (2, "b"), (3, "a")):
        key = TopicPartition("topic", number)
        manager.moves.prefer(key, str(tmp_path / wanted))
        assert manager.get_or_create(key, now_ms=NOW).log_dir.path == str(tmp_path / wanted)
    assert manager.moves.preferred == {}


def test_of_wishes_for_what_may_never_come_only_the_latest_are_kept(
    manager: LogManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each was kept for ever, whatever topic it named."""
    monkeypatch.setattr(log_moves, "MAX_PREFERRED", 3)
    for number in (1, 2, 3, 1, 4):
        manager.moves.prefer(TopicPartition("topic", number), str(tmp_path / "b"))
    assert [key.partition for key in manager.moves.preferred] == [3, 1, 4]


def test_wishes_that_cannot_be_met_are_refused_by_name(manager: LogManager, tmp_path: Path) -> None:
    with pytest.raises(LogDirNotFoundError, match="c is not among"):
        manager.moves.prefer(TP, str(tmp_path / "c"))
    with pytest.raises(InvalidTopicError):
        manager.moves.prefer(TopicPartition("t" * 230, 0), str(tmp_path / "b"))
    manager.dirs[1].failure = "its disk is gone"
    with pytest.raises(KafkaStorageError):
        manager.moves.prefer(TP, str(tmp_path / "b"))


def test_a_copy_is_cut_where_its_replica_was(manager: LogManager, tmp_path: Path) -> None:
    source = manager.logs[TP]
    copy = manager.moves.begin(TP, str(tmp_path / "b"), NOW)
    assert copy is not None
    copy_all(source, copy)
    source.truncate_to(3, now_ms=NOW)
    source.assign_epoch_start_offset(5, 3)
    append(source, batch(), leader_epoch=5)
    append(source, batch(), leader_epoch=5)
    assert copy.log_end_offset == source.log_end_offset
    cut_to(source, copy, now_ms=NOW)
    assert copy.log_end_offset == 3
    copy_all(source, copy)
    assert copy.leader_epoch_cache.entries == source.leader_epoch_cache.entries
    # The replica has begun anew behind it.
    source.truncate_fully_and_start_at(20, now_ms=NOW)
    copy_all(source, copy)
    assert (copy.log_start_offset, copy.log_end_offset) == (20, 20)


def test_what_is_copied_is_not_compacted_before_the_copy_is_in_its_place(
    manager: LogManager, tmp_path: Path, managers: MakeManager
) -> None:
    """Between two attempts, and from a start to the first one, it was; and a cleaning that was under way went on."""
    log = manager.logs[TP]
    log.update_config(log.config._replace(cleanup_policy=("compact",), min_cleanable_dirty_ratio=0.0))
    log.roll(now_ms=NOW)
    log.update_high_watermark(5)
    log.flush(now_ms=NOW)
    work = manager.cleaner.take(NOW)
    assert work is not None
    manager.moves.begin(TP, str(tmp_path / "b"), NOW)
    while not work.done:
        work.run()
        work.complete(NOW)
    assert offsets_of(batches_of(log)) == [0, 1, 2, 3, 4]
    assert manager.cleaner.take(NOW) is None
    manager.moves.give_up(TP, now_ms=NOW)
    assert manager.cleaner.take(NOW + 60_000) is not None


def test_a_copy_of_what_ends_in_a_gap_is_not_cut_where_its_last_epoch_ends(
    manager: LogManager, tmp_path: Path, managers: MakeManager, caplog: pytest.LogCaptureFixture
) -> None:
    source = manager.logs[TP]
    source.assign_epoch_start_offset(7, 5)
    source.assign_epoch_start_offset(9, 6)  # of which all is compacted away, and of the one before
    source.skip_to(8, now_ms=NOW)
    copy = manager.moves.begin(TP, str(tmp_path / "b"), NOW)
    assert copy is not None
    while records := source.read(copy.log_end_offset, max_bytes=100).records:
        append_as_follower(copy, bytes(records.read()), leader_epoch=ANY_EPOCH, now_ms=NOW)
    assert (copy.log_end_offset, bytes_behind(source, copy)) == (5, 0)
    skip_gap(source, copy, now_ms=NOW)
    cut_to(source, copy, now_ms=NOW)
    assert copy.log_end_offset == 8
    moved = manager.moves.complete(TP, NOW)
    assert moved.leader_epoch_cache.entries == source.leader_epoch_cache.entries
    assert "conflicting" not in caplog.text  # as was said of each replica with two epochs that was moved
    append(moved, batch(), leader_epoch=9)
    manager.close(NOW)
    assert offsets_of(batches_of(managers(tmp_path / "a", tmp_path / "b").logs[TP])) == [0, 1, 2, 3, 4, 8]


def test_what_lay_in_one_segment_goes_to_several_where_these_have_become_smaller(
    manager: LogManager, tmp_path: Path
) -> None:
    """What was read of a larger segment fitted none of the copy's, and the replica was never moved."""
    source = manager.logs[TP]
    source.update_config(source.config._replace(segment_bytes=2 * len(batch())))
    copy = manager.moves.begin(TP, str(tmp_path / "b"), NOW)
    assert copy is not None
    records = memoryview(source.read(0, max_bytes=1 << 20).records.read())
    assert bytes_behind(source, copy) == len(records)
    sizes = []
    while records:
        sizes.append(append_some(copy, records, most=1 << 20, high_watermark=0, now_ms=NOW))
        records = records[sizes[-1] :]
        assert bytes_behind(source, copy) == len(records)
    assert [size // len(batch()) for size in sizes] == [2, 2, 1]
    assert append_some(copy, memoryview(batch())[:-1], most=10, high_watermark=0, now_ms=NOW) == 0
    assert offsets_of(batches_of(manager.moves.complete(TP, NOW))) == [0, 1, 2, 3, 4]


def test_what_a_copy_has_not_flushed_is_for_the_next_flush_of_the_replica(manager: LogManager, tmp_path: Path) -> None:
    source = manager.logs[TP]
    source.update_config(source.config._replace(segment_bytes=2 * len(batch())))
    append(source, batch(producer_id=3, producer_epoch=0, base_sequence=0), leader_epoch=3)
    copy = manager.moves.begin(TP, str(tmp_path / "b"), NOW)
    assert copy is not None
    records = memoryview(source.read(0, max_bytes=1 << 20).records.read())
    records = records[append_some(copy, records, most=100, high_watermark=0, now_ms=NOW) :]
    copy.flush(now_ms=NOW)
    flushed = copy.log_end_offset
    copy_all(source, copy)
    source.flush(now_ms=NOW)
    with pytest.raises(AssertionError, match="not on the disk"):
        manager.moves.complete(TP, NOW)
    source.recovery_point = flushed
    moved = manager.moves.complete(TP, NOW)
    assert (moved.recovery_point, moved.log_end_offset) == (flushed, 6)
    job = moved.begin_flush()
    assert job is not None
    assert {records.path for records in job.records} == {
        str(path) for path in (tmp_path / "b" / "topic-0").glob("*.log") if int(path.stem) >= flushed - 1
    }
    assert [name for name in job.names if name.endswith("6.snapshot")]
    job.run()
    moved.complete_flush(job, now_ms=NOW)
    assert moved.recovery_point == 6


def test_who_still_reads_the_log_that_was_moved_away_takes_no_directory_offline(
    manager: LogManager, tmp_path: Path
) -> None:
    """Its files are gone in the end, and the disk that it lay on was blamed for that."""
    source = manager.logs[TP]
    source.release_descriptors()
    moved = move(manager, tmp_path / "b")
    shutil.rmtree(source.directory.path)
    for look_up in (lambda: source.read(0, max_bytes=100).records.read(), lambda: source.offset_for_timestamp(0)):
        with pytest.raises(KafkaStorageError):
            look_up()
    with pytest.raises(KafkaStorageError):
        source.truncate_fully_and_start_at(3, now_ms=NOW)
    assert manager.take_failed_dirs() == {}
    assert offsets_of(batches_of(moved)) == [0, 1, 2, 3, 4]


def test_of_a_replica_that_moved_without_records_the_topic_id_is_made_durable(
    manager: LogManager, tmp_path: Path
) -> None:
    """Nobody did it any more: the copy had been new, and the log that was opened on its files was not."""
    manager.logs[TP].truncate_fully_and_start_at(5, now_ms=NOW)
    copy = manager.moves.begin(TP, str(tmp_path / "b"), NOW)
    assert copy is not None
    copy_all(manager.logs[TP], copy)
    manager.tick(NOW, 0)  # the copy is no partition of which this would look after
    moved = manager.moves.complete(TP, NOW)
    jobs = [work.job for work in manager.tick(NOW, 0) if hasattr(work, "job")]
    assert [(job.directory, job.names, job.sync_directory) for job in jobs] == [
        (moved.directory, ["partition.metadata", "leader-epoch-checkpoint"], True)
    ]


@pytest.mark.parametrize("then", ["goes on", "is stopped", "is killed after a flush"])
def test_a_producer_whose_records_are_deleted_is_known_where_the_replica_moved_to(
    manager: LogManager, tmp_path: Path, managers: MakeManager, then: str
) -> None:
    """What is not in the copied records was forgotten: a batch that came once more was there twice, and the producer
    that another had fenced was let in again."""
    source = manager.logs[TP]
    batches = [batch(producer_id=7, producer_epoch=2, base_sequence=number) for number in range(3)]
    for each in batches:
        append(source, bytearray(each), leader_epoch=3)
    append(source, batch(), leader_epoch=3)
    source.update_high_watermark(9)
    source.maybe_increment_log_start_offset(8)
    log = move(manager, tmp_path / "b")
    if then != "goes on":
        if then == "is stopped":
            manager.close(NOW)
        else:
            log.flush(now_ms=NOW)
            manager.write_checkpoint(log.log_dir, RECOVERY_POINT_CHECKPOINT)
            manager.close_handles()
        log = managers(tmp_path / "a", tmp_path / "b").logs[TP]
        assert log.log_dir.path == str(tmp_path / "b")
    assert append(log, bytearray(batches[2]), leader_epoch=3).first_offset == 7
    with pytest.raises(InvalidProducerEpochError):
        append(log, batch(producer_id=7, producer_epoch=1, base_sequence=0), leader_epoch=3)
    assert append(log, batch(producer_id=7, producer_epoch=2, base_sequence=3), leader_epoch=3).first_offset == 9


def test_a_transaction_that_is_not_decided_everywhere_holds_readers_back_where_the_replica_moved_to(
    manager: LogManager, tmp_path: Path
) -> None:
    """Its marker is above the high watermark; another, of which the beginning is deleted, is open."""
    source = manager.logs[TP]
    data = {
        number: batch(producer_id=number, producer_epoch=0, base_sequence=0, transactional=True) for number in (5, 6)
    }
    append(source, data[5], leader_epoch=3)
    append(source, data[6], leader_epoch=3)
    append(source, marker(5), leader_epoch=3, origin="coordinator")
    source.update_high_watermark(7)
    source.maybe_increment_log_start_offset(1)
    moved = move(manager, tmp_path / "b")
    stable = [(moved.last_stable_offset, source.last_stable_offset)]
    for log in (source, moved):
        log.update_high_watermark(8)
    stable.append((moved.last_stable_offset, source.last_stable_offset))
    assert stable == [(5, 5), (6, 6)]
    append(moved, marker(6, commit=True), leader_epoch=3, origin="coordinator")
    moved.update_high_watermark(9)
    assert moved.last_stable_offset == 9
    found = moved.read(5, max_bytes=1 << 20, upper_bound="txn_committed")
    assert found.aborted_transactions is not None
    assert [txn.producer_id for txn in found.aborted_transactions] == [5]


@pytest.mark.parametrize("at", ["begin_close", "write_snapshot"])
def test_a_disk_that_fails_unheard_at_the_end_of_a_move_is_not_given_the_replica(
    manager: LogManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """Where its failure was only noted, the replica was moved to it, and was offline with all its records."""
    source = manager.logs[TP]
    append(source, batch(producer_id=7, producer_epoch=0, base_sequence=0), leader_epoch=3)
    copy = manager.moves.begin(TP, str(tmp_path / "b"), NOW)
    assert copy is not None
    copy_all(source, copy)
    owner: Any = PartitionLog if at == "begin_close" else producer_state.ProducerState
    real = getattr(owner, at)

    def note_failure(*args: Any, **kwargs: Any) -> Any:
        found = real(*args, **kwargs)
        manager.dirs[1].fail("writing", OSError(errno.EIO, "Input/output error"))
        return found

    monkeypatch.setattr(owner, at, note_failure)
    with pytest.raises(KafkaStorageError):
        manager.moves.complete(TP, NOW)
    monkeypatch.undo()
    assert manager.take_failed_dirs() == {str(tmp_path / "b"): []}
    assert manager.logs[TP] is source
    assert append(source, batch(), leader_epoch=3).first_offset == 6
    assert names(tmp_path / "a") == ["topic-0"]


def test_a_copy_need_not_remember_the_transactions_that_are_decided_where_its_replica_is_committed(
    manager: LogManager, tmp_path: Path
) -> None:
    """It remembered all of them, and looked for the earliest with each batch: copying was quadratic."""
    source = manager.logs[TP]
    for sequence in range(3):
        data = batch(producer_id=5, producer_epoch=0, base_sequence=sequence, transactional=True)
        append(source, data, leader_epoch=3)
        append(source, marker(5, commit=True), leader_epoch=3, origin="coordinator")
    source.update_high_watermark(9)
    copy = manager.moves.begin(TP, str(tmp_path / "b"), NOW)
    assert copy is not None
    records = memoryview(source.read(0, max_bytes=1 << 20).records.read())
    watermarks = []
    while records:
        records = records[append_some(copy, records, most=100, high_watermark=9, now_ms=NOW) :]
        watermarks.append(copy.high_watermark == min(9, copy.log_end_offset))
    assert all(watermarks)
    assert list(copy.producer_state.unreplicated) == list(source.producer_state.unreplicated) == [9]
