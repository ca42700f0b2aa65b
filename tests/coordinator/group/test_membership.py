"""Syncing, heartbeating, leaving, and what ends a membership (GroupCoordinatorTest, GroupMetadataManagerTest)."""

import pytest

from kstore.coordinator.group.requests import LeavingMember, OffsetToCommit
from kstore.coordinator.group.results import SyncResult
from kstore.errors import (
    CoordinatorNotAvailableError,
    IllegalGenerationError,
    InconsistentGroupProtocolError,
    InvalidGroupIdError,
    KafkaError,
    MessageTooLargeError,
    NotCoordinatorError,
    NotEnoughReplicasError,
    NotLeaderOrFollowerError,
    RebalanceInProgressError,
    RequestTimedOutError,
    UnknownMemberIdError,
    UnknownServerError,
)
from tests.fix_groups import DELAY_MS, REBALANCE_MS, SESSION_MS, Shell


def filling(shell: Shell, count: int = 2, **options: object) -> list[str]:
    """Member ids of a group whose leader, the first, has yet to assign."""
    tickets = [shell.join(**options) for _ in range(count)]  # type: ignore[arg-type]
    shell.advance(2 * DELAY_MS)
    assert shell.state() == "CompletingRebalance"
    return [shell.answer(ticket).member_id for ticket in tickets]


# Sync


def test_everybody_is_given_what_the_leader_assigned() -> None:
    shell = Shell()
    leader, follower = filling(shell)
    first = shell.sync(follower, 1)
    assert shell.waits(first)
    second = shell.sync(leader, 1, [(leader, b"one"), (follower, b"two")])
    assert shell.answer(first) == SyncResult("consumer", "range", b"two")
    assert shell.answer(second) == SyncResult("consumer", "range", b"one")
    assert shell.state() == "Stable"


def test_a_follower_that_syncs_late_gets_its_assignment_at_once() -> None:
    shell = Shell()
    leader, follower = filling(shell)
    shell.sync(leader, 1, [(leader, b"one"), (follower, b"two")])
    assert shell.answer(shell.sync(follower, 1)).assignment == b"two"


def test_whom_the_leader_forgets_has_nothing_to_do() -> None:
    shell = Shell()
    leader, follower = filling(shell)
    shell.sync(leader, 1, [(leader, b"one"), ("stranger", b"three")])
    assert shell.answer(shell.sync(follower, 1)).assignment == b""


def test_an_assignment_is_in_the_log_before_anybody_knows_it() -> None:
    shell = Shell()
    leader, follower = filling(shell)
    shell.holds_writes = True
    tickets = [shell.sync(leader, 1, [(leader, b"one"), (follower, b"two")]), shell.sync(follower, 1)]
    assert all(shell.waits(ticket) for ticket in tickets)
    assert shell.state() == "CompletingRebalance"
    shell.release()
    assert [shell.answer(ticket).assignment for ticket in tickets] == [b"one", b"two"]
    shell.restart()
    assert shell.answer(shell.sync(follower, 1)).assignment == b"two"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (NotLeaderOrFollowerError(), NotCoordinatorError),
        (NotEnoughReplicasError(), CoordinatorNotAvailableError),
        (RequestTimedOutError(), RebalanceInProgressError),
        (MessageTooLargeError(), UnknownServerError),
        (CoordinatorNotAvailableError(), CoordinatorNotAvailableError),
    ],
)
def test_an_assignment_that_could_not_be_written_is_told_and_a_new_generation_begins(
    error: KafkaError, told: type[KafkaError]
) -> None:
    shell = Shell()
    leader, follower = filling(shell)
    shell.holds_writes = True
    tickets = [shell.sync(follower, 1), shell.sync(leader, 1, [(leader, b"one"), (follower, b"two")])]
    shell.fail_next(error)
    assert [shell.refusal(ticket) for ticket in tickets] == [told, told]
    assert shell.state() == "PreparingRebalance"
    joins = [shell.join(member_id=leader), shell.join(member_id=follower)]
    assert {shell.answer(ticket).generation_id for ticket in joins} == {2}


@pytest.mark.parametrize("is_written", [True, False])
def test_an_assignment_in_flight_does_not_count_for_the_next_generation(is_written: bool) -> None:
    shell = Shell()
    leader, follower = filling(shell)
    shell.holds_writes = True
    shell.sync(leader, 1, [(leader, b"one"), (follower, b"two")])
    shell.leave(follower)
    again = shell.join(member_id=leader)
    assert shell.answer(again).generation_id == 2
    if is_written:
        shell.commit_next()
    else:
        shell.fail_next(NotLeaderOrFollowerError())
    assert shell.state() == "CompletingRebalance"
    ticket = shell.sync(leader, 2, [(leader, b"all")])
    shell.release()
    assert shell.answer(ticket).assignment == b"all"


def test_a_second_assignment_of_the_same_generation_changes_nothing() -> None:
    shell = Shell()
    leader, follower = filling(shell)
    shell.holds_writes = True
    first = shell.sync(leader, 1, [(leader, b"one"), (follower, b"two")])
    second = shell.sync(leader, 1, [(leader, b"two"), (follower, b"one")])
    assert shell.refusal(first) is RebalanceInProgressError
    assert len(shell.held) == 1, "else the log would hold another assignment than memory"
    shell.release()
    assert shell.answer(second).assignment == b"one"


def test_a_sync_is_refused_for_what_does_not_fit() -> None:
    shell = Shell()
    leader, _ = filling(shell)
    assert shell.refusal(shell.sync(leader, 1, group_id="")) is InvalidGroupIdError
    assert shell.refusal(shell.sync(leader, 1, group_id="other")) is UnknownMemberIdError
    assert shell.refusal(shell.sync("stranger", 1)) is UnknownMemberIdError
    assert shell.refusal(shell.sync(leader, 2)) is IllegalGenerationError
    assert shell.refusal(shell.sync(leader, 1, protocol_type="connect")) is InconsistentGroupProtocolError
    assert shell.refusal(shell.sync(leader, 1, protocol_name="sticky")) is InconsistentGroupProtocolError


def test_an_old_sync_without_protocol_is_taken() -> None:
    shell = Shell()
    leader, _ = filling(shell)
    ticket = shell.sync(leader, 1, [(leader, b"one")], protocol_type=None, protocol_name=None)
    assert shell.answer(ticket).assignment == b"one"


def test_a_sync_during_a_rebalance_is_sent_to_join() -> None:
    shell = Shell()
    leader, follower = shell.stable(2)
    shell.join(member_id=leader.member_id)
    assert shell.refusal(shell.sync(follower.member_id, 1)) is RebalanceInProgressError


def test_who_never_syncs_is_out_after_the_rebalance_time_out() -> None:
    shell = Shell()
    leader, follower = filling(shell, session_timeout_ms=5 * REBALANCE_MS)
    shell.sync(leader, 1, [(leader, b"one"), (follower, b"two")])
    shell.advance(REBALANCE_MS - 1)
    assert shell.state() == "Stable"
    shell.advance(1)
    assert shell.state() == "PreparingRebalance"
    answer = shell.answer(shell.join(member_id=leader))
    assert [member.member_id for member in answer.members] == [leader]


def test_a_leader_that_never_assigns_is_out_after_the_rebalance_time_out() -> None:
    shell = Shell()
    leader, follower = filling(shell, session_timeout_ms=5 * REBALANCE_MS)
    parked = shell.sync(follower, 1)
    shell.advance(REBALANCE_MS)
    assert shell.refusal(parked) is RebalanceInProgressError
    answer = shell.answer(shell.join(member_id=follower))
    assert answer.leader == follower
    assert leader not in {member.member_id for member in answer.members}


def test_a_leader_that_dies_before_it_assigns_holds_nobody_up_beyond_its_session() -> None:
    shell = Shell()
    _, follower = filling(shell)
    parked = shell.sync(follower, 1)
    shell.advance(SESSION_MS)
    assert shell.refusal(parked) is RebalanceInProgressError
    assert shell.answer(shell.join(member_id=follower)).leader == follower


def test_who_waits_for_its_assignment_needs_no_heartbeat() -> None:
    shell = Shell()
    tickets = [shell.join(session_timeout_ms=60_000), shell.join()]
    shell.advance(2 * DELAY_MS)
    leader, follower = [shell.answer(ticket).member_id for ticket in tickets]
    parked = shell.sync(follower, 1)
    shell.advance(3 * SESSION_MS)
    assert shell.waits(parked)
    shell.sync(leader, 1, [(leader, b""), (follower, b"two")])
    assert shell.answer(parked).assignment == b"two"
    shell.advance(SESSION_MS - 1)
    shell.heartbeat(follower, 1)


# Heartbeat


def test_a_heartbeat_is_refused_for_what_does_not_fit() -> None:
    shell = Shell()
    (member,) = shell.stable()
    for refusal, heartbeat in [
        (InvalidGroupIdError, ("", member.member_id, 1, None)),
        (UnknownMemberIdError, ("other", member.member_id, 1, None)),
        (UnknownMemberIdError, ("g", "stranger", 1, None)),
        (IllegalGenerationError, ("g", member.member_id, 2, None)),
        (UnknownMemberIdError, ("g", member.member_id, 1, "instance")),
    ]:
        with pytest.raises(refusal):
            shell.shard.heartbeat(*heartbeat, shell.now_ms)


def test_heartbeats_keep_a_member() -> None:
    shell = Shell()
    (member,) = shell.stable()
    for _ in range(5):
        shell.advance(SESSION_MS - 1)
        shell.heartbeat(member.member_id, 1)
    assert shell.state() == "Stable"


def test_who_is_silent_for_its_session_is_out() -> None:
    shell = Shell()
    leader, follower = shell.stable(2)
    shell.advance(SESSION_MS - 1)
    shell.heartbeat(leader.member_id, 1)
    shell.advance(1)
    with pytest.raises(UnknownMemberIdError):
        shell.heartbeat(follower.member_id, 1)
    with pytest.raises(RebalanceInProgressError):
        shell.heartbeat(leader.member_id, 1)


def test_a_group_whose_last_member_falls_silent_is_empty() -> None:
    shell = Shell()
    shell.stable()
    shell.advance(SESSION_MS)
    assert shell.state() == "Empty"
    assert shell.shard.describe_group("g").protocol_type == "consumer"


def test_a_heartbeat_says_that_a_rebalance_is_on_and_counts_all_the_same() -> None:
    shell = Shell()
    leader, follower = shell.stable(2)
    shell.join(member_id=leader.member_id)
    for _ in range(4):
        shell.advance(SESSION_MS - 1)
        with pytest.raises(RebalanceInProgressError):
            shell.heartbeat(follower.member_id, 1)
    assert shell.answer(shell.join(member_id=follower.member_id)).generation_id == 2


def test_a_heartbeat_while_the_leader_assigns_is_welcome() -> None:
    shell = Shell()
    leader, follower = filling(shell)
    shell.advance(SESSION_MS - 1)
    shell.heartbeat(leader, 1)
    shell.heartbeat(follower, 1)
    shell.advance(SESSION_MS - 1)
    assert shell.state() == "CompletingRebalance"


def test_a_commit_shows_that_its_member_lives() -> None:
    shell = Shell()
    (member,) = shell.stable()
    shell.advance(SESSION_MS - 1)
    shell.commit([OffsetToCommit("t", 0, 1)], member_id=member.member_id, generation_id=1)
    shell.advance(SESSION_MS - 1)
    shell.heartbeat(member.member_id, 1)


def test_the_session_time_out_of_the_last_join_counts() -> None:
    shell = Shell()
    (member,) = shell.stable()
    again = shell.answer(shell.join(member_id=member.member_id, session_timeout_ms=30_000))
    shell.assign([again])
    shell.advance(29_999)
    shell.heartbeat(member.member_id, 2)


# Leave


def test_a_member_that_leaves_is_not_waited_for() -> None:
    shell = Shell()
    leader, follower = shell.stable(2)
    answer = shell.answer(shell.leave(follower.member_id))
    assert [(member.member_id, member.error_code) for member in answer.members] == [(follower.member_id, 0)]
    assert shell.state() == "PreparingRebalance"
    assert shell.answer(shell.join(member_id=leader.member_id)).generation_id == 2


def test_the_last_member_that_leaves_leaves_an_empty_group_in_the_log() -> None:
    shell = Shell()
    (member,) = shell.stable()
    shell.leave(member.member_id)
    assert shell.state() == "Empty"
    shell.restart()
    assert shell.state() == "Empty"
    assert shell.shard.describe_group("g").protocol_type == "consumer"


def test_what_clients_say_comes_quoted_and_bounded_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    shell = Shell()
    (member,) = shell.stable(reason="one\nforged line")
    with caplog.at_level("INFO", logger="kstore.coordinator"):
        shell.leave(LeavingMember(member.member_id, None, "two\n" + "x" * 10_000))
        shell.join(client_id="three\nlines", reason="four\nlines")
    texts = [record.getMessage() for record in caplog.records]
    assert any("two\\nxxx" in text for text in texts)
    assert any("four\\nlines" in text for text in texts)
    assert not any("\n" in text for text in texts)
    assert max(map(len, texts)) < 600


def test_members_that_cannot_leave_are_told_one_by_one() -> None:
    shell = Shell()
    first, second = shell.stable(2)
    answer = shell.answer(shell.leave("stranger", first.member_id, "", second.member_id))
    unknown = UnknownMemberIdError.code
    assert [member.error_code for member in answer.members] == [unknown, 0, unknown, 0]
    assert shell.state() == "Empty"


def test_nobody_leaves_an_unknown_group() -> None:
    shell = Shell()
    assert shell.refusal(shell.leave("m", group_id="")) is InvalidGroupIdError
    (member,) = shell.answer(shell.leave("m", group_id="other")).members
    assert member.error_code == UnknownMemberIdError.code


def test_who_leaves_while_it_waits_to_join_is_told_so() -> None:
    shell = Shell()
    leader, follower = shell.stable(2)
    parked = shell.join(member_id=leader.member_id)
    shell.leave(leader.member_id)
    assert shell.refusal(parked) is UnknownMemberIdError
    assert shell.answer(shell.join(member_id=follower.member_id)).leader == follower.member_id


def test_the_last_one_to_join_lets_the_others_go_on_by_leaving() -> None:
    shell = Shell()
    leader, follower = shell.stable(2)
    parked = shell.join(member_id=leader.member_id)
    shell.leave(follower.member_id)
    assert shell.answer(parked).generation_id == 2


def test_a_group_that_fills_and_empties_again_in_its_initial_delay_becomes_empty() -> None:
    shell = Shell()
    member_id = shell.answer(shell.join(requires_known_member_id=True)).member_id
    parked = shell.join(member_id=member_id)
    shell.leave(member_id)
    assert shell.refusal(parked) is UnknownMemberIdError
    shell.advance(DELAY_MS)
    assert shell.state() == "Empty"


def test_an_empty_generation_that_could_not_be_written_is_empty_all_the_same() -> None:
    shell = Shell()
    (member,) = shell.stable()
    shell.holds_writes = True
    shell.leave(member.member_id)
    shell.fail_next(NotLeaderOrFollowerError())
    assert shell.state() == "Empty"
    ticket = shell.join()
    shell.advance(DELAY_MS)
    assert shell.answer(ticket).generation_id == 3
