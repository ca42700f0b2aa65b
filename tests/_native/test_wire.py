"""The codec's programs: what a struct is, what cannot be written, what is kept, what is left behind."""

import tracemalloc
from contextlib import suppress
from typing import Any

import pytest

from kstore._native import wire
from kstore.errors import InvalidRequestError, UnsupportedVersionError
from kstore.protocol.schema import Message


class Sample(Message, api_key=999, versions="0-4", flexible="3+"):
    TABLE = """
        flag       bool       0+
        small      int8       0+
        short      int16      0+
        port       uint16     0+
        number     int32      0+   = 7
        unsigned   uint32     0+
        big        int64      0+
        ratio      float64    0+
        id         uuid       0+
        name       string     0+   null 1+
        data       bytes      0+   null 1+
        numbers    []int32    0+   null 1+
        names      []string   0+
        parts      []Part     0+
            key    int32      0+   = -1
            late   string     2+
        only       Only       1+   null 2+
            key    int16      0+
        extra      string     2+   = x
        loose      int32      2+   ignorable
        hint       Hint       3+   tag 1 3+
            leader int32      3+   = -1
        note       string     3+   null 3+ tag 0 3+ = null
        marks      []int32    3+   tag 5 3+ ignorable
    """


def full(**changed: Any) -> Sample:
    return Sample(
        **{
            "flag": True,
            "small": -128,
            "short": -1,
            "port": 65535,
            "number": 1 << 30,
            "unsigned": 0xFFFFFFFF,
            "big": -(1 << 63),
            "ratio": -0.5,
            "id": b"0123456789abcdef",
            "name": "Grüße",
            "data": b"\0\xff",
            "numbers": [1, -1, 1 << 20],
            "names": ["", "a"],
            "parts": [Sample.Part(key=5)],
            **changed,
        }
    )


def again(message: Sample, version: int) -> Sample:
    data = message.encode(version)
    return Sample.decode(b"before" + data + b"after", 6, 6 + len(data), version)


def test_fields_that_are_not_given_hold_their_defaults() -> None:
    sample = Sample()
    assert (sample.flag, sample.number, sample.id, sample.name, sample.data) == (False, 7, bytes(16), "", b"")
    assert (sample.numbers, sample.extra, sample.note, sample.hint) == ([], "x", None, Sample.Hint(leader=-1))
    assert sample.unknown_tags is None


def test_default_lists_and_structs_are_not_shared() -> None:
    one, other = Sample(), Sample()
    one.numbers.append(1)
    one.hint.leader = 5
    assert (other.numbers, other.hint.leader) == ([], -1)
    read, reread = again(full(), 0), again(full(), 0)
    read.marks.append(1)
    read.hint.leader = 5
    assert (reread.marks, reread.hint.leader) == ([], -1)


@pytest.mark.parametrize("version", range(5))
def test_a_message_comes_back_equal(version: int) -> None:
    assert again(full(), version) == full()


@pytest.mark.parametrize("version", [3, 4])
def test_tagged_fields_come_back_and_defaults_take_no_room(version: int) -> None:
    tagged = full(hint=Sample.Hint(leader=3), note="", marks=[9])
    assert again(tagged, version) == tagged
    assert full().encode(version)[-1] == 0
    assert len(tagged.encode(version)) > len(full().encode(version))


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_null_comes_back_where_it_is_allowed(version: int) -> None:
    nothing = full(name=None, data=None, numbers=None)
    if version >= 2:
        nothing.only = None
    assert again(nothing, version) == nothing


@pytest.mark.parametrize("field", ["name", "data", "numbers"])
def test_null_is_not_written_where_it_is_not_allowed(field: str) -> None:
    with pytest.raises(ValueError, match="None where no null is allowed") as refused:
        full(**{field: None}).encode(0)
    assert refused.value.__notes__ == [f"in Sample v0: {field}"]


@pytest.mark.parametrize(("field", "bad"), [("name", b"\xff\xff"), ("numbers", b"\xff\xff\xff\xff")])
def test_null_is_not_read_where_it_is_not_allowed(field: str, bad: bytes) -> None:
    data = full(name="NAME", numbers=[0x4E4E4E4E] * 3).encode(0)
    good = b"\x00\x04NAME" if field == "name" else b"\x00\x00\x00\x03" + b"N" * 12
    damaged = data.replace(good, bad, 1)
    with pytest.raises(InvalidRequestError, match=f"Sample v0: {field} at byte .*: null where none is allowed"):
        Sample.decode(damaged, 0, len(damaged), 0)


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("small", 128, OverflowError),
        ("short", 1 << 15, OverflowError),
        ("port", -1, OverflowError),
        ("number", 1 << 31, OverflowError),
        ("unsigned", -1, OverflowError),
        ("big", 1 << 63, OverflowError),
        ("number", "7", TypeError),
        ("number", 7.0, TypeError),
        ("name", b"bytes", TypeError),
        ("name", "x" * 32768, OverflowError),
        ("id", b"short", ValueError),
        ("id", bytearray(16), ValueError),
        ("data", "text", TypeError),
        ("numbers", 5, TypeError),
        ("names", [None], ValueError),
        ("parts", [object()], TypeError),
        ("parts", [None], ValueError),
        ("ratio", "x", (TypeError, ValueError)),
        ("name", "\ud800", UnicodeEncodeError),
    ],
)
def test_a_value_that_does_not_fit_is_named(field: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error) as refused:
        full(**{field: value}).encode(1)
    assert refused.value.__notes__ == [f"in Sample v1: {field}"]


def test_a_value_in_a_part_is_named_by_its_path() -> None:
    with pytest.raises(TypeError) as refused:
        full(parts=[Sample.Part(), Sample.Part(key="x")]).encode(4)
    assert refused.value.__notes__ == ["in Sample v4: parts.key"]


def test_a_value_that_the_version_has_no_room_for_is_refused_unless_it_may_be_dropped() -> None:
    for changed in ({"extra": "y"}, {"note": ""}, {"hint": Sample.Hint(leader=2)}, {"only": Sample.Only(key=1)}):
        with pytest.raises(UnsupportedVersionError, match="Sample v0 has no "):
            full(**changed).encode(0)
    with pytest.raises(UnsupportedVersionError, match=r"Sample v1 has no parts\.late"):
        full(parts=[Sample.Part(late="z")]).encode(1)
    assert full(loose=5, marks=[1]).encode(1) == full().encode(1)


def test_unknown_tagged_fields_are_kept_and_written_again_in_order() -> None:
    sample = full(hint=Sample.Hint(leader=2))
    sample.unknown_tags = [(3, b"three"), (0x7FFFFFFF, b"")]
    data = sample.encode(4)
    read = Sample.decode(data, 0, len(data), 4)
    assert read.unknown_tags == [(3, b"three"), (0x7FFFFFFF, b"")]
    assert read.encode(4) == data
    assert read != full(hint=Sample.Hint(leader=2))
    inner = full(parts=[Sample.Part(unknown_tags=[(0, b"inner")])])
    assert again(inner, 3) == inner


def test_a_tag_is_not_written_twice() -> None:
    with pytest.raises(ValueError, match="a tag twice"):
        full(note="", unknown_tags=[(0, b"")]).encode(3)


def test_tags_out_of_order_or_sent_twice_are_read_as_kafka_reads_them() -> None:
    data = full().encode(3)[:-1]
    tags = b"\x05\x09\x01a\x00\x02\x02x\x07\x01b\x09\x01c\x00\x02\x02y"
    read = Sample.decode(data + tags, 0, len(data + tags), 3)
    assert (read.note, read.unknown_tags) == ("y", [(7, b"b"), (9, b"c")])
    assert again(read, 3) == read


def test_a_known_tag_must_fill_its_size() -> None:
    data = full().encode(3)[:-1]
    whole, short, long = b"\x01\x01\x05\0\0\0\x05\0", b"\x01\x01\x04\0\0\0\x05\0", b"\x01\x01\x06\0\0\0\x05\0\0"
    assert Sample.decode(data + whole, 0, len(data) + len(whole), 3).hint.leader == 5
    for bad in (short, long):
        with pytest.raises(InvalidRequestError, match=r"Sample v3: .*hint"):
            Sample.decode(data + bad, 0, len(data) + len(bad), 3)


def test_versions_that_do_not_exist_are_refused() -> None:
    for version in (-1, 5, 1000):
        with pytest.raises(UnsupportedVersionError, match=rf"Sample v{version} is not in \[0, 4\]"):
            full().encode(version)
        with pytest.raises(UnsupportedVersionError):
            Sample.decode(b"", 0, 0, version)


def test_a_field_that_nobody_declared_is_refused() -> None:
    with pytest.raises(TypeError, match="Sample has no field nmae, nunber"):
        Sample(nunber=1, nmae="")
    with pytest.raises(AttributeError):
        Sample().nmae = ""


def test_a_deleted_field_is_an_error_not_a_crash() -> None:
    for name in ("number", "extra", "hint", "parts"):
        sample = full()
        delattr(sample, name)
        for version in range(5):
            with pytest.raises(AttributeError, match=name):
                sample.encode(version)


def test_a_struct_of_another_message_is_not_written() -> None:
    class Other(Message, versions="0", flexible="none"):
        TABLE = "number int32 0+"

    with pytest.raises(TypeError, match=r"Sample\.Part wanted"):
        full(parts=[Other()]).encode(0)


def test_a_list_that_changes_while_it_is_written_is_an_error_not_a_crash() -> None:
    names: list[Any] = []

    class Shrinking(list[int]):
        def __iter__(self) -> Any:
            names.clear()
            return iter(())

    class Outer(Message, versions="0", flexible="none"):
        TABLE = """
            parts          []Part    0+
                numbers    []int32   0+
        """

    names += [Outer.Part(numbers=Shrinking()) for _ in range(100)]
    with pytest.raises(RuntimeError, match="a list changed"):
        Outer(parts=names).encode(0)


def test_messages_are_compared_by_value_and_show_what_they_hold() -> None:
    assert full() == full()
    assert full() != full(big=1)
    assert full() != 5
    assert "Sample(flag=True, small=-128" in repr(full())
    assert "parts=[Sample.Part(key=5, late='')]" in repr(full())
    with pytest.raises(TypeError, match="unhashable"):
        hash(full())


def test_records_may_be_any_buffer() -> None:
    for data in (b"abc", bytearray(b"abc"), memoryview(b"abc")):
        assert again(full(data=data), 4).data == b"abc"


def test_a_frame_holds_its_length_the_header_and_the_message() -> None:
    frame = full().encode_frame(3, b"HEAD")
    assert frame == (len(frame) - 4).to_bytes(4, "big") + b"HEAD" + full().encode(3)


def test_a_large_message_grows_its_buffer() -> None:
    names = [f"name-{number}" for number in range(10_000)]
    assert again(full(names=names, data=b"x" * 1_000_000), 3).names == names


@pytest.mark.parametrize(("position", "limit"), [(-1, 0), (1, 0), (0, 4)])
def test_a_range_outside_the_buffer_is_the_callers_error(position: int, limit: int) -> None:
    with pytest.raises(ValueError, match="not within a buffer of 3 bytes"):
        Sample.decode(b"abc", position, limit, 0)


def test_only_slots_can_be_laid_out() -> None:
    class NoSlots(wire.Struct):
        number = 5

    with pytest.raises(TypeError, match="number is not a slot"):
        wire.Layout(NoSlots, ("number",), (0,))


def test_nothing_is_kept_of_what_was_read_written_or_refused() -> None:
    message = full(hint=Sample.Hint(leader=2), unknown_tags=[(9, b"x")])
    data = message.encode(4)

    def work() -> None:
        for _ in range(500):
            Sample.decode(data, 0, len(data), 4)
            with suppress(InvalidRequestError):
                Sample.decode(data, 0, len(data) - 3, 4)
            message.encode(4)
            with suppress(UnsupportedVersionError):
                message.encode(0)

    work()
    tracemalloc.start()
    try:
        work()
        before = tracemalloc.get_traced_memory()[0]
        work()
        assert tracemalloc.get_traced_memory()[0] - before < 4096
    finally:
        tracemalloc.stop()
