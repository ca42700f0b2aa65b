"""Snapshots of the producer state: files beside the segments, from which a start reads on.

    version i16 = 1 | CRC32C u32 of all that follows | count i32 | entries:
    producer id i64 | epoch i16 | last sequence i32 | last offset i64 | offset delta i32 | timestamp i64
    | coordinator epoch i32 | first offset of the open transaction i64

A snapshot at offset N holds the state before the record at N, and of each producer only the last batch. One that a
power loss tore is found out by its CRC, and an older one serves (ProducerStateManager.java).
"""

from bisect import bisect_left, insort
from struct import Struct
from struct import error as struct_error
from typing import Protocol

from kstore._native.checksum import crc32c
from kstore.errors import CorruptRecordError
from kstore.log.producer_entry import BatchMetadata, ProducerEntry

SNAPSHOT_VERSION = 1
SNAPSHOT_HEAD = Struct(">hI")
SNAPSHOT_COUNT = Struct(">i")
SNAPSHOT_ENTRY = Struct(">qhiqiqiq")
SNAPSHOT_SUFFIX = ".snapshot"


class CorruptSnapshotError(CorruptRecordError):
    """A snapshot that is torn, damaged or of an unknown version; an older one serves instead."""


class SnapshotStore(Protocol):
    """What keeps the snapshot files."""

    def names(self) -> list[str]: ...

    def read_file(self, name: str) -> bytes | None: ...

    def write_file(self, name: str, content: bytes) -> None: ...

    def delete(self, name: str) -> bool: ...

    def rename(self, name: str, new_name: str) -> bool: ...


class ProducerSnapshots:
    """`snapshots` are the offsets of those that there are, rising; `unsynced` those that are not durable."""

    __slots__ = ("_store", "snapshots", "unsynced")

    def __init__(self, store: SnapshotStore, names: list[str] | None) -> None:
        self._store = store
        self.snapshots: list[int] = []
        self.unsynced: list[int] = []
        self.list_snapshots(names)

    def list_snapshots(self, names: list[str] | None = None) -> None:
        """Reads from the directory which snapshots there are."""
        self.snapshots = sorted(
            int(name.removesuffix(SNAPSHOT_SUFFIX))
            for name in (self._store.names() if names is None else names)
            if name.endswith(SNAPSHOT_SUFFIX) and name.removesuffix(SNAPSHOT_SUFFIX).isdecimal()
        )

    def remove_stray_snapshots(self, segment_base_offsets: list[int]) -> None:
        """Deletes snapshots that belong to no segment; the largest stays if it is above all segments, for it
        is the one of a clean shutdown or of the last flush."""
        bases = set(segment_base_offsets)
        strays = [offset for offset in self.snapshots if offset not in bases]
        if strays and (not bases or strays[-1] >= max(bases)):
            strays.pop()
        for offset in strays:
            self.delete_snapshot(offset)

    def read_snapshot(self, offset: int) -> list[ProducerEntry]:
        """Raises CorruptSnapshotError."""
        content = self._store.read_file(_snapshot_name(offset))
        if content is None:
            raise CorruptSnapshotError("the file is gone")
        return decode_snapshot(content)

    def write_snapshot(self, offset: int, entries: list[ProducerEntry]) -> None:
        """The fsync comes with the next flush."""
        self._store.write_file(_snapshot_name(offset), encode_snapshot(entries))
        if offset not in self.snapshots:
            insort(self.snapshots, offset)
        self.unsynced.append(offset)

    def take_unsynced(self) -> list[str]:
        """The names of snapshots that were written since the last call and are not durable."""
        names = [_snapshot_name(offset) for offset in self.unsynced]
        self.unsynced = []
        return names

    def delete_snapshots_after(self, offset: int) -> None:
        for snapshot in [o for o in self.snapshots if o > offset]:
            self.delete_snapshot(snapshot)

    def delete_snapshot(self, offset: int) -> None:
        index = bisect_left(self.snapshots, offset)
        if index < len(self.snapshots) and self.snapshots[index] == offset:
            del self.snapshots[index]
        self._store.delete(_snapshot_name(offset))

    def mark_snapshot_deleted(self, offset: int) -> str | None:
        """Renames a snapshot for a later deletion; the new name, or None where there is no such snapshot."""
        index = bisect_left(self.snapshots, offset)
        if index == len(self.snapshots) or self.snapshots[index] != offset:
            return None
        del self.snapshots[index]
        name = _snapshot_name(offset)
        deleted = name + ".deleted"
        return deleted if self._store.rename(name, deleted) else None


def _snapshot_name(offset: int) -> str:
    return f"{offset:020d}{SNAPSHOT_SUFFIX}"


def encode_snapshot(entries: list[ProducerEntry]) -> bytes:
    body = bytearray(SNAPSHOT_COUNT.pack(len(entries)))
    for entry in entries:
        body += SNAPSHOT_ENTRY.pack(
            entry.producer_id,
            entry.epoch,
            entry.last_sequence,
            entry.last_offset,
            entry.last_offset_delta,
            entry.last_timestamp,
            entry.coordinator_epoch,
            entry.current_txn_first_offset,
        )
    return SNAPSHOT_HEAD.pack(SNAPSHOT_VERSION, crc32c(body)) + body


def decode_snapshot(content: bytes) -> list[ProducerEntry]:
    """Raises CorruptSnapshotError."""
    try:
        version, crc = SNAPSHOT_HEAD.unpack_from(content)
        (count,) = SNAPSHOT_COUNT.unpack_from(content, SNAPSHOT_HEAD.size)
    except struct_error:
        raise CorruptSnapshotError(f"{len(content)} bytes hold no snapshot") from None
    if version != SNAPSHOT_VERSION:
        raise CorruptSnapshotError(f"unknown version {version}")
    body = memoryview(content)[SNAPSHOT_HEAD.size :]
    if crc32c(body) != crc:
        raise CorruptSnapshotError(f"CRC is {crc32c(body):#x}, not {crc:#x}")
    records = body[SNAPSHOT_COUNT.size :]
    if count < 0 or count * SNAPSHOT_ENTRY.size > len(records):
        raise CorruptSnapshotError(f"{count} entries announced in {len(records)} bytes")
    entries = []
    for fields in SNAPSHOT_ENTRY.iter_unpack(records[: count * SNAPSHOT_ENTRY.size]):
        producer_id, epoch, last_sequence, last_offset, delta, timestamp, coordinator_epoch, txn_start = fields
        entry = ProducerEntry(producer_id, epoch, coordinator_epoch, timestamp, max(txn_start, -1))
        if last_offset >= 0:
            entry.batches.append(BatchMetadata(last_sequence, last_offset, delta, timestamp))
        entries.append(entry)
    return entries
