"""Static members: another process under the same instance id takes the place of the last one (KIP-345, KIP-814)."""

import pytest

from kstore.coordinator.group.requests import LeavingMember
from kstore.coordinator.group.results import SyncResult
from kstore.errors import (
    FencedInstanceIdError,
    NotCoordinatorError,
    NotLeaderOrFollowerError,
    RebalanceInProgressError,
    RequestTimedOutError,
    UnknownMemberIdError,
)
from tests.fix_groups import DELAY_MS, REBALANCE_MS, SESSION_MS, Shell


def test_a_static_member_comes_back_to_a_stable_group_without_a_rebalance() -> None:
    shell = Shell()
    leader, follower = shell.stable_static("one", "two")
    answer = shell.answer(shell.join(group_instance_id="two"))
    assert shell.state() == "Stable"
    assert answer.member_id not in (leader.member_id, follower.member_id)
    assert (answer.generation_id, answer.leader, answer.skip_assignment, answer.members) == (
        1,
        leader.member_id,
        False,
        (),
    )
    synced = shell.answer(shell.sync(answer.member_id, 1, group_instance_id="two"))
    assert synced.assignment == follower.member_id.encode(), "it goes on with what the last one had"


def test_the_leader_that_comes_back_is_told_to_skip_the_assignment() -> None:
    shell = Shell()
    leader, follower = shell.stable_static("one", "two")
    answer = shell.answer(shell.join(group_instance_id="one"))
    assert answer.leader == answer.member_id != leader.member_id
    assert answer.skip_assignment
    assert {member.member_id for member in answer.members} == {answer.member_id, follower.member_id}


def test_an_old_client_that_comes_back_as_leader_is_told_the_old_leaders_id() -> None:
    shell = Shell()
    leader, _ = shell.stable_static("one", "two")
    answer = shell.answer(shell.join(group_instance_id="one", supports_skip_assignment=False))
    assert (answer.leader, answer.members, answer.skip_assignment) == (leader.member_id, (), False)


def test_whoever_speaks_with_the_old_id_is_fenced() -> None:
    shell = Shell()
    (old,) = shell.stable_static("i")
    shell.join(group_instance_id="i")
    with pytest.raises(FencedInstanceIdError):
        shell.heartbeat(old.member_id, 1, group_instance_id="i")
    with pytest.raises(UnknownMemberIdError):
        shell.heartbeat(old.member_id, 1)
    assert shell.refusal(shell.sync(old.member_id, 1, group_instance_id="i")) is FencedInstanceIdError
    assert shell.refusal(shell.join(member_id=old.member_id, group_instance_id="i")) is FencedInstanceIdError
    (left,) = shell.answer(shell.leave(LeavingMember(old.member_id, "i"))).members
    assert left.error_code == FencedInstanceIdError.code


def test_a_parked_join_of_the_replaced_member_is_fenced_at_once() -> None:
    shell = Shell()
    old = shell.join(group_instance_id="i")
    new = shell.join(group_instance_id="i")
    assert shell.refusal(old) is FencedInstanceIdError
    shell.advance(DELAY_MS)
    assert len(shell.answer(new).members) == 1


def test_a_parked_sync_of_the_replaced_member_is_fenced_at_once() -> None:
    shell = Shell()
    tickets = [shell.join(group_instance_id="one"), shell.join(group_instance_id="two")]
    shell.advance(2 * DELAY_MS)
    leader, follower = [shell.answer(ticket) for ticket in tickets]
    parked = shell.sync(follower.member_id, 1, group_instance_id="two")
    new = shell.join(group_instance_id="two")
    assert shell.refusal(parked) is FencedInstanceIdError
    assert shell.state() == "PreparingRebalance", "the leader may be assigning to the old id"
    shell.join(member_id=leader.member_id, group_instance_id="one")
    assert shell.answer(new).generation_id == 2


def test_the_replacement_is_in_the_log_before_it_is_answered() -> None:
    shell = Shell()
    shell.stable_static("i")
    shell.holds_writes = True
    ticket = shell.join(group_instance_id="i")
    assert shell.waits(ticket)
    shell.release()
    new_id = shell.answer(ticket).member_id
    shell.restart()
    shell.heartbeat(new_id, 1, group_instance_id="i")


@pytest.mark.parametrize(
    ("error", "told"),
    [(NotLeaderOrFollowerError(), NotCoordinatorError), (RequestTimedOutError(), RebalanceInProgressError)],
)
def test_a_replacement_that_could_not_be_written_is_taken_back(error: Exception, told: type[Exception]) -> None:
    shell = Shell()
    (old,) = shell.stable_static("i")
    shell.holds_writes = True
    ticket = shell.join(group_instance_id="i", protocols=[("range", b"new metadata")], session_timeout_ms=7000)
    shell.fail_next(error)  # type: ignore[arg-type]
    assert shell.refusal(ticket) is told
    shell.heartbeat(old.member_id, 1, group_instance_id="i")
    (member,) = shell.shard.describe_group("g").members
    assert (member.member_id, member.metadata) == (old.member_id, b"range of somebody")
    shell.advance(SESSION_MS - 1)
    assert shell.state() == "Stable", "its session time-out is the old one again"


def test_two_replacements_at_once_leave_the_later_one() -> None:
    shell = Shell()
    shell.stable_static("i")
    shell.holds_writes = True
    first = shell.join(group_instance_id="i")
    second = shell.join(group_instance_id="i")
    assert shell.refusal(first) is FencedInstanceIdError
    shell.commit_next()
    assert shell.waits(second)
    shell.commit_next()
    shell.heartbeat(shell.answer(second).member_id, 1, group_instance_id="i")


def test_the_failure_of_an_overtaken_replacement_takes_nothing_back() -> None:
    shell = Shell()
    shell.stable_static("i")
    shell.holds_writes = True
    shell.join(group_instance_id="i")
    second = shell.join(group_instance_id="i")
    shell.fail_next(NotLeaderOrFollowerError())
    shell.commit_next()
    shell.heartbeat(shell.answer(second).member_id, 1, group_instance_id="i")


@pytest.mark.parametrize("is_written", [True, False])
def test_a_rebalance_overtakes_a_replacement_in_flight(is_written: bool) -> None:
    shell = Shell()
    leader, _ = shell.stable_static("one", "two")
    shell.holds_writes = True
    ticket = shell.join(group_instance_id="two")
    rejoin = shell.join(member_id=leader.member_id, group_instance_id="one")
    assert shell.answer(ticket).generation_id == shell.answer(rejoin).generation_id == 2
    if is_written:
        shell.commit_next()
    else:
        shell.fail_next(NotLeaderOrFollowerError())
    shell.heartbeat(shell.answer(ticket).member_id, 2, group_instance_id="two")


@pytest.mark.parametrize("is_written", [True, False])
def test_a_replacement_whose_group_rebalances_waits_for_the_new_generation(is_written: bool) -> None:
    shell = Shell()
    leader, _, third = shell.stable_static("one", "two", "three")
    shell.holds_writes = True
    ticket = shell.join(group_instance_id="two")
    shell.join(member_id=leader.member_id, group_instance_id="one")
    if is_written:
        shell.commit_next()
    else:
        shell.fail_next(NotLeaderOrFollowerError())
    assert shell.waits(ticket)
    shell.join(member_id=third.member_id, group_instance_id="three")
    assert shell.answer(ticket).generation_id == 2


def test_a_replacement_that_changes_the_groups_protocol_rebalances() -> None:
    shell = Shell()
    both = [("range", b"r"), ("sticky", b"s")]
    leader, _ = shell.stable_static("one", "two", protocols=both)
    ticket = shell.join(group_instance_id="two", protocols=[("sticky", b"s")])
    assert shell.state() == "PreparingRebalance"
    other = shell.join(member_id=leader.member_id, group_instance_id="one", protocols=both)
    assert shell.answer(ticket).protocol_name == shell.answer(other).protocol_name == "sticky"


def test_the_old_ids_session_ends_without_effect() -> None:
    shell = Shell()
    shell.stable_static("i")
    shell.advance(SESSION_MS - 1)
    new = shell.answer(shell.join(group_instance_id="i"))
    shell.advance(SESSION_MS - 1)
    assert shell.state() == "Stable"
    shell.heartbeat(new.member_id, 1, group_instance_id="i")


def test_a_static_member_survives_a_rebalance_that_it_misses_but_not_its_assignment() -> None:
    shell = Shell()
    leader, follower = shell.stable_static("one", "two", session_timeout_ms=REBALANCE_MS + 20_000)
    rejoin = shell.join(member_id=leader.member_id, group_instance_id="one", session_timeout_ms=REBALANCE_MS + 20_000)
    shell.advance(REBALANCE_MS)
    answer = shell.answer(rejoin)
    assert {member.member_id for member in answer.members} == {leader.member_id, follower.member_id}
    assert shell.state() == "CompletingRebalance"
    shell.sync(leader.member_id, 2, [(leader.member_id, b"all")], group_instance_id="one")
    assert shell.state() == "Stable"
    shell.advance(REBALANCE_MS)  # the same time to come for its assignment
    assert [member.member_id for member in shell.shard.describe_group("g").members] == [leader.member_id]


def test_a_group_whose_static_members_are_all_silent_waits_for_their_sessions() -> None:
    shell = Shell()
    tickets = [
        shell.join(group_instance_id=instance, session_timeout_ms=100_000, rebalance_timeout_ms=10)
        for instance in ("one", "two")
    ]
    shell.advance(DELAY_MS)
    joined = shell.new_generation(*tickets)
    shell.assign(joined, instances=["one", "two"])
    shell.leave(joined[0].member_id)
    assert shell.state() == "PreparingRebalance"
    shell.advance(99_999)
    assert shell.state() == "PreparingRebalance"
    shell.advance(1)
    assert shell.state() == "Empty"


def test_an_administrator_takes_a_static_member_out_by_its_instance_id() -> None:
    shell = Shell()
    shell.stable_static("one", "two")
    left = shell.answer(shell.leave(LeavingMember("", "one", "gone for good"), LeavingMember("", "three")))
    assert [(member.group_instance_id, member.error_code) for member in left.members] == [
        ("one", 0),
        ("three", UnknownMemberIdError.code),
    ]
    assert shell.state() == "PreparingRebalance"


def test_a_waiting_member_that_is_taken_out_is_told_so() -> None:
    shell = Shell()
    leader, follower = shell.stable_static("one", "two")
    rejoin = shell.join(member_id=leader.member_id, group_instance_id="one")
    shell.leave(LeavingMember("", "one"))
    assert shell.refusal(rejoin) is UnknownMemberIdError
    shell.join(member_id=follower.member_id, group_instance_id="two")
    parked = shell.sync(follower.member_id, 2, group_instance_id="two")
    assert isinstance(shell.answer(parked), SyncResult)
    assert shell.state() == "Stable"


def test_a_syncing_member_that_is_taken_out_is_told_so() -> None:
    shell = Shell()
    tickets = [shell.join(group_instance_id="one"), shell.join(group_instance_id="two")]
    shell.advance(2 * DELAY_MS)
    _, follower = [shell.answer(ticket) for ticket in tickets]
    parked = shell.sync(follower.member_id, 1, group_instance_id="two")
    shell.leave(LeavingMember("", "two"))
    assert shell.refusal(parked) is UnknownMemberIdError
