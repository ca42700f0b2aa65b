"""Who may join a group, with what, and what is answered when (GroupCoordinatorTest, GroupMetadataManagerTest)."""

import pytest

from kstore.coordinator.group.config import GroupConfig
from kstore.coordinator.group.results import JoinedMember
from kstore.errors import (
    FencedInstanceIdError,
    GroupMaxSizeReachedError,
    InconsistentGroupProtocolError,
    InvalidGroupIdError,
    InvalidRequestError,
    InvalidSessionTimeoutError,
    MemberIdRequiredError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)
from tests.fix_groups import DELAY_MS, REBALANCE_MS, SESSION_MS, Shell

A = ("a", b"a")
B = ("b", b"b")
C = ("c", b"c")


# Refusals


def test_a_group_needs_a_name() -> None:
    shell = Shell()
    assert shell.refusal(shell.join("")) is InvalidGroupIdError
    assert shell.refusal(shell.join("g" * 40_000)) is InvalidGroupIdError


@pytest.mark.parametrize("timeout_ms", [5999, 1_800_001, 0, -1])
def test_a_session_time_out_outside_the_limits_is_refused(timeout_ms: int) -> None:
    shell = Shell()
    assert shell.refusal(shell.join(session_timeout_ms=timeout_ms)) is InvalidSessionTimeoutError
    assert shell.shard.group_count == 0


def test_an_unknown_member_cannot_join_an_unknown_group() -> None:
    shell = Shell()
    assert shell.refusal(shell.join(member_id="stranger")) is UnknownMemberIdError
    assert shell.shard.group_count == 0


def test_an_unknown_member_cannot_join_a_known_group() -> None:
    shell = Shell()
    shell.stable()
    assert shell.refusal(shell.join(member_id="stranger")) is UnknownMemberIdError


def test_a_first_member_needs_a_protocol_type_and_protocols() -> None:
    shell = Shell()
    assert shell.refusal(shell.join(protocol_type="")) is InconsistentGroupProtocolError
    assert shell.refusal(shell.join(protocols=())) is InconsistentGroupProtocolError
    assert shell.shard.group_count == 0, "what was only refused leaves nothing behind"


def test_all_members_are_of_one_protocol_type() -> None:
    shell = Shell()
    shell.stable()
    assert shell.refusal(shell.join(protocol_type="connect")) is InconsistentGroupProtocolError


def test_a_member_without_a_protocol_in_common_is_refused() -> None:
    shell = Shell()
    shell.stable(protocols=[A, B])
    assert shell.refusal(shell.join(protocols=[C])) is InconsistentGroupProtocolError
    assert shell.waits(shell.join(protocols=[C, B]))


def test_a_member_cannot_drop_the_last_protocol_in_common() -> None:
    shell = Shell()
    first, second = shell.stable(2, protocols=[A])
    assert shell.refusal(shell.join(member_id=second.member_id, protocols=[B])) is InconsistentGroupProtocolError
    assert shell.state() == "Stable"
    assert first.protocol_name == "a"


def test_naming_a_protocol_twice_is_no_second_supporter() -> None:
    shell = Shell()
    shell.stable(protocols=[A, A])
    assert shell.waits(shell.join(protocols=[B, A]))
    assert shell.refusal(shell.join(protocols=[B])) is InconsistentGroupProtocolError


def test_names_that_no_record_can_hold_are_refused() -> None:
    shell = Shell()
    long = "n" * 40_000
    assert shell.refusal(shell.join(client_id=long)) is InvalidRequestError
    assert shell.refusal(shell.join(group_instance_id=long)) is InvalidRequestError
    assert shell.refusal(shell.join(protocol_type=long)) is InvalidRequestError
    assert shell.refusal(shell.join(protocols=[(long, b"")])) is InvalidRequestError


# The first generation


def test_a_first_member_waits_the_initial_delay_and_no_longer() -> None:
    shell = Shell()
    ticket = shell.join()
    shell.advance(DELAY_MS - 1)
    assert shell.waits(ticket)
    shell.advance(1)
    answer = shell.answer(ticket)
    assert (answer.generation_id, answer.protocol_type, answer.protocol_name) == (1, "consumer", "range")
    assert answer.leader == answer.member_id
    assert [member.member_id for member in answer.members] == [answer.member_id]
    assert not answer.skip_assignment
    assert shell.state() == "CompletingRebalance"


def test_without_initial_delay_a_first_member_is_answered_at_once() -> None:
    shell = Shell(GroupConfig(initial_rebalance_delay_ms=0))
    assert shell.answer(shell.join()).generation_id == 1


def test_somebody_new_makes_the_initial_delay_begin_again() -> None:
    shell = Shell()
    tickets = [shell.join()]
    shell.advance(DELAY_MS - 1)
    tickets.append(shell.join())
    shell.advance(DELAY_MS)
    assert all(shell.waits(ticket) for ticket in tickets)
    shell.advance(1)
    first, second = [shell.answer(ticket) for ticket in tickets]
    assert len(first.members) == 2
    assert second.members == ()
    assert first.leader == second.leader == first.member_id


def test_the_initial_delay_grows_to_the_rebalance_time_out_at_most() -> None:
    shell = Shell()
    tickets = [shell.join(rebalance_timeout_ms=10_000)]
    for _ in range(9):
        shell.advance(999)
        tickets.append(shell.join(rebalance_timeout_ms=10_000))
    shell.advance(10_000 - 9 * 999 - 1)
    assert all(shell.waits(ticket) for ticket in tickets)
    shell.advance(1)
    assert len(shell.answer(tickets[0]).members) == 10


def test_the_initial_delay_of_a_later_life_is_not_extended() -> None:
    shell = Shell()
    (member,) = shell.stable()
    shell.leave(member.member_id)
    assert shell.state() == "Empty"
    ticket = shell.join()
    shell.advance(DELAY_MS - 1)
    shell.join()
    shell.advance(1)
    assert shell.answer(ticket).generation_id == 3


def test_the_metadata_of_all_members_goes_to_the_leader_only() -> None:
    shell = Shell()
    tickets = [
        shell.join(client_id="one", protocols=[("range", b"one")]),
        shell.join(group_instance_id="two", protocols=[("range", b"two")]),
    ]
    shell.advance(2 * DELAY_MS)
    leader, follower = [shell.answer(ticket) for ticket in tickets]
    assert leader.members == [
        JoinedMember("one-id1", None, b"one"),
        JoinedMember("two-id2", "two", b"two"),
    ]
    assert follower.members == ()


# Member ids


def test_a_dynamic_member_is_given_an_id_to_join_with() -> None:
    shell = Shell()
    ticket = shell.join(requires_known_member_id=True)
    assert shell.refusal(ticket) is MemberIdRequiredError
    member_id = shell.answer(ticket).member_id
    assert member_id == "client-id1"
    again = shell.join(member_id=member_id, requires_known_member_id=True)
    shell.advance(DELAY_MS)
    assert shell.answer(again).member_id == member_id


def test_a_pending_member_that_does_not_come_is_forgotten_after_its_session() -> None:
    shell = Shell()
    member_id = shell.answer(shell.join(requires_known_member_id=True)).member_id
    shell.advance(SESSION_MS)
    assert shell.refusal(shell.join(member_id=member_id)) is UnknownMemberIdError
    assert shell.shard.group_count == 0


def test_a_rebalance_waits_for_pending_members() -> None:
    shell = Shell()
    (first,) = shell.stable()
    pending = shell.answer(shell.join(requires_known_member_id=True)).member_id
    assert shell.state() == "Stable", "an id alone is no reason to rebalance"
    rejoin = shell.join(member_id=first.member_id)
    assert shell.waits(rejoin)
    joined = shell.join(member_id=pending)
    assert [shell.answer(ticket).generation_id for ticket in (rejoin, joined)] == [2, 2]


def test_a_rebalance_waits_for_a_pending_member_no_longer_than_its_session() -> None:
    shell = Shell()
    (first,) = shell.stable()
    shell.join(requires_known_member_id=True)
    rejoin = shell.join(member_id=first.member_id)
    shell.advance(SESSION_MS)
    assert len(shell.answer(rejoin).members) == 1


def test_a_pending_member_that_leaves_is_not_waited_for() -> None:
    shell = Shell()
    (first,) = shell.stable()
    pending = shell.answer(shell.join(requires_known_member_id=True)).member_id
    rejoin = shell.join(member_id=first.member_id)
    left = shell.leave(pending)
    assert [member.error_code for member in shell.answer(left).members] == [0]
    assert shell.answer(rejoin).generation_id == 2


def test_a_pending_member_that_leaves_disturbs_no_generation() -> None:
    """It made a stable group rebalance, and whoever waited for an assignment join again."""
    shell = Shell()
    shell.stable()
    pending = shell.answer(shell.join(requires_known_member_id=True)).member_id
    left = shell.leave(pending)
    assert [member.error_code for member in shell.answer(left).members] == [0]
    assert shell.state() == "Stable"

    tickets = [shell.join("h", client_id=name) for name in ("a", "b")]
    shell.advance(2 * DELAY_MS)
    follower = next(answer for answer in map(shell.answer, tickets) if answer.leader != answer.member_id)
    parked = shell.sync(follower.member_id, 1, group_id="h")
    pending = shell.answer(shell.join("h", requires_known_member_id=True)).member_id
    shell.leave(pending, group_id="h")
    assert shell.state("h") == "CompletingRebalance"
    assert shell.waits(parked)


def test_a_pending_member_cannot_turn_static() -> None:
    shell = Shell()
    shell.stable()
    pending = shell.answer(shell.join(requires_known_member_id=True)).member_id
    assert shell.refusal(shell.join(member_id=pending, group_instance_id="i")) is UnknownMemberIdError


# Joining again


def test_the_leader_of_a_stable_group_begins_a_new_generation_by_joining() -> None:
    shell = Shell()
    leader, follower = shell.stable(2)
    ticket = shell.join(member_id=leader.member_id)
    assert shell.waits(ticket)
    assert shell.state() == "PreparingRebalance"
    other = shell.join(member_id=follower.member_id)
    assert shell.answer(ticket).generation_id == shell.answer(other).generation_id == 2


def test_a_follower_of_a_stable_group_that_has_not_changed_gets_the_current_generation() -> None:
    shell = Shell()
    _, follower = shell.stable(2)
    answer = shell.answer(shell.join(member_id=follower.member_id))
    assert (answer.generation_id, answer.members) == (1, ())
    assert shell.state() == "Stable"


def test_a_follower_that_has_changed_begins_a_new_generation() -> None:
    shell = Shell()
    leader, follower = shell.stable(2)
    ticket = shell.join(member_id=follower.member_id, protocols=[("range", b"other topics")])
    assert shell.waits(ticket)
    answer = shell.answer(shell.join(member_id=leader.member_id))
    assert sorted(member.metadata for member in answer.members) == [b"other topics", b"range of somebody"]


def test_a_member_that_missed_its_answer_gets_it_again_while_the_leader_assigns() -> None:
    shell = Shell()
    tickets = [shell.join(), shell.join()]
    shell.advance(2 * DELAY_MS)
    leader, follower = [shell.answer(ticket) for ticket in tickets]
    again = shell.answer(shell.join(member_id=leader.member_id))
    assert again == leader
    assert shell.answer(shell.join(member_id=follower.member_id)) == follower
    assert shell.state() == "CompletingRebalance"


def test_a_member_that_changes_while_the_leader_assigns_begins_a_new_generation() -> None:
    shell = Shell()
    tickets = [shell.join(), shell.join()]
    shell.advance(2 * DELAY_MS)
    leader, follower = [shell.answer(ticket) for ticket in tickets]
    parked = shell.sync(follower.member_id, 1)
    changed = shell.join(member_id=follower.member_id, protocols=[("range", b"new")])
    assert shell.refusal(parked) is RebalanceInProgressError
    assert shell.waits(changed)
    shell.join(member_id=leader.member_id)
    assert shell.answer(changed).generation_id == 2


def test_who_joins_twice_is_answered_once_where_it_asked_last() -> None:
    shell = Shell()
    leader, follower = shell.stable(2)
    first = shell.join(member_id=leader.member_id)
    second = shell.join(member_id=leader.member_id)
    assert shell.refusal(first) is RebalanceInProgressError
    shell.join(member_id=follower.member_id)
    assert shell.answer(second).generation_id == 2


# Protocols


def test_the_protocol_with_most_votes_among_those_in_common_is_chosen() -> None:
    shell = Shell()
    tickets = [shell.join(protocols=[A, B, C]), shell.join(protocols=[B, A]), shell.join(protocols=[B, A])]
    shell.advance(2 * DELAY_MS)
    assert {shell.answer(ticket).protocol_name for ticket in tickets} == {"b"}


def test_a_protocol_that_somebody_lacks_is_not_chosen() -> None:
    shell = Shell()
    tickets = [shell.join(protocols=[C, A]), shell.join(protocols=[C, A]), shell.join(protocols=[A])]
    shell.advance(2 * DELAY_MS)
    assert {shell.answer(ticket).protocol_name for ticket in tickets} == {"a"}


def test_members_may_move_to_another_protocol_one_by_one() -> None:
    """As in KIP-429: first everybody supports both, then nobody the old one."""
    shell = Shell()
    first, second = shell.stable(2, protocols=[A])
    both = [
        shell.join(member_id=first.member_id, protocols=[B, A]),
        shell.join(member_id=second.member_id, protocols=[B, A]),
    ]
    assert {shell.answer(ticket).protocol_name for ticket in both} == {"b"}
    shell.assign([shell.answer(ticket) for ticket in both])
    new = [
        shell.join(member_id=first.member_id, protocols=[B]),
        shell.join(member_id=second.member_id, protocols=[B]),
    ]
    assert {shell.answer(ticket).protocol_name for ticket in new} == {"b"}


def test_an_empty_group_may_become_one_of_another_type() -> None:
    shell = Shell()
    (member,) = shell.stable()
    shell.leave(member.member_id)
    ticket = shell.join(protocol_type="connect", protocols=[A])
    shell.advance(DELAY_MS)
    assert shell.answer(ticket).protocol_type == "connect"


# The size of a group


def test_a_full_group_takes_nobody_new() -> None:
    shell = Shell(GroupConfig(max_size=2))
    shell.stable(2)
    assert shell.refusal(shell.join()) is GroupMaxSizeReachedError
    assert shell.state() == "Stable"


def test_a_filling_group_takes_as_many_as_it_may_have() -> None:
    shell = Shell(GroupConfig(max_size=2))
    tickets = [shell.join(), shell.join()]
    assert shell.refusal(shell.join()) is GroupMaxSizeReachedError
    shell.advance(2 * DELAY_MS)
    assert len(shell.answer(tickets[0]).members) == 2


def test_pending_members_do_not_count_until_they_join() -> None:
    shell = Shell(GroupConfig(max_size=1))
    ids = [shell.answer(shell.join(requires_known_member_id=True)).member_id for _ in range(2)]
    first = shell.join(member_id=ids[0])
    assert shell.refusal(shell.join(member_id=ids[1])) is GroupMaxSizeReachedError
    shell.advance(DELAY_MS)
    assert len(shell.answer(first).members) == 1


def test_a_group_that_is_loaded_too_large_loses_its_last_comers() -> None:
    shell = Shell()
    members = shell.stable(3)
    shell.restart(GroupConfig(max_size=2))
    assert shell.state() == "PreparingRebalance"
    tickets = [shell.join(member_id=member.member_id) for member in members]
    assert shell.refusal(tickets[2]) is GroupMaxSizeReachedError
    assert len(shell.answer(tickets[0]).members) == 2
    assert shell.answer(tickets[1]).generation_id == 2


# Those who do not come


def test_a_new_member_that_is_never_answered_is_given_up_after_five_minutes() -> None:
    shell = Shell()
    (first,) = shell.stable(rebalance_timeout_ms=20 * 60_000, session_timeout_ms=30 * 60_000)
    late = shell.join()
    for _ in range(5):
        assert shell.waits(late)
        with pytest.raises(RebalanceInProgressError):
            shell.heartbeat(first.member_id, 1)
        shell.advance(60_000)
    assert shell.refusal(late) is UnknownMemberIdError


def test_who_has_not_joined_by_the_rebalance_time_out_is_out() -> None:
    shell = Shell()
    first, second = shell.stable(2, session_timeout_ms=5 * REBALANCE_MS)
    rejoin = shell.join(member_id=first.member_id)
    shell.advance(REBALANCE_MS - 1)
    assert shell.waits(rejoin)
    shell.advance(1)
    assert [member.member_id for member in shell.answer(rejoin).members] == [first.member_id]
    with pytest.raises(UnknownMemberIdError):
        shell.heartbeat(second.member_id, 2)


def test_the_longest_rebalance_time_out_of_all_members_counts() -> None:
    shell = Shell()
    tickets = [
        shell.join(rebalance_timeout_ms=5_000),
        shell.join(rebalance_timeout_ms=40_000, session_timeout_ms=100_000),
    ]
    shell.advance(2 * DELAY_MS)
    first, second = joined = [shell.answer(ticket) for ticket in tickets]
    shell.assign(joined)
    rejoin = shell.join(member_id=first.member_id, rebalance_timeout_ms=5_000)
    shell.advance(39_999)
    assert shell.waits(rejoin)
    shell.advance(1)
    assert len(shell.answer(rejoin).members) == 1
    assert second.member_id not in {member.member_id for member in shell.answer(rejoin).members}


def test_another_leads_when_the_leader_does_not_come() -> None:
    shell = Shell()
    leader, follower = shell.stable(2)
    rejoin = shell.join(member_id=follower.member_id, protocols=[("range", b"changed")])
    shell.advance(SESSION_MS)
    answer = shell.answer(rejoin)
    assert answer.leader == follower.member_id != leader.member_id
    assert len(answer.members) == 1


def test_a_static_member_speaks_with_its_id_or_is_fenced() -> None:
    shell = Shell()
    (member,) = shell.stable_static("i")
    assert shell.refusal(shell.join(member_id="old", group_instance_id="i")) is FencedInstanceIdError
    assert shell.refusal(shell.join(member_id=member.member_id, group_instance_id="j")) is UnknownMemberIdError
    assert shell.answer(shell.join(member_id=member.member_id, group_instance_id="i")).generation_id == 2
