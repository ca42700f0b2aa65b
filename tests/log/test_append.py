"""What a batch must be, and what it becomes. The cases are those of Kafka's LogValidatorTest."""

import pytest

from kstore._native.batch import RecordBatch
from kstore._native.builder import BatchBuilder
from kstore.errors import (
    CorruptRecordError,
    InvalidRecordError,
    InvalidTimestampError,
    MessageTooLargeError,
)
from kstore.log.append import CLIENT, COORDINATOR, MAX_RECORD_ERRORS, AppendRules, single_batch, validate
from kstore.log.config import LogConfig
from tests.log.build import NOW, TP, batch, marker

NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


def accept(
    records: bytearray,
    *,
    base_offset: int = 1234,
    leader_epoch: int = 5,
    now_ms: int = NOW,
    origin: str = CLIENT,
    **config: object,
) -> RecordBatch:
    rules = AppendRules(TP, LogConfig(**config))  # type: ignore[arg-type]
    found = validate(
        single_batch(records, 0, len(records)),
        rules,
        base_offset=base_offset,
        leader_epoch=leader_epoch,
        now_ms=now_ms,
        origin=origin,
    )
    found.ensure_valid()
    return found


def timestamps(*values: int, compression: int = NONE, timestamp_type: int = 0, key: bytes | None = b"k") -> bytearray:
    builder = BatchBuilder(compression=compression, timestamp_type=timestamp_type, log_append_time=values[-1])
    for value in values:
        builder.append(value, key, b"v")
    return builder.build()


def patch(records: bytearray, at: int, value: int, size: int) -> bytearray:
    """Changes a header field and makes the CRC right again."""
    from crc32c import crc32c

    records[at : at + size] = value.to_bytes(size, "big", signed=True)
    records[17:21] = crc32c(memoryview(records)[21:]).to_bytes(4, "big")
    return records


LAST_OFFSET_DELTA, MAX_TIMESTAMP, BASE_SEQUENCE, COUNT = 23, 35, 53, 57


# --- one batch ---


def test_second_batch_is_refused_and_a_torn_one_left_out() -> None:
    records = batch() + batch()
    with pytest.raises(InvalidRecordError):
        single_batch(records, 0, len(records))
    torn = batch() + batch()[:-3]
    assert single_batch(torn, 0, len(torn)).size_in_bytes == len(batch())
    assert single_batch(batch() + b"\0\0", 0, len(batch()) + 2).count == 1


def test_nothing_and_half_a_batch_are_refused() -> None:
    with pytest.raises(InvalidRecordError):
        single_batch(bytearray(), 0, 0)
    with pytest.raises(InvalidRecordError):
        single_batch(batch(), 0, -1)
    for size in range(len(batch())):
        with pytest.raises(InvalidRecordError):
            single_batch(batch()[:size], 0, size)


def test_batch_with_an_impossible_length_is_corrupt() -> None:
    records = batch()
    records[8:12] = (13).to_bytes(4, "big")
    with pytest.raises(CorruptRecordError):
        single_batch(records, 0, len(records))


def test_batch_is_found_inside_a_larger_buffer() -> None:
    records = bytearray(b"xyz") + batch(3) + b"tail of the request"
    assert single_batch(records, 3, len(batch(3))).count == 3


def test_old_message_format_is_refused() -> None:
    records = batch()
    records[16] = 1
    with pytest.raises(InvalidRecordError):
        single_batch(records, 0, len(records))


# --- numbering ---


@pytest.mark.parametrize("codec", range(5))
def test_offsets_and_epoch_are_stamped_and_the_rest_of_the_bytes_kept(codec: int) -> None:
    records = batch(3, compression=codec, value=b"v" * 50)
    before = bytes(records)
    found = accept(records)
    assert found.buffer is records
    assert (found.base_offset, found.last_offset, found.partition_leader_epoch) == (1234, 1236, 5)
    assert [record.offset for record in found.records()] == [1234, 1235, 1236]
    assert records[8:12] == before[8:12]
    assert records[16:] == before[16:]


def test_base_offset_of_a_client_must_be_zero() -> None:
    with pytest.raises(InvalidRecordError, match="begins at offset 0, this one at 1"):
        accept(batch(base_offset=1))
    assert accept(batch(base_offset=1), origin=COORDINATOR).base_offset == 1234


@pytest.mark.parametrize(
    ("field", "size", "value"),
    [
        (LAST_OFFSET_DELTA, 4, 1),
        (LAST_OFFSET_DELTA, 4, 3),
        (LAST_OFFSET_DELTA, 4, -1),
        (COUNT, 4, 0),
        (COUNT, 4, -1),
        (COUNT, 4, 2),
        (COUNT, 4, 4),
        (COUNT, 4, 2**31 - 1),
    ],
)
@pytest.mark.parametrize("codec", [NONE, GZIP])
def test_counts_and_offsets_that_lie_are_refused(field: int, size: int, value: int, codec: int) -> None:
    with pytest.raises(InvalidRecordError):
        accept(patch(batch(3, compression=codec), field, value, size))


@pytest.mark.parametrize("codec", [NONE, ZSTD])
def test_count_that_fits_its_offsets_but_not_the_records_is_refused(codec: int) -> None:
    records = patch(batch(3, compression=codec), COUNT, 4, 4)
    with pytest.raises(InvalidRecordError):
        accept(patch(records, LAST_OFFSET_DELTA, 3, 4))


@pytest.mark.parametrize("codec", [NONE, GZIP])
def test_offsets_inside_must_be_consecutive(codec: int) -> None:
    builder = BatchBuilder(compression=codec)
    for offset in (0, 2, 3):
        builder.append_with_offset(offset, NOW, b"k", b"v")
    with pytest.raises(InvalidRecordError):
        accept(builder.build())


@pytest.mark.parametrize("codec", range(5))
def test_batch_without_records_is_refused(codec: int) -> None:
    records = patch(patch(batch(1, compression=codec), COUNT, 0, 4), LAST_OFFSET_DELTA, -1, 4)
    with pytest.raises(InvalidRecordError):
        accept(records)


def test_control_batch_is_refused_from_clients_and_kept_uncompressed_from_the_coordinator() -> None:
    with pytest.raises(InvalidRecordError, match="control"):
        accept(marker(1))
    found = accept(marker(1), origin=COORDINATOR, compression_type="snappy")
    assert (found.is_control, found.compression) == (True, NONE)


def test_producer_id_without_a_sequence_is_refused() -> None:
    with pytest.raises(InvalidRecordError, match="sequence"):
        accept(batch(producer_id=3, producer_epoch=0, base_sequence=-1))


# --- damage and size ---


@pytest.mark.parametrize("codec", range(5))
def test_wrong_checksum_is_refused(codec: int) -> None:
    records = batch(3, compression=codec)
    records[-1] ^= 1
    with pytest.raises(CorruptRecordError):
        accept(records)


def test_bytes_outside_the_checksum_do_not_matter_to_it() -> None:
    records = batch()
    records[12:16] = b"\x12\x34\x56\x78"  # the leader epoch that a client may have left there
    assert accept(records).partition_leader_epoch == 5


def test_batch_above_max_message_bytes_is_refused() -> None:
    records = batch()
    with pytest.raises(MessageTooLargeError):
        accept(records, max_message_bytes=len(records) - 1)
    accept(records, max_message_bytes=len(records))


def test_batch_that_grows_beyond_the_limit_by_recompression_is_refused() -> None:
    records = batch(100, value=b"a" * 100, compression=GZIP)
    with pytest.raises(MessageTooLargeError):
        accept(records, max_message_bytes=len(records), compression_type="uncompressed")


def test_decompression_bomb_is_refused() -> None:
    rules = AppendRules(TP, LogConfig(max_message_bytes=1000))
    rules.max_decompressed_bytes = 10_000
    records = batch(1, value=bytes(100_000), compression=ZSTD)
    with pytest.raises(CorruptRecordError):
        validate(
            single_batch(records, 0, len(records)), rules, base_offset=0, leader_epoch=0, now_ms=NOW, origin=CLIENT
        )


# --- timestamps ---


@pytest.mark.parametrize("codec", [NONE, LZ4])
def test_create_time_is_kept_and_a_wrong_header_corrected(codec: int) -> None:
    records = patch(timestamps(NOW, NOW + 5, NOW + 2, compression=codec), MAX_TIMESTAMP, NOW + 99, 8)
    found = accept(records)
    assert (found.max_timestamp, found.timestamp_type) == (NOW + 5, 0)
    assert [record.timestamp for record in found.records()] == [NOW, NOW + 5, NOW + 2]


@pytest.mark.parametrize("codec", [NONE, LZ4])
def test_log_append_time_sets_type_and_max_and_leaves_the_deltas(codec: int) -> None:
    records = timestamps(0, 7, compression=codec)
    before = bytes(records)
    found = accept(records, message_timestamp_type="LogAppendTime")
    assert (found.max_timestamp, found.timestamp_type) == (NOW, 1)
    assert {record.timestamp for record in found.records()} == {NOW}
    assert records[61:] == before[61:]
    assert found.base_timestamp == 0


def test_log_append_time_with_recompression() -> None:
    found = accept(timestamps(0, 7), message_timestamp_type="LogAppendTime", compression_type="gzip")
    assert (found.max_timestamp, found.timestamp_type, found.compression) == (NOW, 1, GZIP)


def test_clients_log_append_time_flag() -> None:
    with pytest.raises(InvalidTimestampError):
        accept(timestamps(NOW, timestamp_type=1), message_timestamp_type="LogAppendTime")
    with pytest.raises(InvalidTimestampError):
        accept(timestamps(-1, timestamp_type=1))
    found = accept(timestamps(NOW, timestamp_type=1))
    assert (found.timestamp_type, found.max_timestamp) == (0, NOW)


@pytest.mark.parametrize("codec", [NONE, SNAPPY])
def test_timestamps_out_of_range_are_named_by_record(codec: int) -> None:
    records = timestamps(NOW, NOW + 1001, NOW - 2001, NOW + 1000, compression=codec)
    with pytest.raises(InvalidTimestampError) as caught:
        accept(records, message_timestamp_after_max_ms=1000, message_timestamp_before_max_ms=2000)
    assert [index for index, _ in caught.value.record_errors] == [1, 2]
    assert str(NOW + 1001) in caught.value.record_errors[0][1]


def test_range_of_timestamps_is_inclusive() -> None:
    limits = {"message_timestamp_after_max_ms": 1000, "message_timestamp_before_max_ms": 2000}
    accept(timestamps(NOW - 2000, NOW + 1000), **limits)
    with pytest.raises(InvalidTimestampError):
        accept(timestamps(NOW - 2001), **limits)
    with pytest.raises(InvalidTimestampError):
        accept(timestamps(NOW + 1001), **limits)


def test_deprecated_difference_counts_where_the_new_limits_are_left_alone() -> None:
    with pytest.raises(InvalidTimestampError):
        accept(timestamps(NOW - 5000), message_timestamp_difference_max_ms=1000)
    accept(timestamps(NOW - 5000), message_timestamp_difference_max_ms=1000, message_timestamp_before_max_ms=9000)


def test_record_without_a_timestamp_is_in_range() -> None:
    found = accept(timestamps(-1), message_timestamp_before_max_ms=1000)
    assert found.max_timestamp == -1


# --- keys ---


@pytest.mark.parametrize("codec", [NONE, GZIP])
def test_compacted_topic_names_the_records_without_a_key(codec: int) -> None:
    builder = BatchBuilder(compression=codec)
    for key in (b"a", None, b"b", None):
        builder.append(NOW, key, b"v")
    records = builder.build()
    with pytest.raises(InvalidRecordError) as caught:
        accept(bytearray(records), cleanup_policy=("compact",))
    assert [index for index, _ in caught.value.record_errors] == [1, 3]
    accept(records)


def test_of_very_many_bad_records_the_first_thousand_are_told() -> None:
    bad = timestamps(*[NOW] * 100_000, compression=ZSTD, key=None)
    with pytest.raises(InvalidRecordError) as caught:
        accept(bad, cleanup_policy=("compact",))
    assert [index for index, _ in caught.value.record_errors] == list(range(MAX_RECORD_ERRORS))


def test_bad_keys_and_bad_timestamps_together_are_invalid_timestamp() -> None:
    builder = BatchBuilder()
    builder.append(NOW - 5000, b"k", b"v")
    builder.append(NOW, None, b"v")
    with pytest.raises(InvalidTimestampError) as caught:
        accept(builder.build(), cleanup_policy=("compact", "delete"), message_timestamp_before_max_ms=1000)
    assert [index for index, _ in caught.value.record_errors] == [0, 1]


# --- compression.type ---


@pytest.mark.parametrize("source", range(5))
@pytest.mark.parametrize("target", range(5))
def test_topics_codec_wins_and_the_same_codec_costs_nothing(source: int, target: int) -> None:
    builder = BatchBuilder(compression=source, producer_id=9, producer_epoch=2, base_sequence=40)
    for index in range(3):
        builder.append(NOW + index, b"k%d" % index, b"v" * 40, (("header", b"h"),))
    records = builder.build()
    before = bytes(records)
    found = accept(records, compression_type="uncompressed" if target == NONE else CODECS[target])
    if source == target:
        assert found.buffer is records
        assert records[61:] == before[61:]
    else:
        assert found.buffer is not records
    assert found.compression == target
    assert (found.base_offset, found.last_offset, found.partition_leader_epoch) == (1234, 1236, 5)
    assert (found.producer_id, found.producer_epoch, found.base_sequence, found.max_timestamp) == (9, 2, 40, NOW + 2)
    kept = [(record.offset, record.timestamp, record.key, record.headers) for record in found.records()]
    assert kept == [(1234 + i, NOW + i, b"k%d" % i, (("header", b"h"),)) for i in range(3)]


def test_different_level_does_not_cause_recompression() -> None:
    records = batch(20, compression=GZIP, value=b"abc" * 30)
    assert accept(records, compression_type="gzip", compression_gzip_level=1).buffer is records


@pytest.mark.parametrize(("codec", "levels"), [("gzip", (1, 9)), ("lz4", (1, 17)), ("zstd", (1, 19))])
def test_topics_level_is_used(codec: str, levels: tuple[int, int]) -> None:
    key = f"compression_{codec}_level"
    value = b"".join(b"%d-%d " % (n % 97, n * n % 1013) for n in range(3000))
    sizes = [accept(batch(3, value=value), compression_type=codec, **{key: level}).size_in_bytes for level in levels]
    assert sizes[1] < sizes[0]
