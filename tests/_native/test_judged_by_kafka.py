"""Kafka's own DumpLogSegments reads what the builder and the indexes write."""

import re
from pathlib import Path

import pytest

from kstore._native.batch import COMPRESSION_NAMES, RecordBatch
from kstore._native.builder import BatchBuilder, control_batch, empty_batch
from kstore._native.index import OffsetIndex, TimeIndex
from kstore._native.record import ABORT_MARKER, COMMIT_MARKER
from kstore._native.records import FileRecords
from tests.judge.tools import KafkaTools

pytestmark = pytest.mark.kafka


class PartitionWriter:
    """Writes a segment with an index entry for every batch but the first."""

    def __init__(self, directory: Path) -> None:
        name = directory / "00000000000000000000"
        self.log = FileRecords(f"{name}.log", writable=True, create=True)
        self.index = OffsetIndex(f"{name}.index", 0, 10 << 20)
        self.times = TimeIndex(f"{name}.timeindex", 0, 10 << 20)
        self.next_offset = 0

    def add(self, data: bytearray) -> None:
        batch = RecordBatch(data)
        position = self.log.append(data)
        if position:
            self.index.append(batch.last_offset, position)
        self.times.maybe_append(batch.max_timestamp, batch.last_offset)
        self.next_offset = batch.next_offset

    def close(self) -> None:
        for file in (self.log, self.index, self.times):
            file.close()


def write_everything(directory: Path) -> list[RecordBatch]:
    """Batches of each codec and kind, with records of each kind."""
    writer = PartitionWriter(directory)
    timestamp = 1_700_000_000_000
    for codec in (0, 1, 2, 3, 4):
        for count, size in ((1, 10), (100, 1000), (3, 300_000)):
            builder = BatchBuilder(base_offset=writer.next_offset, compression=codec, partition_leader_epoch=2)
            for i in range(count):
                timestamp += 1
                key = None if i % 3 == 0 else b"key-%d" % i
                value = None if i % 5 == 4 else bytes([97 + i % 26]) * size
                builder.append(timestamp, key, value, [("name", b"x"), ("name", None), ("", b"")] if i % 4 else ())
            writer.add(builder.build())
    for marker in (COMMIT_MARKER, ABORT_MARKER):
        builder = BatchBuilder(
            base_offset=writer.next_offset,
            producer_id=7,
            producer_epoch=1,
            base_sequence=5,
            is_transactional=True,
            partition_leader_epoch=2,
        )
        builder.append(timestamp, b"k", b"v")
        writer.add(builder.build())
        timestamp += 1
        writer.add(
            control_batch(
                marker,
                base_offset=writer.next_offset,
                timestamp=timestamp,
                producer_id=7,
                producer_epoch=1,
                coordinator_epoch=3,
                partition_leader_epoch=2,
            )
        )
    horizon = BatchBuilder(base_offset=writer.next_offset, delete_horizon_ms=timestamp + 5, partition_leader_epoch=2)
    horizon.append_with_offset(writer.next_offset + 2, timestamp, b"gone", None)
    horizon.override_last_offset(writer.next_offset + 4)
    writer.add(horizon.build())
    writer.add(
        empty_batch(
            base_offset=writer.next_offset,
            last_offset=writer.next_offset + 9,
            timestamp=timestamp,
            producer_id=7,
            producer_epoch=1,
            base_sequence=6,
            partition_leader_epoch=2,
        )
    )
    appended = BatchBuilder(
        base_offset=writer.next_offset, timestamp_type=1, log_append_time=timestamp + 9, partition_leader_epoch=2
    )
    appended.append(timestamp, b"k", b"v")
    writer.add(appended.build())
    writer.close()
    return list(FileRecords(writer.log.path, writable=False).scan())


@pytest.mark.parametrize("version", ["3.9.1", "4.3.0"])
def test_dump_log_segments_reads_every_kind_of_batch(
    version: str, tools_39: KafkaTools, tools_43: KafkaTools, tmp_path: Path
) -> None:
    batches = write_everything(tmp_path)
    tools = tools_39 if version == "3.9.1" else tools_43
    printed = tools.assert_partition_is_sound(tmp_path)
    dumped = [dict(re.findall(r"(\w+): (\S+)", line)) for line in printed.splitlines() if "baseOffset:" in line]
    ours = [
        {
            "baseOffset": str(batch.base_offset),
            "lastOffset": str(batch.last_offset),
            "count": str(batch.count),
            "producerId": str(batch.producer_id),
            "lastSequence": str(batch.last_sequence),
            "position": str(batch.file_position),
            "size": str(batch.size_in_bytes),
            "compresscodec": COMPRESSION_NAMES[batch.compression],
            "crc": str(batch.crc),
            "isvalid": "true",
        }
        for batch in batches
    ]
    assert [{name: batch[name] for name in ours[0]} for batch in dumped] == ours
    offsets = [int(offset) for offset in re.findall(r"^\| offset: (\d+)", printed, re.MULTILINE)]
    assert offsets == [record.offset for batch in batches for record in batch.records()]
    assert "endTxnMarker: COMMIT coordinatorEpoch: 3" in printed
    assert "endTxnMarker: ABORT coordinatorEpoch: 3" in printed
