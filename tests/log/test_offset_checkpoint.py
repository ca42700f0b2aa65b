"""A checkpoint file says nothing that a later word has taken back."""

from pathlib import Path
from threading import Event, Thread, current_thread

import pytest

from kstore.log import offset_checkpoint
from kstore.log.checkpoint_file import CorruptCheckpointError, read_offsets, write_offsets
from kstore.log.offset_checkpoint import OffsetCheckpoint
from kstore.model import TopicPartition

ONE, TWO = TopicPartition("topic", 1), TopicPartition("topic", 2)


@pytest.fixture
def checkpoint(tmp_path: Path) -> OffsetCheckpoint:
    return OffsetCheckpoint(str(tmp_path), "some-checkpoint")


def said(checkpoint: OffsetCheckpoint) -> dict[TopicPartition, int]:
    found = read_offsets(checkpoint.path)
    assert checkpoint.says(found)
    return found


def test_file_is_replaced_when_the_replacement_runs(checkpoint: OffsetCheckpoint) -> None:
    checkpoint.read()
    replacement = checkpoint.begin({ONE: 1, TWO: 2})
    assert said(checkpoint) == {}
    replacement.run()
    assert said(checkpoint) == {ONE: 1, TWO: 2}


def test_lowered_entry_stays_low_whatever_was_on_its_way(checkpoint: OffsetCheckpoint) -> None:
    """A thread that was still writing put the old offset back."""
    replacement = checkpoint.begin({ONE: 9, TWO: 2})
    checkpoint.lower(ONE, 4)
    replacement.run()
    assert said(checkpoint).get(ONE, 0) <= 4
    checkpoint.begin({ONE: 9, TWO: 2}).run()
    assert said(checkpoint) == {ONE: 9, TWO: 2}


def test_written_content_stays_whatever_was_on_its_way(checkpoint: OffsetCheckpoint) -> None:
    checkpoint.write({ONE: 1})
    replacement = checkpoint.begin({ONE: 9, TWO: 2})
    assert checkpoint.mentions(TWO)
    checkpoint.write({ONE: 1})
    assert not checkpoint.mentions(TWO)
    replacement.run()
    assert said(checkpoint) == {ONE: 1}


class BeingWritten:
    """A replacement that a thread is writing: it goes on when the owner waits for it, or at the end of the block."""

    def __init__(
        self, checkpoint: OffsetCheckpoint, monkeypatch: pytest.MonkeyPatch, offsets: dict[TopicPartition, int]
    ) -> None:
        self.lock = checkpoint._lock
        self.writing, self.go_on = Event(), Event()
        self.writer = Thread(target=checkpoint.begin(offsets).run)
        monkeypatch.setattr(offset_checkpoint, "write_offsets", self.write)
        monkeypatch.setattr(checkpoint, "_lock", self.OwnersLock(self))

    class OwnersLock:
        def __init__(self, being_written: "BeingWritten") -> None:
            self.being_written = being_written

        def __enter__(self) -> None:
            if current_thread() is not self.being_written.writer:
                self.being_written.go_on.set()
            self.being_written.lock.acquire()

        def __exit__(self, *error: object) -> None:
            self.being_written.lock.release()

    def write(self, path: str, offsets: dict[TopicPartition, int]) -> None:
        if current_thread() is self.writer:
            self.writing.set()
            assert self.go_on.wait(60)
        write_offsets(path, offsets)

    def __enter__(self) -> None:
        self.writer.start()
        assert self.writing.wait(60)

    def __exit__(self, *error: object) -> None:
        self.go_on.set()
        self.writer.join()


def test_entry_is_lowered_in_what_is_being_written(
    checkpoint: OffsetCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was neither on its way nor in the file any more, and the file ended with the offset behind the cut."""
    checkpoint.write({ONE: 100})
    with BeingWritten(checkpoint, monkeypatch, {ONE: 500, TWO: 2}):
        checkpoint.lower(ONE, 200)
    assert said(checkpoint) == {ONE: 200, TWO: 2}


def test_what_is_being_written_is_mentioned(checkpoint: OffsetCheckpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """A partition that was deleted then stayed in the file, for a new one of its name to find."""
    checkpoint.write({ONE: 100})
    with BeingWritten(checkpoint, monkeypatch, {ONE: 100, TWO: 2}):
        assert checkpoint.mentions(TWO)
        checkpoint.write({ONE: 100})
    assert said(checkpoint) == {ONE: 100}


def test_content_that_is_being_written_is_replaced(
    checkpoint: OffsetCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.write({ONE: 1})
    with BeingWritten(checkpoint, monkeypatch, {ONE: 9, TWO: 2}):
        later = checkpoint.begin({ONE: 10})
        checkpoint.write({ONE: 1})
    assert said(checkpoint) == {ONE: 1}
    later.run()
    assert said(checkpoint) == {ONE: 1}


def test_only_the_latest_replacement_is_written(checkpoint: OffsetCheckpoint) -> None:
    """The entry of an earlier one was in nobody's sight when the log was cut, and was written afterwards."""
    checkpoint.write({ONE: 1})
    earlier = checkpoint.begin({ONE: 9})
    later = checkpoint.begin({ONE: 3})
    checkpoint.lower(ONE, 4)
    earlier.run()
    assert said(checkpoint) == {ONE: 1}
    later.run()
    assert said(checkpoint) == {ONE: 3}


def test_what_need_not_be_lowered_costs_no_write(checkpoint: OffsetCheckpoint) -> None:
    checkpoint.write({ONE: 5})
    Path(checkpoint.path).unlink()
    checkpoint.lower(ONE, 5)
    checkpoint.lower(TWO, 0)
    assert not Path(checkpoint.path).exists()


def test_damaged_file_says_nothing_and_is_replaced(checkpoint: OffsetCheckpoint) -> None:
    Path(checkpoint.path).write_bytes(b"garbage")
    with pytest.raises(CorruptCheckpointError):
        checkpoint.read()
    assert not checkpoint.says({})
    checkpoint.write({})
    assert said(checkpoint) == {}
