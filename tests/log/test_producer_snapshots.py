"""Snapshots of the producer state as files: Kafka's bytes, and which of them there are."""

import pytest

from kstore.log.memory_directory import MemoryDirectory
from kstore.log.producer_entry import BatchMetadata, ProducerEntry
from kstore.log.producer_snapshots import ProducerSnapshots, encode_snapshot


@pytest.fixture
def directory() -> MemoryDirectory:
    return MemoryDirectory()


def written(directory: MemoryDirectory, *offsets: int) -> ProducerSnapshots:
    snapshots = ProducerSnapshots(directory, None)
    for offset in offsets:
        snapshots.write_snapshot(offset, [])
    return snapshots


def test_snapshot_has_kafkas_bytes() -> None:
    entry = ProducerEntry(5, 2, last_timestamp=1234)
    entry.batches = [BatchMetadata(6, 99, 0, 1), BatchMetadata(9, 102, 2, 1234)]
    content = encode_snapshot([entry])
    body = b"".join(
        value.to_bytes(size, "big", signed=True)
        for value, size in (
            (1, 4),  # entries
            (5, 8),
            (2, 2),
            (9, 4),  # last sequence
            (102, 8),  # last offset
            (2, 4),  # offset delta
            (1234, 8),
            (-1, 4),  # no coordinator
            (-1, 8),  # no transaction
        )
    )
    assert content[:2] == b"\0\1"
    assert content[6:] == body


def test_stray_snapshots_go_but_the_one_of_a_clean_shutdown_stays(directory: MemoryDirectory) -> None:
    snapshots = written(directory, 5, 10, 15, 20, 42)
    snapshots.remove_stray_snapshots([5, 20])
    assert snapshots.snapshots == [5, 20, 42]
    snapshots.remove_stray_snapshots([42])
    assert snapshots.snapshots == [42]
    assert directory.names() == ["00000000000000000042.snapshot"]


def test_snapshot_can_be_marked_for_deletion(directory: MemoryDirectory) -> None:
    snapshots = written(directory, 1)
    assert snapshots.mark_snapshot_deleted(1) == "00000000000000000001.snapshot.deleted"
    assert snapshots.snapshots == []
    assert snapshots.mark_snapshot_deleted(1) is None
    assert directory.names() == ["00000000000000000001.snapshot.deleted"]


def test_marking_a_snapshot_that_vanished_is_no_error(directory: MemoryDirectory) -> None:
    snapshots = written(directory, 1)
    directory.delete("00000000000000000001.snapshot")
    assert snapshots.mark_snapshot_deleted(1) is None


def test_snapshots_are_found_in_the_directory(directory: MemoryDirectory) -> None:
    for name in ("00000000000000000007.snapshot", "00000000000000000003.snapshot", "x.snapshot", "00.log"):
        directory.write_file(name, b"")
    assert ProducerSnapshots(directory, None).snapshots == [3, 7]


def test_each_snapshot_is_synced_once(directory: MemoryDirectory) -> None:
    snapshots = written(directory, 9, 3)
    assert snapshots.snapshots == [3, 9]
    assert snapshots.take_unsynced() == ["00000000000000000009.snapshot", "00000000000000000003.snapshot"]
    assert snapshots.take_unsynced() == []
