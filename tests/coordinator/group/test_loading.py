"""What a shard knows after its log was replayed (GroupMetadataManagerTest's load cases)."""

from struct import pack

import pytest

from kstore.coordinator.group.config import GroupConfig
from kstore.coordinator.group.records import (
    OffsetAndMetadata,
    group_record,
    group_tombstone,
    offset_record,
    offset_tombstone,
    read_group_value,
)
from kstore.coordinator.group.requests import OffsetToCommit
from kstore.coordinator.group.results import FetchedOffset
from kstore.coordinator.group.shard import GroupShard
from kstore.errors import CorruptRecordError, UnstableOffsetCommitError
from tests.fix_groups import DELAY_MS, SESSION_MS, START_MS, Shell, subscription

T0_AT_5 = [OffsetToCommit("t", 0, 5)]


def empty_shard() -> GroupShard:
    return GroupShard(0, GroupConfig())


def fetched(shard: GroupShard, *, require_stable: bool = False) -> FetchedOffset:
    ((_, (offset,)),) = shard.fetch_offsets("g", [("t", [0])], require_stable=require_stable)
    return offset


def test_a_stable_group_is_as_it_was() -> None:
    shell = Shell()
    members = shell.stable(2, protocols=[("range", subscription("t")), ("sticky", b"")])
    before = shell.shard.describe_group("g")
    shell.restart()
    assert shell.shard.describe_group("g") == before
    for member in members:
        shell.heartbeat(member.member_id, 1)
    shell.commit(T0_AT_5, member_id=members[1].member_id, generation_id=1)
    leader = shell.join(member_id=members[0].member_id, protocols=[("range", b"")])
    follower = shell.join(member_id=members[1].member_id, protocols=[("range", b"")])
    assert shell.answer(leader).leader == members[0].member_id
    assert shell.answer(follower).generation_id == 2


def test_static_members_are_known_again() -> None:
    shell = Shell()
    (old,) = shell.stable_static("i")
    shell.restart()
    new = shell.answer(shell.join(group_instance_id="i"))
    assert new.member_id != old.member_id
    assert shell.state() == "Stable"


def test_members_that_do_not_come_back_are_out_after_their_session() -> None:
    shell = Shell()
    shell.stable()
    shell.restart()
    shell.advance(SESSION_MS)
    assert shell.state() == "Empty"


def test_the_last_record_of_a_key_counts() -> None:
    shard = empty_shard()
    for position, offset in enumerate((5, 7, 6)):
        shard.replay(*offset_record("g", "t", 0, OffsetAndMetadata(offset, -1, "", START_MS)), offset=position)
    shard.loaded(START_MS)
    assert fetched(shard).offset == 6


def test_tombstones_take_back_what_was_there() -> None:
    shell = Shell()
    shell.commit(T0_AT_5)
    shell.log.append((1, offset_tombstone("g", "t", 0)))
    shell.restart()
    assert shell.shard.group_count == 0


def test_a_groups_tombstone_leaves_its_offsets() -> None:
    shell = Shell()
    (member,) = shell.stable()
    shell.commit(T0_AT_5, member_id=member.member_id, generation_id=1)
    shell.log.append((shell.end_offset, group_tombstone("g")))
    shell.restart()
    description = shell.shard.describe_group("g")
    assert (description.state, description.protocol_type, description.members) == ("Empty", "", [])
    assert shell.committed("t", 0) == 5


def test_tombstones_of_what_was_compacted_away_are_nothing() -> None:
    shard = empty_shard()
    shard.replay(*group_tombstone("g"), offset=0)
    shard.replay(*offset_tombstone("g", "t", 0), offset=1)
    assert shard.loaded(START_MS) == ((), ())
    assert shard.group_count == 0
    assert shard.next_deadline_ms is None


def test_an_offset_without_a_groups_record_is_a_group_without_members() -> None:
    shard = empty_shard()
    shard.replay(*offset_record("g", "t", 0, OffsetAndMetadata(5, 2, "note", START_MS)), offset=0)
    shard.loaded(START_MS)
    assert fetched(shard) == FetchedOffset(0, 5, 2, "note", 0)
    assert shard.describe_group("g").state == "Empty"


def test_records_of_other_protocols_are_left_alone() -> None:
    shard = empty_shard()
    for version in (3, 8, 20, 32767, -1):
        shard.replay(pack(">h", version) + b"whatever", b"\xff\xff", offset=0)
    shard.loaded(START_MS)
    assert shard.group_count == 0


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"", None),
        (b"\x00", None),
        (b"\x00\x01\x00", None),
        (offset_tombstone("g", "t", 0)[0], b""),
        (offset_tombstone("g", "t", 0)[0], b"\x00\x05" + bytes(30)),
        (offset_tombstone("g", "t", 0)[0], b"\x00\x03\x00"),
        (group_tombstone("g")[0], b"\x00\x09"),
        (group_tombstone("g")[0], b"\x00\x03\x00\x01"),
    ],
)
def test_damage_is_told_and_the_rest_is_loaded(key: bytes, value: bytes | None) -> None:
    shard = empty_shard()
    shard.replay(*offset_record("g", "t", 0, OffsetAndMetadata(5, -1, "", START_MS)), offset=0)
    with pytest.raises(CorruptRecordError):
        shard.replay(key, value, offset=1)
    shard.loaded(START_MS)
    assert fetched(shard).offset == 5


def test_a_group_that_names_a_member_twice_is_damage() -> None:
    shell = Shell()
    shell.stable_static("one", "two")
    _, (_, value) = shell.log[-1]
    assert value is not None
    stored = read_group_value(value)
    for member in stored.members:
        member.group_instance_id = "same"
    assignments = {member.member_id: b"" for member in stored.members}
    twice_an_instance = group_record("g", stored, assignments)
    for member in stored.members:
        member.member_id, member.group_instance_id = "same", None
    twice_an_id = group_record("g", stored, {"same": b""})
    shard = empty_shard()
    for record in (twice_an_instance, twice_an_id):
        with pytest.raises(CorruptRecordError):
            shard.replay(*record, offset=0)
    assert shard.group_count == 0


def test_a_leader_that_is_no_member_is_replaced() -> None:
    shell = Shell()
    first, second = shell.stable(2)
    _, (_, value) = shell.log[-1]
    assert value is not None
    stored = read_group_value(value)._replace(leader="nobody")
    shell.log.append((9, group_record("g", stored, {member.member_id: b"" for member in stored.members})))
    shell.restart()
    rejoin = [
        shell.join(member_id=first.member_id),
        shell.join(member_id=second.member_id, protocols=[("range", b"2")]),
    ]
    assert {shell.answer(ticket).leader for ticket in rejoin} == {first.member_id}


def test_an_empty_group_goes_on_where_its_generations_were() -> None:
    shell = Shell()
    (member,) = shell.stable()
    shell.leave(member.member_id)
    shell.restart()
    ticket = shell.join()
    shell.advance(DELAY_MS)
    assert shell.answer(ticket).generation_id == 3


def test_after_the_last_generation_comes_one_that_fits_the_wire() -> None:
    shell = Shell()
    (member,) = shell.stable()
    _, (_, value) = shell.log[-1]
    assert value is not None
    stored = read_group_value(value)._replace(generation_id=0x7FFFFFFF)
    shell.log.append((9, group_record("g", stored, {member.member_id: b""})))
    shell.restart()
    joined = shell.answer(shell.join(member_id=member.member_id))
    assert joined.generation_id == 0
    shell.assign([joined])
    assert shell.state() == "Stable"


def test_a_rebalance_that_was_on_begins_anew() -> None:
    shell = Shell()
    leader, follower = shell.stable(2)
    shell.join(member_id=leader.member_id)
    shell.restart()
    assert shell.state() == "Stable"
    shell.heartbeat(follower.member_id, 1)
    tickets = [shell.join(member_id=leader.member_id), shell.join(member_id=follower.member_id)]
    assert [shell.answer(ticket).generation_id for ticket in tickets] == [2, 2]


# Transactions, of which Kafka's directories may hold some


def test_offsets_of_a_transaction_count_from_its_commit_on() -> None:
    shard = empty_shard()
    shard.replay(*offset_record("g", "t", 0, OffsetAndMetadata(5, -1, "", START_MS)), offset=0)
    shard.replay(*offset_record("g", "t", 0, OffsetAndMetadata(6, -1, "", START_MS)), offset=1, producer_id=9)
    shard.replay_marker(9, commit=True)
    shard.loaded(START_MS)
    assert fetched(shard, require_stable=True).offset == 6


def test_offsets_of_an_aborted_transaction_never_were() -> None:
    shard = empty_shard()
    shard.replay(*offset_record("g", "t", 0, OffsetAndMetadata(6, -1, "", START_MS)), offset=1, producer_id=9)
    shard.replay_marker(8, commit=True)
    shard.replay_marker(9, commit=False)
    shard.loaded(START_MS)
    assert shard.group_count == 0


def test_offsets_of_an_open_transaction_are_not_stable() -> None:
    shard = empty_shard()
    shard.replay(*offset_record("g", "t", 0, OffsetAndMetadata(5, -1, "", START_MS)), offset=0)
    shard.replay(*offset_record("g", "t", 0, OffsetAndMetadata(6, -1, "", START_MS)), offset=1, producer_id=9)
    shard.loaded(START_MS)
    assert fetched(shard).offset == 5
    assert fetched(shard, require_stable=True).error_code == UnstableOffsetCommitError.code


def test_a_commit_later_in_the_log_outlasts_a_transaction_that_ends_after_it() -> None:
    shard = empty_shard()
    shard.replay(*offset_record("g", "t", 0, OffsetAndMetadata(6, -1, "", START_MS)), offset=0, producer_id=9)
    shard.replay(*offset_record("g", "t", 0, OffsetAndMetadata(7, -1, "", START_MS)), offset=1)
    shard.replay_marker(9, commit=True)
    shard.loaded(START_MS)
    assert fetched(shard).offset == 7


def test_a_tombstone_inside_a_transaction_takes_back_what_the_transaction_wrote() -> None:
    shard = empty_shard()
    shard.replay(*offset_record("g", "t", 0, OffsetAndMetadata(6, -1, "", START_MS)), offset=0, producer_id=9)
    shard.replay(*offset_record("g", "t", 0, OffsetAndMetadata(8, -1, "", START_MS)), offset=1, producer_id=10)
    shard.replay(*offset_tombstone("g", "t", 0), offset=2, producer_id=9)
    shard.replay_marker(9, commit=True)
    assert shard.offset_count == 0
    shard.replay_marker(10, commit=True)
    shard.loaded(START_MS)
    assert fetched(shard).offset == 8
