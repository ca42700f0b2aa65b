"""The inner loops of compaction equal their slow oracle, whatever comes in."""

import contextlib
import os
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kstore._native.batch import RecordBatch, iter_batches
from kstore._native.builder import BatchBuilder, control_batch
from kstore._native.compaction import END, FULL, OTHER, Compactor, OffsetMap, check_chunk, siphash128
from kstore.errors import CorruptRecordError, InvalidRecordError, UnsupportedForMessageFormatError
from tests._native.batches import damaged_batches, make_batch
from tests.oracle import compaction as oracle
from tests.oracle.record_batch import OracleBatch, OracleRecord, read_batch, write_records

EXAMPLES = int(os.environ.get("KSTORE_EXAMPLES", "400"))
MANY = settings(max_examples=EXAMPLES, deadline=None)
NOW = 1_000_000
RETENTION = 500
MAX_BYTES = 1 << 20


# --- the map ---


def test_siphash_is_that_of_its_authors() -> None:
    # The first vectors of their reference implementation (vectors_sip128).
    key = bytes(range(16))
    assert siphash128(key, b"").hex() == "a3817f04ba25a8e66df67214c7550293"
    assert siphash128(key, b"\0").hex() == "da87c1d86b99af44347659119b22fc45"


@given(st.binary(min_size=16, max_size=16), st.binary(max_size=70))
@MANY
def test_siphash_equals_the_oracle(key: bytes, data: bytes) -> None:
    assert siphash128(key, data) == oracle.siphash128(key, data)


@given(st.lists(st.tuples(st.binary(max_size=3), st.integers(0, 2**62)), max_size=60), st.integers(2, 40))
@MANY
def test_map_is_a_dictionary_with_a_limit(puts: list[tuple[bytes, int]], slots: int) -> None:
    found = OffsetMap(slots, load_factor=0.9)
    assert found.limit < found.slots == slots
    expected: dict[bytes, int] = {}
    latest = -1
    for key, offset in puts:
        fits = len(expected) < found.limit
        assert found.put(key, offset) == fits
        if fits:
            expected[key] = offset
            latest = offset
    assert (len(found), found.latest_offset) == (len(expected), latest)
    for key, _ in puts:
        assert found.get(key) == expected.get(key, -1)
    assert found.get(b"never put") == -1


def test_map_finds_all_of_a_hundred_thousand_keys() -> None:
    found = OffsetMap(112_000)
    for number in range(100_000):
        assert found.put(b"key-%d" % number, number)
    assert all(found.get(b"key-%d" % number) == number for number in range(100_000))
    assert found.get(b"key-100000") == -1


@pytest.mark.parametrize("slots", [-1, 0, 1])
def test_map_without_room_is_refused(slots: int) -> None:
    with pytest.raises(ValueError, match="two slots"):
        OffsetMap(slots)


def test_map_for_which_there_is_no_memory_is_refused() -> None:
    with pytest.raises(MemoryError):
        OffsetMap(1 << 58)


def test_indexing_takes_keys_from_the_start_offset_on() -> None:
    data = make_batch(3, base_offset=10) + make_batch(2, base_offset=13)
    found = OffsetMap(100)
    assert found.index_chunk(data, 0, 11) == (len(data), END)
    assert [found.get(b"k%d" % n) for n in range(4)] == [13, 14, 12, -1]
    assert found.latest_offset == 14


def test_indexing_stops_when_the_map_is_full_and_knows_what_it_has() -> None:
    data = make_batch(3, base_offset=0) + make_batch(5, base_offset=3)
    found = OffsetMap(5, load_factor=0.9)
    assert found.limit == 4
    position, status = found.index_chunk(data, 0, 0)
    assert (position, status) == (len(make_batch(3)), FULL)
    # The keys 0 to 2 twice and 3: all but the last record's.
    assert found.latest_offset == 6
    assert [found.get(b"k%d" % n) for n in range(5)] == [3, 4, 5, 6, -1]
    assert not found.index_batch(RecordBatch(data, position), 0, MAX_BYTES)


@pytest.mark.parametrize("codec", [1, 2, 3, 4])
def test_indexing_reads_compressed_batches_when_asked(codec: int) -> None:
    data = make_batch(2) + make_batch(3, base_offset=2, compression=codec)
    found = OffsetMap(100)
    position, status = found.index_chunk(data, 0, 0)
    assert (position, status) == (len(make_batch(2)), OTHER)
    assert found.index_batch(RecordBatch(data, position), 0, MAX_BYTES)
    assert [found.get(b"k%d" % n) for n in range(3)] == [2, 3, 4]
    with pytest.raises(CorruptRecordError):
        found.index_batch(RecordBatch(data, position), 0, 5)


def test_indexing_leaves_transactions_and_markers_to_the_caller() -> None:
    for data in (
        make_batch(1, is_transactional=True, producer_id=1, producer_epoch=0, base_sequence=0),
        control_batch(1, timestamp=1, producer_id=1, producer_epoch=0),
    ):
        assert OffsetMap(100).index_chunk(data, 0, 0) == (0, OTHER)
        compactor = Compactor(OffsetMap(10), now_ms=NOW, delete_retention_ms=RETENTION)
        assert compactor.compact_chunk(data, 0) == (0, OTHER)


# --- batches ---


@st.composite
def batches(draw: st.DrawFn, base_offset: int = 100) -> OracleBatch:
    kind = draw(st.sampled_from([0, oracle.LOG_APPEND_TIME, oracle.TRANSACTIONAL, oracle.CONTROL]))
    horizon = draw(st.sampled_from([None, None, NOW - 1, NOW, NOW + 1]))
    attributes = kind | (oracle.DELETE_HORIZON if horizon is not None else 0)
    offset = base_offset
    items = []
    for _ in range(draw(st.integers(0, 6))):
        offset += draw(st.integers(0, 2))
        key = draw(st.sampled_from([None, b"", b"a", b"b", b"long key" * 20]))
        value = draw(st.sampled_from([None, b"", b"v", bytes(300)]))
        headers = draw(st.sampled_from([(), (("h", b"x"), ("", None))]))
        items.append(OracleRecord(offset, NOW - draw(st.integers(0, 2000)), key, value, headers))
        offset += 1
    base_timestamp = horizon if horizon is not None else items[0].timestamp if items else -1
    return OracleBatch(
        base_offset=base_offset,
        partition_leader_epoch=draw(st.integers(0, 3)),
        attributes=attributes,
        last_offset_delta=offset - base_offset + draw(st.integers(0, 2)),
        base_timestamp=base_timestamp,
        max_timestamp=max((item.timestamp for item in items), default=NOW),
        producer_id=draw(st.integers(-1, 2)),
        producer_epoch=draw(st.integers(0, 2)),
        base_sequence=draw(st.sampled_from([-1, 0, 7, 2**31 - 2])),
        count=len(items),
        payload=write_records(base_offset, base_timestamp, items),
    ).with_right_crc()


@st.composite
def rules(draw: st.DrawFn) -> oracle.Rules:
    keys = st.sampled_from([b"", b"a", b"b", b"long key" * 20])
    offsets = draw(st.dictionaries(keys, st.integers(95, 115)))
    latest = draw(st.integers(max([99, *offsets.values()]), 120)) if offsets else draw(st.integers(-1, 120))
    last = draw(st.dictionaries(st.integers(0, 2), st.tuples(st.integers(-1, 110), st.integers(0, 2))))
    return oracle.Rules(NOW, RETENTION, latest, offsets, last)


def compactor_of(wanted: oracle.Rules, **options: int) -> Compactor:
    offset_map = OffsetMap(64)
    for key, offset in wanted.offsets.items():
        offset_map.put(key, offset)
    offset_map.latest_offset = wanted.latest_offset
    return Compactor(
        offset_map,
        now_ms=wanted.now_ms,
        delete_retention_ms=wanted.delete_retention_ms,
        last_batches=[(producer_id, *found) for producer_id, found in wanted.last.items()],
        **options,
    )


def output(compactor: Compactor) -> bytes:
    return bytes(compactor.finish()[: compactor.size])


@given(batches(), rules(), st.booleans(), st.booleans())
@MANY
def test_what_stays_of_a_batch_is_what_the_oracle_says(
    batch: OracleBatch, wanted: oracle.Rules, discard: bool, marker_is_free: bool
) -> None:
    compactor = compactor_of(wanted)
    data = RecordBatch(batch.to_bytes())
    assert compactor.compact_batch(data, discard=discard, marker_is_free=marker_is_free, max_bytes=MAX_BYTES)
    expected = oracle.compact(batch, wanted, discard=discard, marker_is_free=marker_is_free)
    assert output(compactor) == (b"" if expected is None else expected.to_bytes())
    assert compactor.records_read == batch.count
    assert compactor.records_kept == (0 if expected is None else expected.count)


@given(batches(), rules(), st.booleans(), st.sampled_from([1, 2, 3, 4]))
@MANY
def test_compressed_batches_keep_the_same_records_and_their_codec(
    batch: OracleBatch, wanted: oracle.Rules, discard: bool, codec: int
) -> None:
    from kstore._native.compression import compress, decompress

    compactor = compactor_of(wanted)
    packed = replace(batch, attributes=batch.attributes | codec, payload=compress(codec, batch.payload))
    data = packed.with_right_crc().to_bytes()
    assert compactor.compact_batch(RecordBatch(data), discard=discard, max_bytes=MAX_BYTES)
    expected = oracle.compact(batch, wanted, discard=discard)
    if expected is None:
        assert not output(compactor)
        return
    kept = RecordBatch(output(compactor))
    kept.ensure_valid()
    if expected.count == 0:
        assert output(compactor) == expected.to_bytes()
        return
    assert kept.compression == codec
    found = read_batch(output(compactor))
    payload = decompress(codec, found.payload, MAX_BYTES)
    plain = replace(found, attributes=found.attributes & ~7, payload=bytes(payload)).with_right_crc()
    assert plain == expected
    if expected == batch:
        assert output(compactor) == data  # untouched: not even compressed anew


@given(st.lists(st.integers(0, 5).flatmap(lambda n: batches(100 + 20 * n)), max_size=8), rules(), st.integers(0, 300))
@MANY
def test_a_chunk_becomes_what_its_batches_become(chunk: list[OracleBatch], wanted: oracle.Rules, torn: int) -> None:
    chunk = [replace(each, attributes=each.attributes & ~0x30).with_right_crc() for each in chunk]
    data = b"".join(each.to_bytes() for each in chunk)
    compactor = compactor_of(wanted, room=700)
    tail = make_batch(50, base_offset=300)[:torn]
    position = 0
    written = b""
    while True:
        position, status = compactor.compact_chunk(data + tail, position)
        if status == END:
            break
        assert status == FULL
        if not compactor.size:
            assert compactor.compact_batch(RecordBatch(data + tail, position), max_bytes=MAX_BYTES)
            position += RecordBatch(data + tail, position).size_in_bytes
        written += output(compactor)
        compactor.clear()
    written += output(compactor)
    kept = [oracle.compact(each, wanted) for each in chunk]
    assert position == len(data)
    assert written == b"".join(each.to_bytes() for each in kept if each is not None)
    assert compactor.records_read == sum(each.count for each in chunk)


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 50), st.integers(-3, 3)), max_size=30), st.integers(0, 400))
@MANY
def test_index_points_are_those_of_a_segment(plan: list[tuple[int, int, int]], interval: int) -> None:
    compactor = Compactor(OffsetMap(10), now_ms=NOW, delete_retention_ms=RETENTION)
    since, largest, largest_offset, position = 17, NOW - 1, 3, 1000
    offset = 10
    expected = []
    for count, size, step in plan:
        data = make_batch(count, size=size, base_offset=offset, timestamp=NOW + step)
        offset += count
        compactor.compact_batch(RecordBatch(data), max_bytes=MAX_BYTES)
        if RecordBatch(data).max_timestamp > largest:
            largest, largest_offset = RecordBatch(data).max_timestamp, offset - 1
        if since > interval:
            expected.append((offset - 1, position, largest, largest_offset))
            since = 0
        since += len(data)
        position += len(data)
    found = compactor.index_points(1000, 17, interval, NOW - 1, 3)
    assert found == (expected, since, largest, largest_offset)


# --- damage ---


@given(st.lists(damaged_batches(), max_size=3).map(b"".join))
@MANY
def test_damage_is_refused_and_nothing_else_happens(data: bytes) -> None:
    compactor = Compactor(OffsetMap(100), now_ms=NOW, delete_retention_ms=RETENTION)
    refusals = (CorruptRecordError, InvalidRecordError, UnsupportedForMessageFormatError)
    position = 0
    try:
        data = data[: check_chunk(data, 0)]
    except CorruptRecordError as error:
        data = data[: error.position]
    try:
        while True:
            position, status = compactor.compact_chunk(data, position)
            if status == END:
                break
            if status == OTHER:
                batch = RecordBatch(data, position)
                compactor.compact_batch(batch, max_bytes=MAX_BYTES)
                position += batch.size_in_bytes
            else:
                compactor.clear()
    except refusals:
        pass
    for batch in iter_batches(output(compactor)):
        batch.ensure_valid()
    with contextlib.suppress(refusals):
        OffsetMap(100).index_chunk(data, 0, 0)


def test_check_finds_the_batch_that_is_damaged() -> None:
    good = make_batch(2, base_offset=5)
    bad = make_batch(2, base_offset=7)
    bad[-1] ^= 1
    assert check_chunk(good, 0) == len(good)
    assert check_chunk(good + bad[:-1], 0) == len(good)
    with pytest.raises(CorruptRecordError) as caught:
        check_chunk(good + bad, 0)
    assert (caught.value.offset, caught.value.position) == (7, len(good))


def test_batch_that_becomes_larger_has_room() -> None:
    """Times count from the horizon on once there is one, which takes more bytes."""
    builder = BatchBuilder(base_offset=0)
    for number in range(5000):
        builder.append(1, b"%d" % number, None)
    data = builder.build()
    compactor = Compactor(OffsetMap(10), now_ms=1 << 50, delete_retention_ms=1 << 60, room=10)
    assert compactor.compact_chunk(data, 0) == (0, FULL)
    assert compactor.compact_batch(RecordBatch(data), max_bytes=MAX_BYTES)
    kept = RecordBatch(output(compactor))
    kept.ensure_valid()
    assert kept.size_in_bytes > len(data)
    assert kept.base_timestamp == (1 << 50) + (1 << 60)
    assert [(r.offset, r.timestamp) for r in kept.records()] == [(n, 1) for n in range(5000)]
