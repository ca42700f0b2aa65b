"""What a shard answers while it loads, what it says of its groups, and how it ends."""

import pytest

from kstore.coordinator.group.config import GroupConfig
from kstore.coordinator.group.requests import OffsetToCommit
from kstore.coordinator.group.shard import GroupShard, random_id
from kstore.errors import (
    CoordinatorLoadInProgressError,
    InvalidGroupIdError,
    NotCoordinatorError,
    RebalanceInProgressError,
)
from tests.fix_groups import DELAY_MS, SESSION_MS, Shell

T0_AT_5 = [OffsetToCommit("t", 0, 5)]


def loading_shell() -> Shell:
    shell = Shell()
    shell.shard = GroupShard(0, GroupConfig())
    return shell


def test_one_member_joins_syncs_heartbeats_commits_fetches_and_leaves() -> None:
    shell = Shell()
    member_id = shell.answer(shell.join(requires_known_member_id=True)).member_id
    joined = shell.join(member_id=member_id, requires_known_member_id=True)
    shell.advance(DELAY_MS)
    assert shell.answer(joined).generation_id == 1
    assert shell.answer(shell.sync(member_id, 1, [(member_id, b"all")])).assignment == b"all"
    shell.heartbeat(member_id, 1)
    assert shell.answer(shell.commit(T0_AT_5, member_id=member_id, generation_id=1)) == [0]
    assert shell.committed("t", 0) == 5
    assert shell.answer(shell.leave(member_id)).members[0].error_code == 0
    assert shell.state() == "Empty"


# Loading


def test_while_it_loads_heartbeats_are_taken_and_the_rest_is_put_off() -> None:
    shell = loading_shell()
    shell.heartbeat("m", 1)
    assert shell.refusal(shell.sync("m", 1)) is RebalanceInProgressError
    for ticket in (shell.join(), shell.leave("m"), shell.commit(T0_AT_5), shell.delete_offsets(("t", 0))):
        assert shell.refusal(ticket) is CoordinatorLoadInProgressError
    assert shell.answer(shell.delete_groups("g")) == [CoordinatorLoadInProgressError.code]
    for ask in (
        lambda: shell.shard.fetch_offsets("g", None),
        lambda: shell.shard.describe_group("g"),
        shell.shard.list_groups,
    ):
        with pytest.raises(CoordinatorLoadInProgressError):
            ask()


def test_a_bad_name_is_refused_while_it_loads_too() -> None:
    shell = loading_shell()
    with pytest.raises(InvalidGroupIdError):
        shell.heartbeat("m", 1, group_id="")
    assert shell.refusal(shell.sync("m", 1, group_id="")) is InvalidGroupIdError


def test_an_empty_shard_has_nothing_to_do_ever() -> None:
    shell = Shell()
    assert shell.shard.next_deadline_ms is None


# Describing and listing


def test_a_group_that_is_not_known_is_described_as_dead() -> None:
    shell = Shell()
    description = shell.shard.describe_group("g")
    assert (description.state, description.protocol_type, description.protocol) == ("Dead", "", "")
    assert not description.members


def test_a_stable_group_is_described_with_what_its_members_have_and_got() -> None:
    shell = Shell()
    (joined,) = shell.stable()
    description = shell.shard.describe_group("g")
    assert (description.state, description.protocol_type, description.protocol) == ("Stable", "consumer", "range")
    (member,) = description.members
    assert member.member_id == joined.member_id
    assert (member.client_id, member.client_host, member.metadata) == ("c0", "/127.0.0.1", b"range of somebody")
    assert member.assignment == joined.member_id.encode()


def test_a_group_that_rebalances_is_described_without_protocol_and_metadata() -> None:
    shell = Shell()
    shell.join()
    description = shell.shard.describe_group("g")
    assert (description.state, description.protocol_type, description.protocol) == (
        "PreparingRebalance",
        "consumer",
        "",
    )
    assert [(member.metadata, member.assignment) for member in description.members] == [(b"", b"")]


def test_groups_are_listed_by_state_and_type_however_they_are_spelled() -> None:
    shell = Shell()
    shell.stable(group_id="stable")
    shell.commit(T0_AT_5, group_id="simple")

    def listed(*args: tuple[str, ...]) -> list[tuple[str, ...]]:
        return sorted(tuple(group) for group in shell.shard.list_groups(*args))

    both = [("simple", "", "Empty", "classic"), ("stable", "consumer", "Stable", "classic")]
    assert listed() == both
    assert listed(("sTaBlE",)) == both[1:]
    assert listed(("Stable", "EMPTY"), ("Classic",)) == both
    assert listed((), ("consumer",)) == []
    assert listed(("Dead", "nonsense")) == []


# The end


def test_who_waits_when_the_shard_moves_away_is_told_so() -> None:
    shell = Shell()
    shell.commit(T0_AT_5, group_id="to delete")
    tickets = [shell.join("syncing"), shell.join("syncing")]
    shell.advance(2 * DELAY_MS)
    leader, follower = [shell.answer(ticket).member_id for ticket in tickets]
    shell.holds_writes = True
    waiting = [
        shell.join("joining"),
        shell.sync(follower, 1, group_id="syncing"),
        shell.sync(leader, 1, group_id="syncing"),
        shell.commit(T0_AT_5, group_id="committing"),
        shell.delete_groups("to delete"),
    ]
    assert all(shell.waits(ticket) for ticket in waiting)
    held = list(shell.held)
    shell.take(shell.shard.unload())
    assert {shell.refusal(ticket) for ticket in waiting} == {NotCoordinatorError}
    for write in held:
        assert shell.shard.committed(write, base_offset=0, monotonic_ms=shell.now_ms) == ((), ())
    assert shell.shard.next_deadline_ms is None


def test_every_session_begins_anew_after_a_restart() -> None:
    shell = Shell()
    first, second = shell.stable(2)
    shell.advance(SESSION_MS - 1)
    shell.restart()
    shell.advance(SESSION_MS - 1)
    shell.heartbeat(first.member_id, 1)
    shell.advance(1)
    assert {member.member_id for member in shell.shard.describe_group("g").members} == {first.member_id}
    assert second.member_id != first.member_id


def test_random_ids_are_uuids_and_differ() -> None:
    ids = {random_id() for _ in range(100)}
    assert len(ids) == 100
    assert {(len(text), text[14], text.count("-")) for text in ids} == {(36, "4", 4)}
