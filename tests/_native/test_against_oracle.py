"""Every answer of the native batch code equals that of the slow oracle, for good, damaged and cut input."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kstore._native import compression
from kstore._native.batch import RecordBatch, iter_batches
from kstore._native.builder import BatchBuilder
from kstore._native.record import Record
from kstore._native.records import FileRecords
from tests._native.batches import (
    answer,
    answer_with_index,
    damaged_batches,
    int_of,
    oracle_batches,
    record_lists,
)
from tests.oracle import record_batch as oracle

# KSTORE_EXAMPLES=20000 (with --timeout=0) for a long search.
EXAMPLES = int(os.environ.get("KSTORE_EXAMPLES", "400"))
MANY = settings(max_examples=EXAMPLES, deadline=None)
WITH_FILES = settings(
    max_examples=EXAMPLES // 3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
NO_LIMIT = 1 << 30

FIELDS = (
    "base_offset",
    "last_offset",
    "partition_leader_epoch",
    "magic",
    "crc",
    "attributes",
    "last_offset_delta",
    "base_timestamp",
    "max_timestamp",
    "producer_id",
    "producer_epoch",
    "base_sequence",
    "last_sequence",
    "count",
    "size_in_bytes",
)
SUMMARY = (
    "count",
    "min_timestamp",
    "max_timestamp",
    "offset_of_max_timestamp",
    "has_null_key",
    "size_in_bytes",
)


def values(thing: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(thing, name) for name in names}


def as_tuple(record: Record | oracle.OracleRecord) -> tuple[Any, ...]:
    return record.offset, record.timestamp, record.key, record.value, tuple(record.headers)


def collected(records: Any) -> tuple[list[tuple[Any, ...]], Any]:
    """The records before the first bad one, and the refusal."""
    good = []

    def consume() -> None:
        for record in records():
            good.append(as_tuple(record))

    return good, answer_with_index(consume)


@given(damaged_batches(), st.integers(0, 3), st.integers(0, 3))
@MANY
def test_headers_are_read_alike(data: bytes, before: int, after: int) -> None:
    buffer = b"\xaa" * before + data + b"\xaa" * after
    limit = before + len(data)
    native = answer(lambda: values(RecordBatch(buffer, before, limit), FIELDS))
    assert native == answer(lambda: values(oracle.read_batch(buffer, before, limit), FIELDS))


@given(damaged_batches())
@MANY
def test_checksums_are_judged_alike(data: bytes) -> None:
    native = answer(lambda: RecordBatch(data).is_crc_valid())
    assert native == answer(lambda: oracle.is_crc_valid(oracle.read_batch(data)))


@given(damaged_batches(), st.booleans())
@MANY
def test_records_are_checked_alike(data: bytes, consecutive: bool) -> None:
    batch = answer(lambda: oracle.read_batch(data))
    if not isinstance(batch, oracle.OracleBatch) or batch.codec != 0:
        return
    native = RecordBatch(data)
    assert answer_with_index(lambda: values(native.check_records(NO_LIMIT, consecutive), SUMMARY)) == answer_with_index(
        lambda: values(oracle.check_records(batch, batch.payload, consecutive), SUMMARY)
    )


@given(damaged_batches(), st.booleans(), st.integers(1, 40))
@MANY
def test_compressed_records_are_checked_alike_in_pieces_of_any_size(
    data: bytes, consecutive: bool, piece_size: int
) -> None:
    batch = answer(lambda: oracle.read_batch(data))
    if not isinstance(batch, oracle.OracleBatch) or batch.codec != 0:
        return
    packed = replace(
        batch, attributes=batch.attributes | compression.GZIP, payload=compression.compress(1, batch.payload)
    )
    native = RecordBatch(packed.to_bytes())
    with patch.object(compression, "PIECE_SIZE", piece_size):
        found = answer_with_index(lambda: values(native.check_records(NO_LIMIT, consecutive), SUMMARY))
    assert found == answer_with_index(lambda: values(oracle.check_records(packed, batch.payload, consecutive), SUMMARY))


@given(damaged_batches(), st.integers(1, 40))
@MANY
def test_compressed_records_are_read_alike_in_pieces_of_any_size(data: bytes, piece_size: int) -> None:
    batch = answer(lambda: oracle.read_batch(data))
    if not isinstance(batch, oracle.OracleBatch) or batch.codec != 0:
        return
    packed = replace(
        batch, attributes=batch.attributes | compression.GZIP, payload=compression.compress(1, batch.payload)
    )
    native = RecordBatch(packed.to_bytes())
    with patch.object(compression, "PIECE_SIZE", piece_size):
        found = collected(native.records)
    assert found == collected(lambda: oracle.records(packed, batch.payload))


@given(damaged_batches())
@MANY
def test_records_are_read_alike(data: bytes) -> None:
    batch = answer(lambda: oracle.read_batch(data))
    if not isinstance(batch, oracle.OracleBatch) or batch.codec != 0:
        return
    native = RecordBatch(data)
    assert collected(native.records) == collected(lambda: oracle.records(batch, batch.payload))


@given(oracle_batches(), int_of(64), int_of(32))
@MANY
def test_stamping_changes_offset_and_epoch_and_leaves_the_checksum(
    batch: oracle.OracleBatch, base_offset: int, epoch: int
) -> None:
    buffer = bytearray(batch.to_bytes())
    RecordBatch(buffer).stamp(base_offset, epoch)
    stamped = oracle.read_batch(bytes(buffer))
    assert (stamped.base_offset, stamped.partition_leader_epoch) == (base_offset, epoch)
    assert stamped.crc == batch.crc
    assert stamped.bytes_under_crc() == batch.bytes_under_crc()


@given(oracle_batches(), st.sampled_from([0, 1]), int_of(64))
@MANY
def test_timestamps_are_set_with_a_right_checksum(
    batch: oracle.OracleBatch, timestamp_type: int, max_timestamp: int
) -> None:
    buffer = bytearray(batch.to_bytes())
    RecordBatch(buffer).set_timestamps(timestamp_type, max_timestamp)
    found = oracle.read_batch(bytes(buffer))
    assert oracle.is_crc_valid(found)
    assert found.max_timestamp == max_timestamp
    assert found.has_log_append_time == (timestamp_type == 1)
    assert found.attributes & ~8 == batch.attributes & ~8
    assert found.payload == batch.payload


@given(
    record_lists(base_offset=7, gaps=True).filter(bool),
    st.one_of(st.none(), int_of(64)),
    st.booleans(),
    st.booleans(),
    int_of(64),
    int_of(16),
    int_of(32),
)
@MANY
def test_builder_writes_the_bytes_that_the_oracle_writes(
    records: list[oracle.OracleRecord],
    horizon: int | None,
    is_transactional: bool,
    is_control: bool,
    producer_id: int,
    producer_epoch: int,
    base_sequence: int,
) -> None:
    builder = BatchBuilder(
        base_offset=7,
        delete_horizon_ms=horizon,
        is_transactional=is_transactional,
        is_control=is_control,
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        base_sequence=base_sequence,
        partition_leader_epoch=3,
    )
    for record in records:
        builder.append_with_offset(*as_tuple(record))
    base_timestamp = records[0].timestamp if horizon is None else horizon
    expected = oracle.OracleBatch(
        base_offset=7,
        partition_leader_epoch=3,
        attributes=is_transactional * 16 | is_control * 32 | (horizon is not None) * 64,
        last_offset_delta=records[-1].offset - 7,
        base_timestamp=base_timestamp,
        max_timestamp=max(record.timestamp for record in records),
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        base_sequence=base_sequence,
        count=len(records),
        payload=oracle.write_records(7, base_timestamp, records),
    ).with_right_crc()
    built = builder.build()
    assert bytes(built) == expected.to_bytes()
    assert [as_tuple(record) for record in RecordBatch(built).records()] == [as_tuple(record) for record in records]


@given(st.lists(oracle_batches(), max_size=4), st.data())
@MANY
def test_batches_in_a_buffer_are_found_alike(batches: list[oracle.OracleBatch], data: st.DataObject) -> None:
    buffer = b"".join(batch.to_bytes() for batch in batches)
    cut = data.draw(st.integers(0, len(buffer)))
    found = [(batch.position, batch.base_offset) for batch in iter_batches(buffer, 0, cut, allow_partial_tail=True)]
    assert found == [(position, batch.base_offset) for position, batch in oracle.scan(buffer[:cut])[0]]


@given(st.lists(damaged_batches(), max_size=4), st.integers(61, 400))
@WITH_FILES
def test_files_are_scanned_alike(tmp_path: Path, pieces: list[bytes], chunk_size: int) -> None:
    data = b"".join(pieces)
    path = tmp_path / "scanned.log"
    path.write_bytes(data)
    expected, stopped_by = oracle.scan(data)

    scan = FileRecords(path, writable=False).scan(chunk_size=chunk_size)
    found = []
    reason = answer(lambda: found.extend((batch.file_position, batch.to_bytes()) for batch in scan))
    assert found == [(position, batch.to_bytes()) for position, batch in expected]
    assert scan.valid_bytes == sum(batch.size_in_bytes for _, batch in expected)
    if stopped_by == "format":
        assert reason == ("refused", "format")
    else:
        assert reason is None
        assert (scan.error is not None) == (stopped_by is not None)

    checked = FileRecords(path, writable=False).check(chunk_size=chunk_size)
    positions: list[int] = []
    assert answer(lambda: positions.extend(header.position for header in checked)) == reason
    assert positions == [position for position, _ in expected]
    assert (checked.valid_bytes, checked.error is None) == (scan.valid_bytes, scan.error is None)


@given(st.lists(st.tuples(record_lists().filter(bool), st.integers(0, 4))), st.data())
@WITH_FILES
def test_searches_find_what_reading_everything_finds(
    tmp_path: Path, pieces: list[tuple[list[oracle.OracleRecord], int]], data: st.DataObject
) -> None:
    path = tmp_path / "searched.log"
    path.unlink(missing_ok=True)
    log = FileRecords(path, writable=True, create=True)
    offset = 0
    for records, gap in pieces:
        offset += gap
        builder = BatchBuilder(base_offset=offset, partition_leader_epoch=gap - 1)
        for record in records:
            builder.append(record.timestamp, record.key, record.value)
        offset = builder.next_offset
        log.append(builder.build())
    batches = oracle.scan(path.read_bytes())[0]
    start = data.draw(st.sampled_from([0, *(position for position, _ in batches)]))
    later = [(position, batch) for position, batch in batches if position >= start]

    target = data.draw(st.integers(-1, offset + 1))
    assert log.search_for_offset(target, start) == next(
        (
            (batch.base_offset, batch.last_offset, position, batch.size_in_bytes)
            for position, batch in later
            if batch.last_offset >= target
        ),
        None,
    )
    timestamp = data.draw(st.one_of(st.integers(-1, 310), int_of(64)))
    start_offset = data.draw(st.integers(0, offset + 1))
    assert log.search_for_timestamp(timestamp, start, start_offset) == next(
        (
            (
                record.timestamp,
                record.offset,
                batch.partition_leader_epoch if batch.partition_leader_epoch >= 0 else None,
            )
            for _, batch in later
            for record in oracle.records(batch, batch.payload)
            if record.timestamp >= timestamp and record.offset >= start_offset
        ),
        None,
    )
    largest = max((batch.max_timestamp for _, batch in later), default=-1)
    assert log.largest_timestamp(start) == (
        (-1, -1)
        if largest < 0
        else next((largest, batch.last_offset) for _, batch in later if batch.max_timestamp == largest)
    )
    assert [(header.position, header.base_offset) for header in log.batch_headers(start)] == [
        (position, batch.base_offset) for position, batch in later
    ]
