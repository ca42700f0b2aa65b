"""Checkpoint files: Kafka's text, replaced whole or not at all."""

import os
from pathlib import Path

import pytest

from kstore.log.checkpoint_file import (
    CorruptCheckpointError,
    format_entries,
    parse_entries,
    read_file,
    read_offsets,
    replace_file,
    write_offsets,
)
from kstore.model import TopicPartition

OFFSETS = {TopicPartition("foo", 0): 5, TopicPartition("foo", 2): 10, TopicPartition("b.a-r", 1): 0}


def test_offsets_are_written_as_kafka_writes_them(tmp_path: Path) -> None:
    path = tmp_path / "recovery-point-offset-checkpoint"
    write_offsets(str(path), OFFSETS)
    assert path.read_bytes() == b"0\n3\nfoo 0 5\nfoo 2 10\nb.a-r 1 0\n"
    assert read_offsets(str(path)) == OFFSETS


def test_second_write_replaces_the_first_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    write_offsets(str(path), OFFSETS)
    write_offsets(str(path), {TopicPartition("foo", 0): 6})
    assert read_offsets(str(path)) == {TopicPartition("foo", 0): 6}
    assert os.listdir(tmp_path) == ["checkpoint"]


def test_missing_and_empty_files_hold_nothing(tmp_path: Path) -> None:
    assert read_offsets(str(tmp_path / "missing")) == {}
    (tmp_path / "empty").touch()
    assert read_offsets(str(tmp_path / "empty")) == {}
    write_offsets(str(tmp_path / "none"), {})
    assert read_offsets(str(tmp_path / "none")) == {}


@pytest.mark.parametrize(
    "content",
    [
        b"1\n1\nfoo 0 5\n",  # a version that is not known
        b"x\n1\nfoo 0 5\n",
        b"0\n2\nfoo 0 5\n",  # fewer entries than announced
        b"0\n0\nfoo 0 5\n",
        b"0\n-1\n",
        b"0\n1\nfoo 0\n",
        b"0\n1\nfoo 0 5 6\n",
        b"0\n1\nfoo zero 5\n",
        b"0\n1\nfoo 0 -5\n",
        b"0\n1\nfoo 0 9223372036854775808\n",
        b"0\n1\nfoo 2147483648 5\n",
        b"0\n1\n\xff\xfe 0 5\n",
    ],
)
def test_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "checkpoint").write_bytes(content)
    with pytest.raises(CorruptCheckpointError):
        read_offsets(str(tmp_path / "checkpoint"))


def test_torn_temporary_file_of_a_crash_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.tmp").write_bytes(b"half of something longer than what comes")
    replace_file(str(tmp_path / "checkpoint"), b"whole")
    assert read_file(str(tmp_path / "checkpoint")) == b"whole"
    assert os.listdir(tmp_path) == ["checkpoint"]


def test_entries_survive_formatting() -> None:
    assert parse_entries(format_entries(["1 2", "3 4"]), "here") == ["1 2", "3 4"]
