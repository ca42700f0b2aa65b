"""Snapshots of the metadata log: `<end offset>-<epoch>.checkpoint`, batches that make the whole image.

    control batch: header, and kraft.version and voters where there are any
    batches of metadata records
    control batch: footer

Their offsets count from 0 and say nothing; the name says where the log goes on. `.part` is unfinished,
`.deleted` waits for its deletion; Kafka and kstore remove both (Snapshots.java,
RecordsSnapshotWriter.java, KIP-630). The same form has `bootstrap.checkpoint` at a directory's root, what
a formatted cluster begins with.
"""

import os
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from kstore._native.batch import RecordBatch
from kstore._native.builder import BatchBuilder
from kstore._native.records import FileRecords
from kstore.cluster.image import ClusterImage
from kstore.cluster.records import image_values
from kstore.errors import CorruptRecordError
from kstore.log.checkpoint_file import fsync_directory
from kstore.protocol.messages.control_records import (
    SnapshotFooterRecord,
    SnapshotHeaderRecord,
    encode_control_record,
)

# Far below what a reader takes, and few enough batches.
BATCH_BYTES = 1024 * 1024


class SnapshotId(NamedTuple):
    """Snapshots are in the order of their epoch, then of their offset (OffsetAndEpoch.java)."""

    epoch: int
    offset: int

    @property
    def name(self) -> str:
        return f"{self.offset:020d}-{self.epoch:010d}.checkpoint"


def find_snapshots(directory: str) -> list[SnapshotId]:
    """The finished snapshots in `directory`, oldest first. Raises OSError."""
    matches = (re.fullmatch(r"(\d{20})-(\d{10})\.checkpoint", name) for name in os.listdir(directory))
    return sorted(SnapshotId(int(match[2]), int(match[1])) for match in matches if match)


def remove_unfinished(directory: str) -> None:
    """Removes what an interrupted snapshot or deletion left. Raises OSError."""
    for name in os.listdir(directory):
        if re.fullmatch(r"\d{20}-\d{10}.*\.checkpoint\.(part|deleted)", name):
            os.unlink(os.path.join(directory, name))


def read_batches(path: str) -> Iterator[RecordBatch]:
    """The batches of a snapshot. Raises CorruptRecordError, for it is damaged if it is not whole."""
    records = FileRecords(path, writable=False)
    try:
        scan = records.scan()
        yield from scan
        if scan.error is not None:
            raise CorruptRecordError(f"{path}: {scan.error}")
    finally:
        records.close()


def write_snapshot(
    directory: str,
    snapshot: SnapshotId,
    image: ClusterImage,
    *,
    control: Iterable[tuple[bytes, bytes]],
    last_timestamp: int,
    now_ms: int,
) -> None:
    """Writes `image` as `snapshot`, whole and durable or not at all; in any thread. Raises OSError."""
    header = SnapshotHeaderRecord(last_contained_log_timestamp=last_timestamp)
    path = os.path.join(directory, snapshot.name)
    part = path + ".part"
    file = FileRecords(part, writable=True, create=True)
    try:
        file.truncate_to(0)
        writer = _Writer(file, snapshot.epoch, now_ms)
        writer.control([encode_control_record(header), *control])
        for value in image_values(image):
            writer.value(value)
        writer.finish()
        writer.control([encode_control_record(SnapshotFooterRecord())])
        file.flush()
        file.rename(path)
    finally:
        file.close()
    fsync_directory(directory)


class _Writer:
    def __init__(self, file: FileRecords, epoch: int, now_ms: int) -> None:
        self._file = file
        self._epoch = epoch
        self._now_ms = now_ms
        self._offset = 0
        self._builder: BatchBuilder | None = None

    def control(self, records: list[tuple[bytes, bytes]]) -> None:
        builder = self._new_batch(is_control=True)
        for key, value in records:
            builder.append(self._now_ms, key, value)
        self._write(builder)

    def value(self, value: bytes) -> None:
        if self._builder is None:
            self._builder = self._new_batch(is_control=False)
        self._builder.append(self._now_ms, None, value)
        if self._builder.estimated_size >= BATCH_BYTES:
            self.finish()

    def finish(self) -> None:
        if self._builder is not None:
            self._write(self._builder)
            self._builder = None

    def _new_batch(self, *, is_control: bool) -> BatchBuilder:
        return BatchBuilder(base_offset=self._offset, partition_leader_epoch=self._epoch, is_control=is_control)

    def _write(self, builder: BatchBuilder) -> None:
        self._offset = builder.next_offset
        self._file.append(builder.build())
