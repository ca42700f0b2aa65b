"""BatchBuilder: what is refused leaves no trace, what is built is whole."""

from collections.abc import Iterator

import pytest

from kstore._native.batch import LZ4, NONE, RecordBatch
from kstore._native.builder import BatchBuilder, empty_batch
from kstore._native.record import Record


def test_offsets_follow_each_other() -> None:
    builder = BatchBuilder(base_offset=10)
    builder.append(1, None, b"a")
    builder.append_with_offset(15, 1, None, b"b")
    builder.append(1, None, b"c")
    assert builder.next_offset == 17
    batch = RecordBatch(builder.build())
    assert [record.offset for record in batch.records()] == [10, 15, 16]
    assert (batch.base_offset, batch.last_offset, batch.count) == (10, 16, 3)


@pytest.mark.parametrize("offset", [9, 10, 10 + 2**31, -(2**63)])
def test_offsets_that_do_not_follow_are_refused(offset: int) -> None:
    builder = BatchBuilder(base_offset=10)
    builder.append(1, None, b"a")
    with pytest.raises(ValueError, match="does not follow"):
        builder.append_with_offset(offset, 1, None, b"")
    assert builder.count == 1


def test_keys_and_values_may_lie_in_any_buffer() -> None:
    builder = BatchBuilder()
    builder.append(1, bytearray(b"key"), memoryview(b"value")[1:], [(b"name", bytearray(b"x"))])
    (record,) = RecordBatch(builder.build()).records()
    assert (record.key, record.value, record.headers) == (b"key", b"alue", (("name", b"x"),))


@pytest.mark.parametrize(
    "arguments",
    [
        (1, "text", b""),
        (1, b"", 5),
        (1, b"", b"", [("a",)]),
        (1, b"", b"", [(None, b"")]),
        (1, b"", b"", [("a", "b")]),
    ],
)
def test_a_refused_record_leaves_the_batch_as_it_was(arguments: tuple[object, ...]) -> None:
    builder = BatchBuilder()
    builder.append(1, b"k", b"v")
    size = builder.estimated_size
    with pytest.raises((TypeError, ValueError)):
        builder.append(*arguments)  # type: ignore[arg-type]
    assert (builder.count, builder.estimated_size) == (1, size)
    assert len(list(RecordBatch(builder.build()).records())) == 1


def test_headers_that_append_while_they_are_read_do_no_harm() -> None:
    builder = BatchBuilder()

    class Headers:
        def __iter__(self) -> Iterator[tuple[str, bytes]]:
            builder.append(1, b"inner", b"x" * 5000)
            yield "h", b"1"

    with pytest.raises(ValueError, match="does not follow"):
        builder.append(1, b"outer", None, Headers())  # type: ignore[arg-type]
    assert [record.key for record in RecordBatch(builder.build()).records()] == [b"inner"]


def test_a_builder_is_used_once() -> None:
    builder = BatchBuilder()
    with pytest.raises(ValueError, match="empty_batch"):
        builder.build()
    builder.append(1, None, None)
    builder.build()
    with pytest.raises(ValueError, match="has been built"):
        builder.build()
    with pytest.raises(ValueError, match="has been built"):
        builder.append(1, None, None)


def test_what_was_built_belongs_to_the_caller() -> None:
    builder = BatchBuilder()
    builder.append(1, None, b"v")
    data = builder.build()
    data += b"more"
    data.clear()


def test_extend_takes_tuples_and_records() -> None:
    builder = BatchBuilder(base_offset=5)
    builder.extend([(1, b"a", b"b"), (2, b"c", None, [("h", None)]), Record(99, 3, None, b"d")])
    records = list(RecordBatch(builder.build()).records())
    assert records == [
        Record(5, 1, b"a", b"b"),
        Record(6, 2, b"c", None, (("h", None),)),
        Record(7, 3, None, b"d"),
    ]


def test_estimated_size_is_the_size_without_compression() -> None:
    plain, packed = BatchBuilder(compression=NONE), BatchBuilder(compression=LZ4)
    for builder in (plain, packed):
        for i in range(1000):
            builder.append(i, b"key", b"x" * 100)
    assert plain.estimated_size == packed.estimated_size == len(plain.build())
    assert len(packed.build()) < 20_000


def test_log_append_time_is_the_max_timestamp() -> None:
    builder = BatchBuilder(timestamp_type=1, log_append_time=777)
    builder.append(5, None, None)
    batch = RecordBatch(builder.build())
    assert (batch.timestamp_type, batch.base_timestamp, batch.max_timestamp) == (1, 5, 777)


def test_last_offset_of_a_compacted_batch_is_kept() -> None:
    builder = BatchBuilder(base_offset=10)
    builder.append_with_offset(12, 1, None, None)
    with pytest.raises(ValueError, match="cannot be the last offset"):
        builder.override_last_offset(11)
    builder.override_last_offset(19)
    batch = RecordBatch(builder.build())
    assert (batch.base_offset, batch.last_offset, batch.count) == (10, 19, 1)


@pytest.mark.parametrize("options", [{"compression": 5}, {"compression": -1}, {"timestamp_type": 2}])
def test_options_that_do_not_exist_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="has the id"):
        BatchBuilder(**options)  # type: ignore[arg-type]


def test_an_empty_batch_reaches_from_its_base_to_its_last_offset() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        empty_batch(base_offset=5, last_offset=4)
    with pytest.raises(ValueError, match="do not fit"):
        empty_batch(base_offset=0, last_offset=2**31)
    batch = RecordBatch(empty_batch(base_offset=5, last_offset=5, timestamp=9))
    assert (batch.last_offset, batch.max_timestamp, batch.base_timestamp) == (5, 9, -1)
