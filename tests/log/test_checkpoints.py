"""What the checkpoints say, when they say it, and what is believed of it (LogManagerTest)."""

import errno
import os
from pathlib import Path

import pytest

from kstore.errors import KafkaStorageError
from kstore.log import offset_checkpoint
from kstore.log.checkpoint_file import read_offsets, write_offsets
from kstore.log.work import CheckpointWork
from kstore.model import TopicPartition
from tests.log.build import NOW, batch, batches_of, checkpoint, create, fill, loaded, offsets_of
from tests.log.conftest import MakeManager

TP = TopicPartition("topic", 0)
SIZE = len(batch())
MINUTE = 60_000


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


def test_checkpoint_that_is_on_its_way_does_not_speak_of_a_new_partition_of_an_old_name(
    tmp_path: Path, managers: MakeManager
) -> None:
    """The offset of the deleted one was written behind the new one's back."""
    manager = managers(tmp_path)
    manager.run_due(NOW)
    fill(create(manager), 5)
    work = manager.tick(NOW + 5000, NOW + 5000)
    manager.delete(TP, now_ms=NOW + 5000)
    create(manager)
    for piece in work:
        piece.run()
        piece.complete(NOW + 5000)
    assert checkpoint(tmp_path, "replication-offset-checkpoint").get(0, 0) == 0


def test_partitions_that_are_made_again_together_cost_one_write_of_each_checkpoint(
    tmp_path: Path, managers: MakeManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = managers(tmp_path)
    for partition in range(20):
        fill(create(manager, partition), 1)
        manager.logs[TopicPartition("topic", partition)].flush(now_ms=NOW)
    manager.run_due(NOW)
    manager.run_due(NOW + MINUTE)
    for partition in range(20):
        manager.delete(TopicPartition("topic", partition), now_ms=NOW)
    written: list[str] = []
    monkeypatch.setattr(offset_checkpoint, "write_offsets", lambda path, offsets: written.append(path))
    for partition in range(20):
        create(manager, partition)
    assert sorted(os.path.basename(path) for path in written) == [
        "recovery-point-offset-checkpoint",
        "replication-offset-checkpoint",
    ]


def test_unchanged_checkpoints_are_not_written_again(tmp_path: Path, managers: MakeManager) -> None:
    manager = managers(tmp_path)
    manager.run_due(NOW)
    fill(create(manager), 1)
    manager.run_due(NOW + MINUTE)
    before = (tmp_path / "replication-offset-checkpoint").stat().st_ino
    manager.run_due(NOW + 2 * MINUTE)
    assert (tmp_path / "replication-offset-checkpoint").stat().st_ino == before


def test_high_watermark_is_kept_before_the_start_offset_that_it_bounds(tmp_path: Path, managers: MakeManager) -> None:
    manager = managers(tmp_path, high_watermark_checkpoint_ms=100 * MINUTE)
    manager.tick(NOW, NOW)
    log = create(manager)
    fill(log, 5)
    log.maybe_increment_log_start_offset(5)
    written = [
        work.replacement.checkpoint.name
        for work in manager.tick(NOW + MINUTE, NOW + MINUTE)
        if isinstance(work, CheckpointWork)
    ]
    assert written[-2:] == ["replication-offset-checkpoint", "log-start-offset-checkpoint"]


def test_no_checkpoint_is_written_into_a_directory_that_has_failed_since_it_was_due(
    tmp_path: Path, managers: MakeManager
) -> None:
    """Those that one tick had given out synced the directory again whose fsync had just failed."""
    manager = managers(tmp_path)
    fill(create(manager), 1)
    manager.tick(NOW, NOW)
    work = [piece for piece in manager.tick(NOW + MINUTE, NOW + MINUTE) if isinstance(piece, CheckpointWork)]
    assert work
    manager.dirs[0].fail("syncing it", OSError(errno.EIO, "lost"))
    for piece in work:
        before = checkpoint(tmp_path, piece.replacement.checkpoint.name)
        piece.run()
        piece.complete(NOW + MINUTE)
        assert checkpoint(tmp_path, piece.replacement.checkpoint.name) == before
