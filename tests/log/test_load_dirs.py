"""Loading what lies in the log directories: what belongs to no topic, and partitions that are there twice."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kstore.errors import ConfigError
from kstore.log.directory import DiskDirectory
from kstore.log.manager import LogManager
from kstore.log.partition_log import PartitionLog
from kstore.model import TopicPartition
from tests.log.build import NOW, append, batch, batches_of, fill, offsets_of

TP = TopicPartition("topic", 0)
OLD, NEW = bytes(range(16)), bytes(range(16, 32))


def is_stray(topic_partition: TopicPartition, topic_id: bytes | None) -> bool:
    """The one topic is `topic`, with the id NEW."""
    return topic_partition.topic != "topic" or topic_id not in (None, NEW)


def make(root: Path, topic: str = "topic", *, topic_id: bytes | None = NEW, records: int = 1, epoch: int = 0) -> Path:
    """A partition that was closed properly, its records of one leader epoch; returns its directory."""
    with loaded(root) as manager:
        log = manager.get_or_create(TopicPartition(topic, 0), topic_id=topic_id, now_ms=NOW)
        for _ in range(records):
            append(log, batch(), leader_epoch=epoch)
        manager.close(NOW)
    return root / f"{topic}-0"


@contextmanager
def loaded(*roots: Path) -> Iterator[LogManager]:
    manager = LogManager([str(root) for root in roots])
    try:
        manager.load_all(NOW, is_stray=is_stray)
        yield manager
    finally:
        manager.close_handles()


def log_in(manager: LogManager) -> PartitionLog:
    log = manager.get(TP)
    assert log is not None
    return log


def strays(root: Path) -> list[str]:
    return sorted(path.name.partition(".")[0] for path in root.iterdir() if path.name.endswith("-stray"))


def test_strays_are_set_aside_and_nothing_of_them_is_deleted(tmp_path: Path) -> None:
    with loaded(tmp_path) as manager:
        for topic, topic_id in (("topic", OLD), ("gone", NEW)):
            fill(manager.get_or_create(TopicPartition(topic, 0), topic_id=topic_id, now_ms=NOW), 3)
        manager.close(NOW)
    with loaded(tmp_path) as manager:
        assert manager.logs == {}
        assert strays(tmp_path) == ["gone-0", "topic-0"]
        assert all(path.stat().st_size for path in tmp_path.glob("*-stray/*.log"))
        assert manager.get_or_create(TP, topic_id=NEW, now_ms=NOW).log_end_offset == 0


@pytest.mark.parametrize("stray_in", ["a", "b"])
def test_stray_is_not_in_the_way_of_the_right_log(tmp_path: Path, stray_in: str) -> None:
    """The first that was found was taken for the partition, and the right one was offline."""
    for name in "ab":
        make(tmp_path / name, topic_id=OLD if name == stray_in else NEW, records=5 if name == stray_in else 2)
    with loaded(tmp_path / "a", tmp_path / "b") as manager:
        assert offsets_of(batches_of(log_in(manager))) == [0, 1]
        assert manager.offline == {}
        assert strays(tmp_path / stray_in) == ["topic-0"]


def test_stray_that_cannot_be_loaded_is_set_aside_too(tmp_path: Path) -> None:
    """It kept its name, and no new topic could have it."""
    directory = make(tmp_path, topic_id=OLD)
    (segment,) = directory.glob("*.log")
    content = bytearray(segment.read_bytes())
    content[16] = 1  # an old message format
    segment.write_bytes(content)
    with loaded(tmp_path) as manager:
        assert strays(tmp_path) == ["topic-0"]
        assert manager.offline == {}


def test_stray_whose_directory_refuses_the_name_takes_it_offline_and_the_start_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One refused rename stopped the whole start."""
    make(tmp_path / "a", "gone")
    make(tmp_path / "b")
    rename = DiskDirectory.rename_self

    def refuse(directory: DiskDirectory, new_name: str) -> None:
        if directory.parent == str(tmp_path / "a"):
            raise OSError(errno.EIO, "Input/output error")
        rename(directory, new_name)

    monkeypatch.setattr(DiskDirectory, "rename_self", refuse)
    with loaded(tmp_path / "a", tmp_path / "b") as manager:
        assert [log_dir.path for log_dir in manager.live_dirs] == [str(tmp_path / "b")]
        assert list(manager.logs) == [TP]
    assert f"setting {tmp_path / 'a' / 'gone-0'} aside" in caplog.text


def test_partition_in_two_directories_stops_the_start_and_both_are_named(tmp_path: Path) -> None:
    """One of them was served, whichever came first, and the other one's records were not seen."""
    paths = [make(tmp_path / name, records=number, epoch=number) for number, name in enumerate("ab", 1)]
    with pytest.raises(ConfigError) as raised, loaded(tmp_path / "a", tmp_path / "b"):
        pass
    for path in paths:
        assert str(path) in str(raised.value)
        assert path.is_dir()


def test_partition_in_two_directories_stops_the_start_although_one_cannot_be_loaded(tmp_path: Path) -> None:
    paths = [make(tmp_path / name) for name in "ab"]
    (paths[0] / "x.log").write_bytes(b"")
    with pytest.raises(ConfigError, match="both hold topic-0"), loaded(tmp_path / "a", tmp_path / "b"):
        pass


def test_of_two_replicas_with_the_same_history_one_is_set_aside(tmp_path: Path) -> None:
    """A move between two directories may end between its two renamings."""
    for name in "ab":
        make(tmp_path / name, records=2)
    with loaded(tmp_path / "a", tmp_path / "b") as manager:
        assert offsets_of(batches_of(log_in(manager))) == [0, 1]
        assert strays(tmp_path / "a") + strays(tmp_path / "b") == ["topic-0"]


@pytest.mark.parametrize("longer", ["a", "b"])
def test_of_two_replicas_with_one_history_the_shorter_is_set_aside(
    tmp_path: Path, longer: str, caplog: pytest.LogCaptureFixture
) -> None:
    """After a power loss between the two renamings the one may lack what was not flushed: the start was refused."""
    for name in "ab":
        make(tmp_path / name, records=3 if name == longer else 2)
    with loaded(tmp_path / "a", tmp_path / "b") as manager:
        assert offsets_of(batches_of(log_in(manager))) == [0, 1, 2]
        assert strays(tmp_path / ("b" if longer == "a" else "a")) == ["topic-0"]
    assert f"holds nothing that is not in {tmp_path / longer / 'topic-0'}" in caplog.text


@pytest.mark.parametrize("begun_in", ["a", "b"])
def test_directory_that_was_begun_and_given_up_is_no_second_one(tmp_path: Path, begun_in: str) -> None:
    """A full disk may keep the directory of a partition that then went elsewhere."""
    make(tmp_path / ("b" if begun_in == "a" else "a"), records=2)
    (tmp_path / begun_in / "topic-0").mkdir(parents=True)
    with loaded(tmp_path / "a", tmp_path / "b") as manager:
        assert offsets_of(batches_of(log_in(manager))) == [0, 1]
        assert strays(tmp_path / begun_in) == ["topic-0"]
