"""Wire primitives, one at a time: what is written comes back, what is not there is refused."""

from typing import Any

import pytest

from kstore._native.buffer import ReadBuffer, WriteBuffer
from kstore.errors import InvalidRequestError

VALUES = [
    ("int8", (-128, -1, 0, 127)),
    ("int16", (-32768, -1, 0, 32767)),
    ("int32", (-(1 << 31), -1, 0, (1 << 31) - 1)),
    ("int64", (-(1 << 63), -1, 0, (1 << 63) - 1)),
    ("uvarint", (0, 1, 127, 128, 300, 1 << 21, 0xFFFFFFFF)),
]


@pytest.mark.parametrize(("kind", "values"), VALUES)
def test_numbers_come_back_and_truncated_ones_are_refused(kind: str, values: tuple[int, ...]) -> None:
    for value in values:
        buffer = WriteBuffer()
        getattr(buffer, kind)(value)
        data = buffer.to_bytes()
        reader = ReadBuffer(data)
        assert getattr(reader, kind)() == value
        reader.expect_end()
        for size in range(len(data)):
            with pytest.raises(InvalidRequestError, match="bytes wanted"):
                getattr(ReadBuffer(data, 0, size), kind)()


@pytest.mark.parametrize(
    ("kind", "value"),
    [("int8", 128), ("int16", -32769), ("int32", 1 << 31), ("int64", 1 << 63), ("uvarint", -1), ("uvarint", 1 << 32)],
)
def test_numbers_that_do_not_fit_are_refused(kind: str, value: int) -> None:
    with pytest.raises(OverflowError):
        getattr(WriteBuffer(), kind)(value)


@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize("text", ["", "a", "Grüße", "x" * 32767, None])
def test_strings_come_back(text: str | None, compact: bool) -> None:
    buffer = WriteBuffer()
    buffer.string(text, compact=compact)
    reader = ReadBuffer(buffer.to_bytes())
    assert reader.string(compact=compact) == text
    assert reader.remaining == 0


@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize("data", [b"", b"a", b"\xff" * 100_000, None])
def test_bytes_come_back(data: bytes | None, compact: bool) -> None:
    buffer = WriteBuffer()
    buffer.bytes(data, compact=compact)
    assert ReadBuffer(buffer.to_bytes()).bytes(compact=compact) == data
    if data is not None:
        buffer = WriteBuffer()
        buffer.bytes(memoryview(data), compact=compact)
        assert ReadBuffer(buffer.to_bytes()).bytes(compact=compact) == data


def test_a_string_longer_than_the_wire_allows_is_refused_both_ways() -> None:
    with pytest.raises(OverflowError):
        WriteBuffer().string("x" * 32768)
    long = b"\x81\x80\x02" + b"x" * 32768
    with pytest.raises(InvalidRequestError, match="longer than 32767"):
        ReadBuffer(long).string(compact=True)


def test_a_string_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="not UTF-8"):
        ReadBuffer(b"\x00\x02\xc3\x28").string()


def test_a_count_that_the_bytes_left_cannot_hold_is_refused() -> None:
    assert ReadBuffer(b"\x00\x00\x00\x02" + bytes(8)).count(4) == 2
    assert ReadBuffer(b"\x03" + bytes(8)).count(4, compact=True) == 2
    assert ReadBuffer(b"\xff\xff\xff\xff").count(4) is None
    assert ReadBuffer(b"\x00").count(4, compact=True) is None
    for bad in (b"\x00\x00\x00\x03" + bytes(8), b"\x7f\xff\xff\xff", b"\xff\xff\xff\xfe"):
        with pytest.raises(InvalidRequestError):
            ReadBuffer(bad).count(4)
    with pytest.raises(ValueError, match="min_size 0"):
        ReadBuffer(b"\0\0\0\0").count(0)


@pytest.mark.parametrize("bad", [b"\xff\xff\xff\xff\xff\x01", b"\xff\xff\xff\xff\x1f"])
def test_a_varint_of_more_than_32_bits_is_refused(bad: bytes) -> None:
    with pytest.raises(InvalidRequestError, match="a varint of more than"):
        ReadBuffer(bad).uvarint()


def test_a_varint_longer_than_needed_is_read_as_kafka_reads_it() -> None:
    assert ReadBuffer(b"\x81\x80\x00").uvarint() == 1


def test_tagged_fields_are_stepped_over() -> None:
    reader = ReadBuffer(b"\x02\x00\x01a\x63\x00rest")
    reader.skip_tags()
    assert reader.remaining == 4
    with pytest.raises(InvalidRequestError, match="tagged fields"):
        ReadBuffer(b"\x05\x00\x00").skip_tags()
    with pytest.raises(InvalidRequestError, match="9 bytes wanted"):
        ReadBuffer(b"\x01\x00\x09aaa").skip_tags()


def test_a_reader_stays_within_its_range_and_says_where_it_is() -> None:
    reader = ReadBuffer(b"..\x01\x02..", 2, 4, what="two bytes")
    assert (reader.position, reader.remaining) == (2, 2)
    with pytest.raises(InvalidRequestError, match="two bytes: value at byte 2: 4 bytes wanted, 2 left"):
        reader.int32()
    assert reader.int16() == 0x0102
    reader.expect_end()
    with pytest.raises(InvalidRequestError, match="1 bytes wanted, 0 left"):
        reader.int8()
    with pytest.raises(InvalidRequestError, match="1 bytes after the last field"):
        ReadBuffer(b"a").expect_end()


@pytest.mark.parametrize(("position", "limit"), [(-1, 2), (3, 2), (0, 3)])
def test_a_range_outside_the_buffer_is_the_callers_error(position: int, limit: int) -> None:
    with pytest.raises(ValueError, match="not within a buffer of 2 bytes"):
        ReadBuffer(b"ab", position, limit)


def test_the_buffer_is_kept_alive_and_held_still() -> None:
    data = bytearray(b"\0\0\0\x05")
    reader = ReadBuffer(data)
    with pytest.raises(BufferError):
        data.extend(b"x" * 1000)
    del data
    assert reader.int32() == 5


def test_raw_bytes_and_ids_pass_unchanged() -> None:
    buffer = WriteBuffer()
    buffer.raw(b"")
    buffer.raw(b"0123456789abcdef")
    buffer.count(None)
    buffer.count(3, compact=True)
    assert len(buffer) == 21
    reader = ReadBuffer(buffer.to_bytes())
    assert reader.uuid() == b"0123456789abcdef"


@pytest.mark.parametrize("bad", [5, "text", None])
def test_what_is_no_buffer_is_refused(bad: Any) -> None:
    with pytest.raises(TypeError):
        ReadBuffer(bad)
    with pytest.raises(TypeError):
        WriteBuffer().raw(bad)
