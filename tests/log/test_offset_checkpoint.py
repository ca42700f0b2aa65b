"""A checkpoint file says nothing that a later word has taken back."""

from pathlib import Path

import pytest

from kstore.log.checkpoint_file import CorruptCheckpointError, read_offsets
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
