"""What real Kafka wrote is read by the native code as Kafka itself reads it, and as the oracle does."""

from pathlib import Path
from typing import Any

import pytest

from kstore._native.batch import COMPRESSION_NAMES, RecordBatch
from kstore._native.builder import BatchBuilder
from kstore._native.compression import decompress
from kstore._native.index import OffsetIndex, TimeIndex
from kstore._native.records import FileRecords
from kstore.errors import UnsupportedForMessageFormatError
from tests._native.test_against_oracle import FIELDS, SUMMARY, as_tuple, values
from tests.golden.golden import GOLDEN, KRAFT, GoldenPartition, golden
from tests.oracle import record_batch as oracle

NO_LIMIT = 1 << 30
NEW_FORMAT = (*KRAFT, "kafka-3.9.1-zookeeper")

PARTITIONS = [
    pytest.param(partition, id=f"{name}/{topic}-{number}")
    for name in NEW_FORMAT
    for (topic, number), partition in golden(name).partitions.items()
]
LOGS = [
    pytest.param(path, id=str(path.relative_to(GOLDEN)))
    for name in NEW_FORMAT
    for suffix in ("log", "checkpoint")
    for path in sorted((GOLDEN / name).rglob(f"*.{suffix}"))
    if path.parent != GOLDEN / name or path.name == "bootstrap.checkpoint"
]


def scanned(path: Path) -> list[RecordBatch]:
    log = FileRecords(path, writable=False)
    scan = log.scan()
    batches = list(scan)
    assert scan.error is None
    assert scan.valid_bytes == log.size_in_bytes
    return batches


@pytest.mark.parametrize("path", LOGS)
def test_every_log_and_snapshot_reads_as_the_oracle_reads_it(path: Path) -> None:
    expected, stopped_by = oracle.scan(path.read_bytes())
    assert stopped_by is None
    batches = scanned(path)
    assert [batch.file_position for batch in batches] == [position for position, _ in expected]
    for batch, (_, slow) in zip(batches, expected, strict=True):
        assert values(batch, FIELDS) == values(slow, FIELDS)
        payload = bytes(decompress(slow.codec, slow.payload, NO_LIMIT))
        consecutive = slow.count == slow.last_offset_delta + 1
        assert values(batch.check_records(NO_LIMIT, consecutive), SUMMARY) == values(
            oracle.check_records(slow, payload, consecutive), SUMMARY
        )
        assert [as_tuple(record) for record in batch.records()] == [
            as_tuple(record) for record in oracle.records(slow, payload)
        ]


def as_dumped(path: Path, batch: RecordBatch) -> dict[str, Any]:
    """A batch in the words of DumpLogSegments."""
    return {
        "file": path.name,
        "position": batch.file_position,
        "size": batch.size_in_bytes,
        "baseOffset": batch.base_offset,
        "lastOffset": batch.last_offset,
        "count": batch.count,
        "baseSequence": batch.base_sequence,
        "lastSequence": batch.last_sequence,
        "producerId": batch.producer_id,
        "producerEpoch": batch.producer_epoch,
        "partitionLeaderEpoch": batch.partition_leader_epoch,
        "isTransactional": batch.is_transactional,
        "isControl": batch.is_control,
        "LogAppendTime" if batch.timestamp_type else "CreateTime": batch.max_timestamp,
        "magic": batch.magic,
        "compresscodec": COMPRESSION_NAMES[batch.compression],
        "crc": batch.crc,
        "isvalid": batch.is_crc_valid(),
    }


@pytest.mark.parametrize("partition", PARTITIONS)
def test_batches_are_what_kafka_dumps(partition: GoldenPartition) -> None:
    found = [as_dumped(path, batch) for path in partition.logs for batch in scanned(path)]
    for ours, kafkas in zip(found, partition.batches, strict=True):
        assert ours == {name: kafkas.get(name) for name in ours}


@pytest.mark.parametrize("partition", PARTITIONS)
def test_records_are_what_kafkas_consumer_got(partition: GoldenPartition) -> None:
    found = [
        (batch, record)
        for path in partition.logs
        for batch in scanned(path)
        if not batch.is_control
        for record in batch.records()
        if record.offset >= partition.log_start_offset
    ]
    for (batch, ours), kafkas in zip(found, partition.records, strict=True):
        assert (ours.offset, ours.timestamp, ours.key) == (kafkas.offset, kafkas.timestamp, kafkas.key)
        assert list(ours.headers) == kafkas.headers
        assert kafkas.has_value(ours.value)
        assert (batch.timestamp_type, batch.partition_leader_epoch) == (
            kafkas.timestamp_type,
            kafkas.leader_epoch,
        )


@pytest.mark.parametrize("partition", PARTITIONS)
def test_uncompressed_batches_are_built_again_byte_for_byte(partition: GoldenPartition) -> None:
    for path in partition.logs:
        for batch in scanned(path):
            if batch.compression or batch.count == 0:
                continue
            builder = BatchBuilder(
                base_offset=batch.base_offset,
                timestamp_type=batch.timestamp_type,
                log_append_time=batch.max_timestamp,
                producer_id=batch.producer_id,
                producer_epoch=batch.producer_epoch,
                base_sequence=batch.base_sequence,
                partition_leader_epoch=batch.partition_leader_epoch,
                is_transactional=batch.is_transactional,
                is_control=batch.is_control,
                delete_horizon_ms=batch.base_timestamp if batch.has_delete_horizon else None,
            )
            if batch.timestamp_type == 1:
                # The deltas of the records keep the client's timestamps, which no reader is given.
                continue
            for record in batch.records():
                builder.append_with_offset(*as_tuple(record))
            builder.override_last_offset(batch.last_offset)
            assert bytes(builder.build()) == batch.to_bytes()


@pytest.mark.parametrize("partition", PARTITIONS)
def test_transaction_markers_are_read(partition: GoldenPartition) -> None:
    for path in partition.logs:
        for batch in scanned(path):
            if batch.is_control and batch.is_transactional and batch.count:
                control_type, coordinator_epoch = batch.control_record() or (None, None)
                assert control_type in (0, 1)
                assert coordinator_epoch == 0


@pytest.mark.parametrize("partition", PARTITIONS)
def test_indexes_lead_to_the_batches_that_they_name(partition: GoldenPartition) -> None:
    for path in partition.logs:
        base_offset = int(path.stem)
        batches = {batch.file_position: batch for batch in scanned(path)}
        index = OffsetIndex(path.with_suffix(".index"), base_offset, 10 << 20, writable=False)
        index.sanity_check(path.stat().st_size)
        for n in range(index.entries):
            offset, position = index.entry(n)
            assert index.lookup(offset) == (offset, position)
            assert batches[position].last_offset == offset
        times = TimeIndex(path.with_suffix(".timeindex"), base_offset, 10 << 20, writable=False)
        times.sanity_check()
        offsets = {record.offset for batch in batches.values() for record in batch.records()}
        for n in range(times.entries):
            assert times.lookup(times.entry(n)[0]) == times.entry(n)
            assert times.entry(n)[1] in offsets | {batch.last_offset for batch in batches.values()}


def test_messages_of_old_formats_are_refused_with_their_place() -> None:
    for partition in golden("kafka-3.9.1-old-formats").partitions.values():
        for path in partition.logs:
            log = FileRecords(path, writable=False)
            with pytest.raises(UnsupportedForMessageFormatError) as refusal:
                list(log.scan())
            assert refusal.value.position == 0
            assert str(path) in str(refusal.value)
            with pytest.raises(UnsupportedForMessageFormatError) as refusal:
                list(log.batch_headers())
            assert refusal.value.position == 0
