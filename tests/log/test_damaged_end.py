"""What is cut off the end of a log that had been durable is kept."""

import errno
import io
import json
import logging
import os
from pathlib import Path

import pytest

from kstore.cli.logs.dump import Dump, DumpOptions
from kstore.cli.logs.files import describe_file
from kstore.errors import KafkaStorageError
from kstore.log.config import LogConfig
from kstore.log.damaged_end import keep_damaged_end
from kstore.log.directory import DAMAGED_SUFFIX, DiskDirectory
from kstore.log.log_dir import INCARNATION_FILE, LogDir
from kstore.log.memory_directory import MemoryDirectory
from kstore.log.segment import Segment
from tests.log.build import append, batch, batches_of, crash, fill, offsets_of, open_log
from tests.log.build_segment import add, segment

LOG = "00000000000000000000.log"
SIZE = len(batch())
LENGTH = 8


def closed(directory: Path, batches: int = 4) -> bytes:
    """A log that was stopped in order; the bytes of its segment."""
    log = open_log(directory, LogConfig())
    fill(log, batches)
    log.close()
    return (directory / LOG).read_bytes()


def damaged(content: bytes, position: int) -> bytes:
    return content[:position] + bytes([content[position] ^ 0x55]) + content[position + 1 :]


def kept(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if DAMAGED_SUFFIX in path.name}


@pytest.mark.parametrize("without_index", [False, True], ids=["indexes", "no index"])
def test_batches_cut_off_a_closed_log_are_kept_beside_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, without_index: bool
) -> None:
    directory = tmp_path / "topic-0"
    content = damaged(closed(directory), 2 * SIZE + LENGTH)
    (directory / LOG).write_bytes(content)
    if without_index:
        (directory / "00000000000000000000.index").unlink()
    log_dir = LogDir(str(tmp_path))
    with caplog.at_level(logging.ERROR):
        log = open_log(directory, clean_shutdown=True, recovery_point=4, log_dir=log_dir)
    name = f"00000000000000000000.{2 * SIZE}.log.damaged"
    assert kept(directory) == {name: content[2 * SIZE :]}
    assert name in caplog.text
    assert log_dir.has_lost_batches
    assert append(log, batch()).first_offset == 2
    assert offsets_of(batches_of(log)) == [0, 1, 2]


def test_the_whole_batches_of_a_kept_end_can_be_dumped(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    (directory / LOG).write_bytes(damaged(closed(directory), SIZE + LENGTH))
    open_log(directory, clean_shutdown=True, recovery_point=4)
    (name,) = kept(directory)
    out = io.StringIO()
    Dump(out, DumpOptions(as_json=True)).file(describe_file(str(directory / name), name))
    rows = [json.loads(line) for line in out.getvalue().splitlines()]
    assert rows[0]["state"] == "damaged"
    assert [row["base_offset"] for row in rows if row["type"] == "batch"] == [2, 3]
    assert [row["position"] for row in rows if row["type"] == "damage"] == [0]


def test_a_damaged_last_batch_of_a_closed_log_is_kept_and_counts_as_lost(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    content = closed(directory)[:-1]
    (directory / LOG).write_bytes(content)
    log_dir = LogDir(str(tmp_path))
    assert open_log(directory, clean_shutdown=True, recovery_point=4, log_dir=log_dir).log_end_offset == 3
    assert list(kept(directory).values()) == [content[3 * SIZE :]]
    assert log_dir.has_lost_batches


def test_what_was_kept_before_stays(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    first = damaged(closed(directory), 2 * SIZE + LENGTH)
    (directory / LOG).write_bytes(first)
    log = open_log(directory, clean_shutdown=True, recovery_point=4)
    append(log, batch(value=b"other"))
    log.close()
    second = damaged((directory / LOG).read_bytes(), 2 * SIZE + LENGTH)
    (directory / LOG).write_bytes(second)
    open_log(directory, clean_shutdown=True, recovery_point=3)
    assert kept(directory) == {
        f"00000000000000000000.{2 * SIZE}.log.damaged": first[2 * SIZE :],
        f"00000000000000000000.{2 * SIZE}-2.log.damaged": second[2 * SIZE :],
    }


@pytest.mark.parametrize(("recovery_point", "is_kept"), [(2, False), (3, True)])
def test_after_a_crash_only_what_had_been_flushed_is_kept(tmp_path: Path, recovery_point: int, is_kept: bool) -> None:
    directory = tmp_path / "topic-0"
    content = damaged(closed(directory), 2 * SIZE + LENGTH)
    (directory / LOG).write_bytes(content)
    log = open_log(directory, clean_shutdown=False, recovery_point=recovery_point)
    assert log.log_end_offset == 2
    assert bool(kept(directory)) == is_kept
    crash(log)


def test_what_was_preallocated_is_nothing_to_keep(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    (directory / LOG).write_bytes(closed(directory) + bytes(4096))
    log_dir = LogDir(str(tmp_path))
    assert open_log(directory, clean_shutdown=True, recovery_point=4, log_dir=log_dir).log_end_offset == 4
    assert not kept(directory)
    assert not log_dir.has_lost_batches


@pytest.mark.parametrize("without_index", [False, True], ids=["indexes", "no index"])
def test_zeros_where_batches_had_been_flushed_are_a_loss(tmp_path: Path, without_index: bool) -> None:
    directory = tmp_path / "topic-0"
    content = closed(directory)[: 2 * SIZE] + bytes(2 * SIZE)
    (directory / LOG).write_bytes(content)
    if without_index:
        (directory / "00000000000000000000.index").unlink()
    log_dir = LogDir(str(tmp_path))
    assert open_log(directory, clean_shutdown=True, recovery_point=4, log_dir=log_dir).log_end_offset == 2
    assert list(kept(directory).values()) == [bytes(2 * SIZE)]
    assert log_dir.has_lost_batches


def test_what_lies_behind_an_offset_that_no_checksum_covers_is_kept(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    content = bytearray(closed(directory))
    content[2 * SIZE + 4] ^= 0x40
    (directory / LOG).write_bytes(content)
    open_log(directory, clean_shutdown=False, recovery_point=4)
    assert list(kept(directory).values()) == [content[3 * SIZE :]]


def test_segments_behind_a_hole_in_what_had_been_flushed_are_kept(tmp_path: Path) -> None:
    """An offset that lies that far does not fit the segment, which is split."""
    directory = tmp_path / "topic-0"
    content = bytearray(closed(directory))
    content[2 * SIZE + 4] ^= 0x80
    (directory / LOG).write_bytes(content)
    log_dir = LogDir(str(tmp_path))
    assert open_log(directory, clean_shutdown=False, recovery_point=4, log_dir=log_dir).log_end_offset == 2
    assert kept(directory) == {f"{2 + 2**31:020}.log.damaged": content[2 * SIZE :]}
    assert log_dir.has_lost_batches


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_what_cannot_be_kept_is_not_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """A full disk keeps the partition from being served, and no other; what else fails, its directory."""
    directory = tmp_path / "topic-0"
    content = damaged(closed(directory), 2 * SIZE + LENGTH)
    (directory / LOG).write_bytes(content)

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(DiskDirectory, "rename", refuse)
        with pytest.raises(KafkaStorageError if number == errno.ENOSPC else OSError):
            open_log(directory, clean_shutdown=True, recovery_point=4)
    assert (directory / LOG).read_bytes() == content
    assert not kept(directory)
    # The next start is as after a crash, and knows all the same.
    assert open_log(directory, clean_shutdown=False, recovery_point=4).log_end_offset == 2
    assert list(kept(directory).values()) == [content[2 * SIZE :]]


def test_the_incarnation_ends_before_anything_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that is killed behind the cut leaves a sound log, and the next one would not know what is gone."""
    directory = tmp_path / "topic-0"
    content = damaged(closed(directory), 2 * SIZE + LENGTH)
    (directory / LOG).write_bytes(content)
    said = tmp_path / INCARNATION_FILE
    said.write_text("version=1\n")
    seen = []
    cut = Segment.cut

    def killed(self: Segment, position: int) -> None:
        seen.append(said.exists())
        cut(self, position)

    monkeypatch.setattr(Segment, "cut", killed)
    open_log(directory, clean_shutdown=True, recovery_point=4, log_dir=LogDir(str(tmp_path)))
    assert seen == [False]


@pytest.mark.parametrize("kind", ["write", "sync", "rename"])
def test_a_copy_that_fails_can_be_made_again(kind: str) -> None:
    directory = MemoryDirectory()
    made = segment(0, directory=directory)
    for offset in range(3):
        add(made, offset)
    before = bytes(directory.files[LOG].data)
    directory.fault = lambda asked, name: errno.EIO if asked == kind and DAMAGED_SUFFIX in name else None
    with pytest.raises(OSError, match="failed"):
        keep_damaged_end(directory, made, SIZE)
    directory.fault = None
    keep_damaged_end(directory, made, SIZE)
    directory.crash()
    found = {name: bytes(file.data) for name, file in directory.files.items() if DAMAGED_SUFFIX in name}
    assert found == {f"00000000000000000000.{SIZE}.log.damaged": before[SIZE:]}
