"""The partitions of a broker: made where there is room, deleted, lost with a directory (LogManagerTest)."""

import errno
import os
from pathlib import Path

import pytest

from kstore.errors import InconsistentTopicIdError, KafkaStorageError
from kstore.log.config import LogConfig
from kstore.log.directory import DiskDirectory
from kstore.model import TopicPartition
from tests.log.build import NOW, append, batch, create, fill
from tests.log.conftest import MakeManager

TP = TopicPartition("topic", 0)
SIZE = len(batch())
MINUTE = 60_000


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
