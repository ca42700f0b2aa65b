"""RecordBatch: what a view promises, and what it refuses."""

import gc
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from kstore._native.batch import (
    COMPRESSION_NAMES,
    GZIP,
    HEADER_SIZE,
    LOG_APPEND_TIME,
    LZ4,
    NONE,
    SNAPPY,
    ZSTD,
    RecordBatch,
    iter_batches,
)
from kstore._native.builder import BatchBuilder, control_batch, empty_batch
from kstore._native.compression import PIECE_SIZE, compress
from kstore._native.record import COMMIT_MARKER, Record
from kstore.errors import (
    CorruptRecordError,
    InvalidRecordError,
    UnsupportedCompressionTypeError,
    UnsupportedForMessageFormatError,
)
from tests._native.batches import make_batch
from tests.oracle.record_batch import OracleBatch, crc32c, read_batch, varint, write_record

NO_LIMIT = 1 << 30
CODECS = pytest.mark.parametrize("codec", [NONE, GZIP, SNAPPY, LZ4, ZSTD], ids=COMPRESSION_NAMES)


def test_oracle_knows_the_published_checksum() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32C (Castagnoli)


@pytest.mark.parametrize("size", [0, 11, 16, 17, 60, 72])
def test_bytes_too_few_for_the_batch_are_refused(size: int) -> None:
    with pytest.raises(CorruptRecordError) as refusal:
        RecordBatch(make_batch()[:size])
    assert refusal.value.position == 0


@pytest.mark.parametrize("length", [-(2**31), -1, 0, 13, 48, 2**31 - 1])
def test_lengths_that_lie_are_refused(length: int) -> None:
    data = make_batch()
    data[8:12] = length.to_bytes(4, "big", signed=True)
    with pytest.raises(CorruptRecordError):
        RecordBatch(data)


@pytest.mark.parametrize("magic", [0, 1])
def test_old_formats_are_refused_with_their_position(magic: int) -> None:
    data = bytearray(7) + make_batch()
    data[7 + 16] = magic
    with pytest.raises(UnsupportedForMessageFormatError) as refusal:
        RecordBatch(data, 7)
    assert refusal.value.position == 7


@pytest.mark.parametrize("magic", [3, 127, 255])
def test_formats_of_the_future_are_corrupt(magic: int) -> None:
    data = make_batch()
    data[16] = magic
    with pytest.raises(CorruptRecordError, match="magic"):
        RecordBatch(data)


@pytest.mark.parametrize(("position", "limit"), [(-1, -1), (0, 10_000), (80, 70), (10_000, -1)])
def test_ranges_outside_the_buffer_are_the_callers_mistake(position: int, limit: int) -> None:
    with pytest.raises(ValueError, match="not within"):
        RecordBatch(make_batch(), position, limit)
    with pytest.raises(ValueError, match="not within"):
        iter_batches(make_batch(), position, limit)


def test_limit_hides_the_bytes_behind_it() -> None:
    data = make_batch()
    assert RecordBatch(data + b"more", 0, len(data)).size_in_bytes == len(data)
    with pytest.raises(CorruptRecordError):
        RecordBatch(data, 0, len(data) - 1)


def test_a_view_that_was_never_bound_is_empty_and_harmless() -> None:
    batch = RecordBatch.__new__(RecordBatch)
    assert batch.base_offset == batch.count == batch.size_in_bytes == 0
    assert bytes(batch.memoryview()) == batch.to_bytes() == b""
    with pytest.raises(TypeError):
        batch.stamp(1, 1)


def test_a_view_is_bound_once() -> None:
    batch = RecordBatch(make_batch())
    with pytest.raises(TypeError):
        batch.__init__(make_batch())  # type: ignore[misc]


def test_buffer_cannot_move_while_a_view_lives() -> None:
    data = make_batch()
    batch = RecordBatch(data)
    with pytest.raises(BufferError):
        data.clear()
    del batch
    data.clear()


def test_views_and_iterators_keep_the_buffer_alive() -> None:
    batch = RecordBatch(bytes(make_batch(base_offset=5)))
    records = batch.records()
    del batch
    gc.collect()
    assert [record.key for record in records] == [b"k0", b"k1", b"k2"]


def test_stamping_writes_through_to_the_buffer() -> None:
    data = make_batch()
    RecordBatch(memoryview(data)).stamp(1 << 40, 9)
    assert read_batch(bytes(data)).base_offset == 1 << 40
    assert read_batch(bytes(data)).partition_leader_epoch == 9


def test_read_only_buffers_are_not_written_to() -> None:
    batch = RecordBatch(bytes(make_batch()))
    with pytest.raises(TypeError, match="read-only"):
        batch.stamp(1, 1)
    with pytest.raises(TypeError, match="read-only"):
        batch.set_timestamps(LOG_APPEND_TIME, 1)
    batch.set_timestamps(0, batch.max_timestamp)  # nothing to write


def test_a_wrong_checksum_is_reported_with_offset_and_position() -> None:
    data = bytearray(3) + make_batch(base_offset=77)
    data[-1] ^= 1
    batch = RecordBatch(data, 3)
    assert not batch.is_crc_valid()
    with pytest.raises(CorruptRecordError) as refusal:
        batch.ensure_valid()
    assert (refusal.value.offset, refusal.value.position) == (77, 3)


@CODECS
def test_records_come_back_from_each_codec(codec: int) -> None:
    batch = RecordBatch(make_batch(500, compression=codec, base_offset=1000))
    batch.ensure_valid()
    summary = batch.check_records(NO_LIMIT)
    assert (summary.count, summary.min_timestamp, summary.max_timestamp) == (500, 1000, 1499)
    assert summary.offset_of_max_timestamp == 1499
    records = list(batch.records())
    assert [record.offset for record in records] == list(range(1000, 1500))
    assert records[499] == Record(1499, 1499, b"k499", bytes([499 % 256]) * 10)


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4, ZSTD])
def test_decompression_is_bounded(codec: int) -> None:
    batch = RecordBatch(make_batch(10, size=100_000, compression=codec))
    size = batch.check_records(NO_LIMIT).size_in_bytes
    assert batch.check_records(size).count == 10
    with pytest.raises(CorruptRecordError, match="more than") as refusal:
        batch.check_records(size - 1)
    assert refusal.value.position == 0
    with pytest.raises(CorruptRecordError, match="more than"):
        list(batch.records(size - 1))


@pytest.mark.parametrize("codec", [5, 6, 7])
def test_codecs_that_do_not_exist_are_refused(codec: int) -> None:
    batch = RecordBatch(replace(OracleBatch(attributes=codec, count=1), payload=b"x").to_bytes())
    with pytest.raises(UnsupportedCompressionTypeError):
        batch.check_records(NO_LIMIT)
    with pytest.raises(UnsupportedCompressionTypeError):
        next(batch.records())


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4, ZSTD])
def test_what_no_codec_wrote_is_refused(codec: int) -> None:
    batch = RecordBatch(OracleBatch(attributes=codec, count=1, payload=b"no such thing").to_bytes())
    with pytest.raises(CorruptRecordError):
        batch.check_records(NO_LIMIT)


def test_a_count_bomb_is_refused() -> None:
    data = OracleBatch(last_offset_delta=2**31 - 2, count=2**31 - 1, payload=write_record(0, 0, None, None))
    with pytest.raises(InvalidRecordError) as refusal:
        RecordBatch(data.to_bytes()).check_records(NO_LIMIT)
    assert refusal.value.record_index == 1


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4, ZSTD])
@pytest.mark.parametrize("sizes", [[40_000_000], [100] * 200_000], ids=["one large record", "many small ones"])
def test_checking_a_bomb_takes_the_memory_of_a_piece(codec: int, sizes: list[int]) -> None:
    builder = BatchBuilder(compression=codec)
    value = bytes(max(sizes))
    for size in sizes:
        builder.append(0, None, value[:size] if size < len(value) else value)
    batch = RecordBatch(builder.build())
    batch.check_records(NO_LIMIT)  # loads the codec
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        summary = batch.check_records(NO_LIMIT)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert summary.size_in_bytes > 20_000_000
    assert peak - before < 1 << 20


NARROW = ["length", "offset delta", "key size", "value size", "header count"]


@pytest.mark.parametrize("field", [*NARROW, "timestamp delta"])
@pytest.mark.parametrize("codec", [NONE, GZIP])
@pytest.mark.parametrize("piece_size", [1, PIECE_SIZE])
def test_numbers_end_after_five_bytes_and_long_ones_after_ten(
    field: str, codec: int, piece_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kstore._native.compression.PIECE_SIZE", piece_size)
    longest = 10 if field == "timestamp delta" else 5

    def batch_with(padding: int) -> RecordBatch:
        padded = {field: padding}
        body = (
            b"\0"
            + varint(0, 64, padded.get("timestamp delta", 0))
            + b"".join(varint(0, 32, padded.get(name, 0)) for name in NARROW[1:])
        )
        record = varint(len(body), 32, padded.get("length", 0)) + body
        return RecordBatch(OracleBatch(attributes=codec, count=1, payload=compress(codec, record)).to_bytes())

    good = batch_with(longest - 1)
    assert good.check_records(NO_LIMIT).count == 1
    assert [record.value for record in good.records()] == [b""]
    bad = batch_with(longest)
    with pytest.raises(InvalidRecordError):
        bad.check_records(NO_LIMIT)
    with pytest.raises(InvalidRecordError):
        list(bad.records())


def test_the_bad_record_is_named() -> None:
    good = write_record(0, 0, b"k", b"v")
    batch = OracleBatch(base_offset=40, last_offset_delta=2, count=3, payload=good + write_record(0, 2, None, None) * 2)
    with pytest.raises(InvalidRecordError, match="record 1: an offset out of order") as refusal:
        RecordBatch(batch.to_bytes()).check_records(NO_LIMIT)
    assert refusal.value.record_index == 1


def test_a_header_key_that_is_no_text_is_refused_where_it_is_read() -> None:
    batch = RecordBatch(OracleBatch(count=1, payload=write_record(0, 0, None, None, [(b"\xff", b"")])).to_bytes())
    assert batch.check_records(NO_LIMIT).count == 1
    with pytest.raises(InvalidRecordError) as refusal:
        list(batch.records())
    assert refusal.value.record_index == 0


def test_an_iterator_that_has_failed_is_over() -> None:
    records = RecordBatch(OracleBatch(count=2, payload=write_record(0, 0, None, None) + b"\0").to_bytes()).records()
    next(records)
    with pytest.raises(InvalidRecordError):
        next(records)
    assert list(records) == []


def test_a_count_that_lies_costs_no_memory() -> None:
    batch = RecordBatch(OracleBatch(count=2**31 - 1, payload=write_record(0, 0, None, None) * 3).to_bytes())
    assert batch.records().__length_hint__() == 3
    with pytest.raises(InvalidRecordError):
        list(batch.records())


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4, ZSTD])
@pytest.mark.parametrize("sizes", [[3_000_000, 5, 900_000], [100] * 20_000, [0, 70_000] * 20])
def test_records_larger_than_a_piece_are_put_together(codec: int, sizes: list[int]) -> None:
    builder = BatchBuilder(compression=codec)
    for i, size in enumerate(sizes):
        builder.append(i, None, bytes([i % 251]) * size, [("h", b"x" * (size // 2))])
    found = RecordBatch(builder.build()).records()
    for i, record in enumerate(found):
        assert record.value == bytes([i % 251]) * sizes[i]
        assert record.headers == (("h", b"x" * (sizes[i] // 2)),)
    assert i + 1 == len(sizes)


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4, ZSTD])
def test_compressed_bytes_behind_the_last_record_are_refused(codec: int) -> None:
    payload = compress(codec, write_record(0, 0, None, bytes(PIECE_SIZE)) + b"x")
    batch = RecordBatch(OracleBatch(attributes=codec, count=1, payload=payload).to_bytes())
    with pytest.raises(InvalidRecordError, match="more bytes"):
        batch.check_records(NO_LIMIT)
    records = batch.records()
    next(records)
    with pytest.raises(InvalidRecordError, match="more bytes"):
        next(records)


def test_log_append_time_is_every_records_timestamp() -> None:
    data = make_batch()
    batch = RecordBatch(data)
    batch.set_timestamps(LOG_APPEND_TIME, 5000)
    batch.ensure_valid()
    assert {record.timestamp for record in batch.records()} == {5000}
    summary = batch.check_records(NO_LIMIT)
    assert (summary.min_timestamp, summary.max_timestamp, summary.offset_of_max_timestamp) == (5000, 5000, 2)


def test_null_keys_are_noticed() -> None:
    builder = BatchBuilder()
    builder.append(0, b"k", None)
    builder.append(0, None, b"v")
    assert RecordBatch(builder.build()).check_records(NO_LIMIT).has_null_key
    assert not RecordBatch(make_batch()).check_records(NO_LIMIT).has_null_key


def test_sequences_wrap_to_zero() -> None:
    batch = RecordBatch(make_batch(3, producer_id=1, producer_epoch=0, base_sequence=2**31 - 2))
    assert batch.last_sequence == 0
    assert RecordBatch(make_batch(3)).last_sequence == -1


def test_an_empty_batch_is_legal_where_compaction_may_have_been() -> None:
    batch = RecordBatch(empty_batch(base_offset=10, last_offset=14, producer_id=3, producer_epoch=1, base_sequence=7))
    batch.ensure_valid()
    assert (batch.count, batch.last_offset, batch.last_sequence) == (0, 14, 11)
    assert batch.check_records(NO_LIMIT, consecutive=False).count == 0
    assert list(batch.records()) == []
    with pytest.raises(InvalidRecordError):
        batch.check_records(NO_LIMIT)


def test_markers_tell_type_and_coordinator_epoch() -> None:
    marker = control_batch(COMMIT_MARKER, timestamp=1, producer_id=9, producer_epoch=2, coordinator_epoch=33)
    batch = RecordBatch(marker)
    assert batch.is_control
    assert batch.is_transactional
    assert batch.control_record() == (COMMIT_MARKER, 33)
    with pytest.raises(ValueError, match="not a control batch"):
        RecordBatch(make_batch()).control_record()


@pytest.mark.parametrize(
    ("key", "value"), [(None, b""), (b"\0\0\0", b""), (b"\0\0\0\1", None), (b"\0\0\0\1", b"\0" * 5)]
)
def test_markers_that_are_cut_are_refused(key: bytes | None, value: bytes | None) -> None:
    builder = BatchBuilder(is_control=True)
    builder.append(0, key, value)
    with pytest.raises(InvalidRecordError):
        RecordBatch(builder.build()).control_record()


def test_control_records_of_other_kinds_have_no_epoch() -> None:
    builder = BatchBuilder(is_control=True)
    builder.append(0, b"\0\0\0\2", b"leader change")
    assert RecordBatch(builder.build()).control_record() == (2, -1)


def test_iteration_says_where_a_batch_is_cut() -> None:
    data = make_batch() + make_batch(base_offset=3)
    assert [batch.base_offset for batch in iter_batches(data)] == [0, 3]
    batches = iter_batches(data, 0, len(data) - 1)
    next(batches)
    with pytest.raises(CorruptRecordError) as refusal:
        next(batches)
    assert refusal.value.position == len(data) // 2
    cut = iter_batches(data, 0, len(data) - 1, allow_partial_tail=True)
    assert [batch.base_offset for batch in cut] == [0]


def test_damage_is_no_partial_tail() -> None:
    data = make_batch() + bytes(HEADER_SIZE)
    with pytest.raises(CorruptRecordError):
        list(iter_batches(data, allow_partial_tail=True))


def test_batches_are_checked_by_several_threads_at_once() -> None:
    batches = [RecordBatch(make_batch(5000, compression=codec)) for codec in (NONE, GZIP, LZ4, ZSTD)] * 4

    def check(batch: RecordBatch) -> int:
        batch.ensure_valid()
        return batch.check_records(NO_LIMIT).count

    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(check, batches)) == {5000}


def test_records_are_values() -> None:
    record = Record(1, 2, b"k", None, (("h", b"1"),))
    assert record == Record(1, 2, b"k", None, [("h", b"1")])
    assert hash(record) == hash(Record(1, 2, b"k", None, (("h", b"1"),)))
    assert record != Record(1, 2, b"k", b"", (("h", b"1"),))
    assert record != "record"
    assert "offset=1" in repr(record)


def test_a_batch_is_its_bytes_to_whoever_takes_a_buffer() -> None:
    data = b"before" + bytes(make_batch()) + b"behind"
    batch = RecordBatch(data, 6)
    view = memoryview(batch)
    assert (view.readonly, view.nbytes) == (True, len(batch))
    assert bytes(view) == bytes(batch) == batch.to_bytes()
    del batch, data
    gc.collect()
    assert RecordBatch(view).is_crc_valid()  # the view keeps the bytes alive


def test_a_record_tells_its_timestamp_under_both_names() -> None:
    assert Record(0, 17, None, None).timestamp_ms == Record(0, 17, None, None).timestamp == 17
