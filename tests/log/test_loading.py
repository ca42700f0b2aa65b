"""What is made of the files of a directory. The cases are those of Kafka's LogLoaderTest."""

import os
from pathlib import Path

import pytest

from kstore.errors import CorruptRecordError
from kstore.log.config import LogConfig
from kstore.log.directory import CLEANED_SUFFIX, DELETED_SUFFIX, SWAP_SUFFIX
from kstore.log.partition_log import PartitionLog
from tests.log.build import NOW, append, batch, batches_of, crash, fill, offsets_of, open_log

SIZE = len(batch())
FAR = 2**31  # more than a segment's indexes can hold


def name(base_offset: int, suffix: str = "") -> str:
    return f"{base_offset:020d}.log{suffix}"


def load(directory: Path, **arguments: object) -> PartitionLog:
    return open_log(directory, LogConfig(segment_bytes=5 * SIZE), **arguments)


def three_segments(directory: Path) -> None:
    log = load(directory)
    fill(log, 15)
    log.begin_close()
    log.close()


# --- left-overs ---


def test_deleted_files_go_and_kraft_snapshots_stay(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    three_segments(directory)
    for left_over in (name(5, DELETED_SUFFIX), "00000000000000000005.index.deleted", "x.deleted"):
        (directory / left_over).write_bytes(b"x")
    (directory / "00000000000000000007-0000000001.checkpoint.deleted").write_bytes(b"x")
    log = load(directory)
    assert offsets_of(batches_of(log)) == list(range(15))
    assert [n for n in os.listdir(directory) if n.endswith(".deleted")] == [
        "00000000000000000007-0000000001.checkpoint.deleted"
    ]


def test_unfinished_rewrite_is_dropped(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    three_segments(directory)
    (directory / name(0, CLEANED_SUFFIX)).write_bytes(batch(base_offset=3))
    (directory / name(5, SWAP_SUFFIX)).write_bytes(batch(base_offset=7))
    log = load(directory)
    assert offsets_of(batches_of(log)) == list(range(15))
    assert not [n for n in os.listdir(directory) if n.endswith((CLEANED_SUFFIX, SWAP_SUFFIX))]


def test_finished_rewrite_replaces_the_segments_of_its_range(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    three_segments(directory)
    # Compaction made one segment of the first two, with offsets 3 and 8 left.
    (directory / name(0, SWAP_SUFFIX)).write_bytes(batch(base_offset=3) + batch(2, base_offset=8))
    log = load(directory)
    assert [s.base_offset for s in log.segments] == [0, 10]
    assert offsets_of(batches_of(log)) == [3, 8, 9, *range(10, 15)]
    assert not [n for n in os.listdir(directory) if n.startswith("00000000000000000005")]


def test_foreign_files_are_left_alone(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    three_segments(directory)
    (directory / "README").write_bytes(b"mine")
    (directory / "subdirectory").mkdir()
    assert load(directory).log_end_offset == 15
    assert (directory / "README").read_bytes() == b"mine"


def test_empty_directory_becomes_a_log_at_its_start_offset(tmp_path: Path) -> None:
    log = load(tmp_path / "topic-0", log_start_offset=7, clean_shutdown=False)
    assert (log.log_start_offset, log.log_end_offset) == (7, 7)


def test_directory_whose_segments_were_deleted_by_hand_is_begun_anew(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    three_segments(directory)
    for file in directory.iterdir():
        file.unlink()
    log = load(directory)
    assert (log.log_end_offset, len(log.segments)) == (0, 1)
    assert append(log, batch()).first_offset == 0


def test_log_compacted_to_far_apart_offsets_is_loaded_and_recovered(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    log = load(directory)
    far = [0, 5, FAR // 2, FAR, FAR * 2, FAR * 2 + 1]
    for offset in far:
        log.append_as_follower(batch(base_offset=offset), leader_epoch=0, now_ms=NOW)
    crash(log)
    log = load(directory, clean_shutdown=False)
    assert offsets_of(batches_of(log)) == far
    assert log.log_end_offset == FAR * 2 + 2


# --- snapshots of producers ---


def test_stray_snapshots_go_but_the_largest(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    log = load(directory)
    for sequence in range(15):
        append(log, batch(producer_id=1, producer_epoch=0, base_sequence=sequence))
    log.begin_close()
    log.close()
    bases = {s.base_offset for s in log.segments} - {0}
    content = (directory / "00000000000000000015.snapshot").read_bytes()
    for offset in (1, 14):
        (directory / f"{offset:020d}.snapshot").write_bytes(content)
    log = load(directory)
    assert set(log.producer_state.snapshots) == bases | {15}


def test_closed_log_without_snapshots_is_not_read_for_producers(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    log = load(directory)
    for sequence in range(8):
        append(log, batch(producer_id=1, producer_epoch=0, base_sequence=sequence))
    log.begin_close()
    log.close()
    for path in directory.glob("*.snapshot"):
        path.unlink()
    log = load(directory)
    assert log.producer_state.producers == {}
    assert log.producer_state.snapshots == [8]


# --- offsets that do not fit ---


def overflowing(directory: Path) -> list[int]:
    """A segment as Kafka before 1.1 could compact it; returns its offsets."""
    directory.mkdir()
    offsets = [3, 4, FAR + 2, FAR + 3, FAR + 5, 3 * FAR]
    records = b"".join(batch(base_offset=offset) for offset in offsets)
    (directory / name(0)).write_bytes(records)
    return offsets


def test_segment_whose_offsets_do_not_fit_is_split(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    offsets = overflowing(directory)
    log = load(directory, clean_shutdown=False)
    assert [s.base_offset for s in log.segments] == [3, FAR + 3, 3 * FAR]
    assert offsets_of(batches_of(log)) == offsets
    assert append(log, batch()).first_offset == 3 * FAR + 1
    log.flush(now_ms=NOW)
    crash(log)
    assert offsets_of(batches_of(load(directory, clean_shutdown=False))) == [*offsets, 3 * FAR + 1]
    assert not [n for n in os.listdir(directory) if n.endswith((CLEANED_SUFFIX, SWAP_SUFFIX, DELETED_SUFFIX))]


@pytest.mark.parametrize("phase", range(1, 9))
def test_split_that_crashed_is_finished_or_done_again(
    tmp_path: Path, phase: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "topic-0"
    offsets = overflowing(directory)
    renames = 0
    rename = os.rename

    def rename_until_the_crash(source: str, target: str) -> None:
        nonlocal renames
        renames += 1
        if renames == phase:
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(os, "rename", rename_until_the_crash)
    with pytest.raises(KeyboardInterrupt):
        load(directory, clean_shutdown=False)
    monkeypatch.setattr(os, "rename", rename)
    log = load(directory, clean_shutdown=False)
    assert offsets_of(batches_of(log)) == offsets
    assert [s.base_offset for s in log.segments] == [3, FAR + 3, 3 * FAR]
    assert not [n for n in os.listdir(directory) if n.endswith((CLEANED_SUFFIX, SWAP_SUFFIX, DELETED_SUFFIX))]


@pytest.mark.parametrize(
    "content", [b"", b"0\n0\n", b"0\n1\n-1 0\n", b"0\n1\n2147483648 0\n", b"0\n2\n3 0\n4 9223372036854775808\n", None]
)
@pytest.mark.parametrize("clean_shutdown", [True, False])
def test_leader_epochs_whose_file_was_lost_are_read_from_the_batches(
    tmp_path: Path, content: bytes | None, clean_shutdown: bool
) -> None:
    directory = tmp_path / "topic-0"
    log = load(directory)
    for epoch in (3, 3, 5):
        append(log, batch(), leader_epoch=epoch)
    log.begin_close()
    log.close()
    file = directory / "leader-epoch-checkpoint"
    file.unlink() if content is None else file.write_bytes(content)
    with open(directory / name(0), "ab") as torn:
        torn.write(bytes(100))
    assert load(directory, clean_shutdown=clean_shutdown).leader_epoch_cache.entries == [(3, 0), (5, 2)]
    assert file.read_bytes() == b"0\n2\n3 0\n5 2\n"


def test_file_whose_name_is_no_offset_is_named(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    three_segments(directory)
    (directory / "99999999999999999999.log").touch()
    with pytest.raises(CorruptRecordError, match=r"99999999999999999999\.log"):
        load(directory)
