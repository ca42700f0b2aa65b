"""Records of the offsets topic: Kafka's bytes, in the versions that 3.9 writes, read in all."""

import random
from contextlib import suppress
from struct import pack

import pytest

from kstore.coordinator.group.member import Member
from kstore.coordinator.group.records import (
    GroupKey,
    OffsetAndMetadata,
    OffsetKey,
    StoredGroup,
    UnknownKey,
    group_record,
    group_tombstone,
    offset_record,
    offset_tombstone,
    partition_for,
    read_group_value,
    read_key,
    read_offset_value,
)
from kstore.errors import CorruptRecordError


def text(value: str) -> bytes:
    data = value.encode()
    return pack(">h", len(data)) + data


def sized(value: bytes) -> bytes:
    return pack(">i", len(value)) + value


MEMBER = Member(
    member_id="m-1",
    group_instance_id="i1",
    client_id="c",
    client_host="/h",
    session_timeout_ms=10,
    rebalance_timeout_ms=20,
    protocols=[("other", b"no"), ("range", b"sub")],
)
GROUP = StoredGroup("consumer", 7, "range", "m-1", 123, [MEMBER])


@pytest.mark.parametrize(
    ("group_id", "code"),
    # String.hashCode of Java
    [("", 0), ("g", 103), ("Aa", 2112), ("BB", 2112), ("hello", 99_162_322), ("polygenelubricants", -(1 << 31))],
)
def test_the_partition_is_that_of_javas_hash(group_id: str, code: int) -> None:
    expected = 0 if code == -(1 << 31) else abs(code) % 50
    assert partition_for(group_id, 50) == expected


def test_the_hash_goes_over_utf_16_units() -> None:
    assert partition_for("\U0001f600", 1 << 30) == (31 * 0xD83D + 0xDE00) % (1 << 30)


def test_an_offset_is_written_in_version_3_under_a_key_of_version_1() -> None:
    key, value = offset_record("g", "t", 5, OffsetAndMetadata(42, 3, "note", 1000))
    assert key == pack(">h", 1) + text("g") + text("t") + pack(">i", 5)
    assert value == pack(">hqi", 3, 42, 3) + text("note") + pack(">q", 1000)


def test_an_offset_with_its_own_expiry_is_written_in_version_1() -> None:
    _, value = offset_record("g", "t", 5, OffsetAndMetadata(42, 3, "note", 1000, 2000))
    assert value == pack(">hq", 1, 42) + text("note") + pack(">qq", 1000, 2000)


def test_a_group_is_written_in_version_3_under_a_key_of_version_2() -> None:
    key, value = group_record("g", GROUP, {"m-1": b"parts"})
    assert key == pack(">h", 2) + text("g")
    member = text("m-1") + text("i1") + text("c") + text("/h") + pack(">ii", 20, 10) + sized(b"sub") + sized(b"parts")
    expected = pack(">h", 3) + text("consumer") + pack(">i", 7) + text("range") + text("m-1") + pack(">qi", 123, 1)
    assert value == expected + member


def test_an_empty_group_has_neither_protocol_nor_leader() -> None:
    _, value = group_record("g", StoredGroup("consumer", 8, None, None, 123, []), {})
    assert value == pack(">h", 3) + text("consumer") + pack(">ihhqi", 8, -1, -1, 123, 0)


def test_tombstones_have_the_key_and_no_value() -> None:
    assert offset_tombstone("g", "t", 5) == (offset_record("g", "t", 5, OffsetAndMetadata(0, 0, "", 0))[0], None)
    assert group_tombstone("g") == (group_record("g", GROUP, {"m-1": b""})[0], None)


def test_keys_are_told_apart_by_their_version() -> None:
    offset_key, _ = offset_tombstone("g", "t", 5)
    assert read_key(offset_key) == OffsetKey("g", "t", 5)
    assert read_key(b"\x00\x00" + offset_key[2:]) == OffsetKey("g", "t", 5)
    assert read_key(group_tombstone("g")[0]) == GroupKey("g")
    assert read_key(pack(">h", 3) + b"of a newer protocol") == UnknownKey(3)
    assert read_key(pack(">h", -1)) == UnknownKey(-1)


@pytest.mark.parametrize("version", range(5))
def test_offsets_are_read_in_all_versions(version: int) -> None:
    value = pack(">hq", version, 42)
    if version >= 3:
        value += pack(">i", 3)
    value += b"\x05note" if version >= 4 else text("note")
    value += pack(">q", 1000)
    if version == 1:
        value += pack(">q", 2000)
    if version >= 4:
        value += b"\x00"
    read = read_offset_value(value, 9)
    assert read == OffsetAndMetadata(42, 3 if version >= 3 else -1, "note", 1000, 2000 if version == 1 else -1, 9)


@pytest.mark.parametrize("version", range(4))
def test_groups_are_read_in_all_versions(version: int) -> None:
    value = pack(">h", version) + text("consumer") + pack(">i", 7) + text("range") + text("m-1")
    if version >= 2:
        value += pack(">q", 123)
    value += pack(">i", 1) + text("m-1") + (text("i1") if version >= 3 else b"") + text("c") + text("/h")
    value += pack(">ii", 20, 10) if version >= 1 else pack(">i", 10)
    value += sized(b"sub") + sized(b"parts")
    read = read_group_value(value)
    (member,) = read.members
    assert read[:5] == ("consumer", 7, "range", "m-1", 123 if version >= 2 else -1)
    assert member.group_instance_id == ("i1" if version >= 3 else None)
    assert member.rebalance_timeout_ms == (20 if version >= 1 else 10)
    assert (member.session_timeout_ms, member.protocols, member.assignment) == (10, (("range", b"sub"),), b"parts")


def test_a_group_in_the_flexible_version_is_read_too() -> None:
    value = pack(">h", 4) + b"\x09consumer" + pack(">i", 7) + b"\x06range" + b"\x04m-1" + pack(">q", 123) + b"\x02"
    value += b"\x04m-1" + b"\x00" + b"\x02c" + b"\x03/h" + pack(">ii", 20, 10) + b"\x04sub" + b"\x06parts" + b"\x00\x00"
    (member,) = read_group_value(value).members
    assert (member.member_id, member.group_instance_id, member.assignment) == ("m-1", None, b"parts")


@pytest.mark.parametrize("read", [read_key, lambda data: read_offset_value(data, 0), read_group_value])
def test_damage_is_told_as_such(read: object) -> None:
    chance = random.Random(11)
    whole = [
        *offset_record("g", "t", 5, OffsetAndMetadata(42, 3, "note", 1000)),
        *group_record("g", GROUP, {"m-1": b"x"}),
    ]
    for _ in range(4000):
        data = bytearray(chance.choice(whole) or b"")
        del data[chance.randrange(len(data) + 1) :]
        for _ in range(chance.randrange(3)):
            if data:
                data[chance.randrange(len(data))] = chance.randrange(256)
        with suppress(CorruptRecordError):
            read(bytes(data))  # type: ignore[operator]


def test_a_group_of_members_without_a_protocol_is_corrupt() -> None:
    _, value = group_record("g", GROUP, {"m-1": b""})
    assert value is not None
    damaged = value.replace(text("range"), pack(">h", -1), 1)
    with pytest.raises(CorruptRecordError):
        read_group_value(damaged)
