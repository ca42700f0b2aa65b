"""What goes and when: expired offsets, deleted offsets, deleted topics, groups of which nothing is left."""

from typing import Any

import pytest

from kstore.coordinator.group.cleanup import BATCH_BYTES, OFFSETS_A_TURN
from kstore.coordinator.group.config import DAY_MS, GroupConfig
from kstore.coordinator.group.records import GroupKey, group_tombstone, offset_tombstone, read_key
from kstore.coordinator.group.requests import OffsetToCommit
from kstore.errors import (
    CoordinatorNotAvailableError,
    GroupIdNotFoundError,
    GroupSubscribedToTopicError,
    InvalidGroupIdError,
    NonEmptyGroupError,
    NotCoordinatorError,
    NotLeaderOrFollowerError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)
from tests.fix_groups import DELAY_MS, Shell, subscription

RETENTION_MS = 7 * DAY_MS
CHECK_MS = GroupConfig().offsets_retention_check_interval_ms
HOUR_MS = 3_600_000
T0_AT_5 = [OffsetToCommit("t", 0, 5)]


def keep_alive(shell: Shell, member_id: str, generation_id: int, milliseconds: int) -> None:
    """Time passes while the member heartbeats, with a session of half an hour."""
    end_ms = shell.now_ms + milliseconds
    while shell.now_ms < end_ms:
        shell.heartbeat(member_id, generation_id)
        shell.advance(min(1_000_000, end_ms - shell.now_ms))


def consumer_of(shell: Shell, *topics: str) -> str:
    (member,) = shell.stable(protocols=[("range", subscription(*topics))], session_timeout_ms=1_800_000)
    return member.member_id


# Expiry


def test_a_group_that_never_had_members_loses_each_offset_a_retention_after_its_commit() -> None:
    shell = Shell()
    shell.commit(T0_AT_5)
    shell.advance(HOUR_MS)
    shell.commit([OffsetToCommit("t", 1, 6)])
    shell.advance(RETENTION_MS - HOUR_MS - 1)
    assert shell.committed("t", 0) == 5
    shell.advance(1 + CHECK_MS)
    assert (shell.committed("t", 0), shell.committed("t", 1)) == (-1, 6)
    shell.advance(HOUR_MS)
    assert shell.shard.group_count == 0
    assert shell.log[-2:] == [(2, offset_tombstone("g", "t", 0)), (3, offset_tombstone("g", "t", 1))]
    assert shell.shard.expired_offsets == 2


def test_an_empty_groups_offsets_expire_a_retention_after_its_last_member_went() -> None:
    shell = Shell()
    member_id = consumer_of(shell, "t")
    shell.commit(T0_AT_5, member_id=member_id, generation_id=1)
    keep_alive(shell, member_id, 1, RETENTION_MS - HOUR_MS)
    shell.leave(member_id)
    shell.advance(RETENTION_MS - 1)
    assert shell.committed("t", 0) == 5
    shell.advance(1 + CHECK_MS)
    assert shell.shard.group_count == 0
    assert [record for _, record in shell.log[-2:]] == [offset_tombstone("g", "t", 0), group_tombstone("g")]


def test_an_empty_groups_newer_commits_go_with_the_rest() -> None:
    shell = Shell()
    member_id = consumer_of(shell, "t")
    shell.leave(member_id)
    shell.commit(T0_AT_5)
    shell.advance(RETENTION_MS - HOUR_MS)
    shell.commit([OffsetToCommit("t", 0, 6)])
    shell.advance(HOUR_MS + CHECK_MS)
    assert shell.shard.group_count == 0


def test_what_a_consumer_is_subscribed_to_does_not_expire() -> None:
    shell = Shell()
    member_id = consumer_of(shell, "t")
    offsets = [OffsetToCommit("t", 0, 5), OffsetToCommit("u", 0, 6)]
    shell.commit(offsets, member_id=member_id, generation_id=1)
    keep_alive(shell, member_id, 1, RETENTION_MS + CHECK_MS)
    assert (shell.committed("t", 0), shell.committed("u", 0)) == (5, -1)
    assert shell.state() == "Stable"


@pytest.mark.parametrize("options", [{"protocol_type": "connect"}, {"protocols": [("range", b"no subscription")]}])
def test_where_nobody_knows_what_members_read_nothing_expires(options: dict[str, object]) -> None:
    shell = Shell()
    (member,) = shell.stable(session_timeout_ms=1_800_000, **options)
    shell.commit(T0_AT_5, member_id=member.member_id, generation_id=1)
    keep_alive(shell, member.member_id, 1, RETENTION_MS + CHECK_MS)
    assert shell.committed("t", 0) == 5


def test_nothing_expires_while_a_group_rebalances() -> None:
    shell = Shell()
    patient: Any = {"protocols": [("range", subscription("u"))], "rebalance_timeout_ms": 20 * DAY_MS}
    leader, follower = shell.stable(2, session_timeout_ms=1_800_000, **patient)
    shell.commit(T0_AT_5, member_id=leader.member_id, generation_id=1)
    shell.join(member_id=leader.member_id, session_timeout_ms=1_800_000, **patient)
    end_ms = shell.now_ms + RETENTION_MS + CHECK_MS
    while shell.now_ms < end_ms:
        with pytest.raises(RebalanceInProgressError):
            shell.heartbeat(follower.member_id, 1)
        shell.advance(1_000_000)
    assert shell.committed("t", 0) == 5
    rejoined = shell.answer(shell.join(member_id=follower.member_id, session_timeout_ms=1_800_000, **patient))
    shell.assign([rejoined._replace(member_id=member.member_id) for member in (leader, follower)])
    shell.advance(CHECK_MS)
    assert shell.committed("t", 0) == -1


def test_an_expiry_of_its_own_counts_instead_of_the_brokers() -> None:
    shell = Shell()
    shell.commit(T0_AT_5, retention_time_ms=HOUR_MS)
    shell.commit([OffsetToCommit("t", 1, 6)], retention_time_ms=2 * RETENTION_MS)
    shell.advance(HOUR_MS + CHECK_MS)
    assert (shell.committed("t", 0), shell.committed("t", 1)) == (-1, 6)
    shell.advance(RETENTION_MS)
    assert shell.committed("t", 1) == 6


def test_an_offset_on_its_way_keeps_the_old_one_from_expiring() -> None:
    shell = Shell()
    shell.commit(T0_AT_5)
    shell.advance(RETENTION_MS - HOUR_MS)
    shell.holds_writes = True
    shell.commit([OffsetToCommit("t", 0, 6)])
    shell.advance(2 * HOUR_MS)
    assert len(shell.held) == 1
    shell.release()
    assert shell.committed("t", 0) == 6


def test_an_empty_group_without_offsets_goes_with_the_next_check() -> None:
    shell = Shell()
    (member,) = shell.stable()
    shell.leave(member.member_id)
    shell.advance(CHECK_MS)
    assert shell.shard.group_count == 0
    assert shell.log[-1][1] == group_tombstone("g")
    shell.restart()
    assert shell.shard.group_count == 0


def test_retention_counts_across_restarts() -> None:
    shell = Shell()
    shell.commit(T0_AT_5)
    shell.advance(RETENTION_MS - HOUR_MS)
    shell.restart()
    shell.advance(HOUR_MS + CHECK_MS)
    assert shell.committed("t", 0) == -1


def test_a_tombstone_that_could_not_be_written_is_tried_again() -> None:
    shell = Shell()
    shell.commit(T0_AT_5)
    shell.holds_writes = True
    shell.advance(RETENTION_MS + CHECK_MS)
    assert shell.committed("t", 0) == -1, "its group is Dead until the tombstone is decided"
    shell.fail_next(NotLeaderOrFollowerError())
    assert shell.committed("t", 0) == 5, "as the log has it"
    assert shell.state() == "Empty"
    shell.holds_writes = False
    shell.advance(CHECK_MS)
    assert shell.shard.group_count == 0


def test_an_offset_is_known_until_its_tombstone_is_committed() -> None:
    shell = Shell()
    shell.commit(T0_AT_5)
    shell.advance(HOUR_MS)
    shell.commit([OffsetToCommit("t", 1, 6)])
    shell.holds_writes = True
    shell.advance(RETENTION_MS - HOUR_MS + CHECK_MS)
    assert shell.committed("t", 0) == 5
    shell.advance(2 * CHECK_MS)
    assert len(shell.held) == 1, "one tombstone is enough"
    shell.release()
    assert shell.committed("t", 0) == -1


def test_a_commit_behind_a_tombstone_stays() -> None:
    shell = Shell()
    shell.commit(T0_AT_5)
    shell.commit([OffsetToCommit("u", 0, 1)], retention_time_ms=2 * RETENTION_MS)
    shell.holds_writes = True
    shell.advance(RETENTION_MS + CHECK_MS)
    shell.commit([OffsetToCommit("t", 0, 7)])
    shell.release()
    assert shell.committed("t", 0) == 7
    shell.restart()
    assert shell.committed("t", 0) == 7


def test_a_round_of_expiry_is_cut_into_turns() -> None:
    shell = Shell(GroupConfig(offsets_retention_ms=1000))
    for group in range(5):
        shell.commit([OffsetToCommit("t", i, 1) for i in range(OFFSETS_A_TURN // 2)], group_id=f"g{group}")
    shell.advance(CHECK_MS)
    assert shell.shard.group_count == 3, "a turn takes two such groups"
    shell.advance(1)
    assert shell.shard.group_count == 1
    shell.advance(1)
    assert shell.shard.group_count == 0
    shell.advance(CHECK_MS)
    assert shell.shard.next_deadline_ms is None, "there is nothing left to look at"


def test_many_tombstones_go_in_batches_that_fit() -> None:
    shell = Shell()
    (member,) = shell.stable()
    topic = "t" * 249
    shell.commit([OffsetToCommit(topic, i, 1) for i in range(3000)], member_id=member.member_id, generation_id=1)
    shell.leave(member.member_id)
    shell.holds_writes = True
    ticket = shell.delete_groups("g")
    sizes = [sum(len(key) + 32 for key, _ in write.records) for write in shell.held]
    assert len(sizes) > 3
    assert max(sizes) < BATCH_BYTES + 400
    while shell.held:
        assert shell.waits(ticket)
        shell.commit_next()
    assert shell.answer(ticket) == [0]
    assert read_key(shell.log[-1][1][0]) == GroupKey("g")
    shell.restart()
    assert shell.shard.group_count == 0


def test_a_group_of_which_a_part_could_not_be_removed_keeps_that_part() -> None:
    shell = Shell()
    topic = "t" * 249
    shell.commit([OffsetToCommit(topic, i, 1) for i in range(2000)])
    shell.holds_writes = True
    ticket = shell.delete_groups("g")
    shell.fail_next(NotLeaderOrFollowerError())
    shell.release()
    assert shell.answer(ticket) == [NotCoordinatorError.code]
    assert shell.state() == "Empty"
    left = shell.shard.offset_count
    assert 0 < left < 2000
    shell.restart()
    assert shell.shard.offset_count == left


# Deleting groups


def test_groups_are_deleted_with_all_they_have() -> None:
    shell = Shell()
    (member,) = shell.stable(group_id="had members")
    shell.commit(T0_AT_5, group_id="had members", member_id=member.member_id, generation_id=1)
    shell.leave(member.member_id, group_id="had members")
    shell.commit(T0_AT_5, group_id="simple")
    shell.stable(group_id="in use")
    codes = shell.answer(shell.delete_groups("had members", "unknown", "in use", "simple"))
    assert codes == [0, GroupIdNotFoundError.code, NonEmptyGroupError.code, 0]
    assert [group.group_id for group in shell.shard.list_groups()] == ["in use"]
    assert shell.committed("t", 0, group_id="simple") == -1
    shell.restart()
    assert [group.group_id for group in shell.shard.list_groups()] == ["in use"]
    assert shell.shard.deleted_offsets == 0, "a new shard counts anew"


def test_a_group_named_twice_is_deleted_once() -> None:
    shell = Shell()
    shell.commit(T0_AT_5)
    assert shell.answer(shell.delete_groups("g", "g")) == [0, GroupIdNotFoundError.code]


def test_nobody_joins_or_commits_to_a_group_that_is_being_deleted() -> None:
    shell = Shell()
    shell.commit(T0_AT_5)
    shell.holds_writes = True
    ticket = shell.delete_groups("g")
    assert shell.waits(ticket)
    for refused in (
        shell.join(),
        shell.join(member_id="m"),
        shell.commit(T0_AT_5),
        shell.sync("m", 1),
        shell.leave("m"),
    ):
        assert shell.refusal(refused) is CoordinatorNotAvailableError
    with pytest.raises(CoordinatorNotAvailableError):
        shell.heartbeat("m", 1)
    assert shell.answer(shell.delete_groups("g")) == [GroupIdNotFoundError.code]
    assert shell.refusal(shell.delete_offsets(("t", 0))) is GroupIdNotFoundError
    assert shell.shard.list_groups() == []
    shell.release()
    assert shell.answer(ticket) == [0]
    shell.holds_writes = False
    shell.join()
    shell.advance(DELAY_MS)
    assert shell.state() == "CompletingRebalance"


def test_a_deletion_that_could_not_be_written_leaves_the_group_as_it_was() -> None:
    shell = Shell()
    (member,) = shell.stable()
    shell.commit(T0_AT_5, member_id=member.member_id, generation_id=1)
    shell.leave(member.member_id)
    emptied_ms = shell.now_ms
    shell.advance(HOUR_MS)
    shell.holds_writes = True
    ticket = shell.delete_groups("g")
    shell.fail_next(NotLeaderOrFollowerError())
    assert shell.answer(ticket) == [NotCoordinatorError.code]
    assert (shell.state(), shell.committed("t", 0)) == ("Empty", 5)
    shell.holds_writes = False
    shell.advance(emptied_ms + RETENTION_MS + CHECK_MS - shell.now_ms)
    assert shell.shard.group_count == 0, "it has been empty since its last member left"


def test_a_commit_on_its_way_is_deleted_with_its_group() -> None:
    shell = Shell()
    shell.holds_writes = True
    committing = shell.commit(T0_AT_5)
    deleting = shell.delete_groups("g")
    shell.release()
    assert (shell.answer(committing), shell.answer(deleting)) == ([0], [0])
    assert shell.shard.group_count == 0
    shell.restart()
    assert shell.shard.group_count == 0


def test_a_pending_member_of_a_deleted_group_begins_anew() -> None:
    shell = Shell()
    shell.commit(T0_AT_5)
    member_id = shell.answer(shell.join(requires_known_member_id=True)).member_id
    assert shell.answer(shell.delete_groups("g")) == [0]
    assert shell.refusal(shell.join(member_id=member_id)) is UnknownMemberIdError
    assert shell.shard.group_count == 0


# Deleting offsets


def test_offsets_of_a_group_without_members_are_deleted() -> None:
    shell = Shell()
    shell.commit([*T0_AT_5, OffsetToCommit("t", 1, 6)])
    assert shell.answer(shell.delete_offsets(("t", 0), ("t", 9))) == [0, 0]
    assert (shell.committed("t", 0), shell.committed("t", 1)) == (-1, 6)
    assert len(shell.log) == 3, "what is not there needs no tombstone"
    shell.restart()
    assert shell.committed("t", 0) == -1


def test_offsets_that_a_consumer_is_subscribed_to_are_kept() -> None:
    shell = Shell()
    member_id = consumer_of(shell, "t")
    shell.commit([*T0_AT_5, OffsetToCommit("u", 0, 6)], member_id=member_id, generation_id=1)
    assert shell.answer(shell.delete_offsets(("t", 0), ("u", 0))) == [GroupSubscribedToTopicError.code, 0]
    assert (shell.committed("t", 0), shell.committed("u", 0)) == (5, -1)


def test_to_be_safe_every_topic_counts_as_subscribed_when_it_cannot_be_told() -> None:
    shell = Shell()
    shell.stable(protocols=[("range", b"?")])
    assert shell.answer(shell.delete_offsets(("t", 0))) == [GroupSubscribedToTopicError.code]


def test_offsets_of_members_that_are_no_consumers_are_kept() -> None:
    shell = Shell()
    shell.stable(protocol_type="connect")
    assert shell.refusal(shell.delete_offsets(("t", 0))) is NonEmptyGroupError


def test_offsets_of_unknown_groups_are_not_deleted() -> None:
    shell = Shell()
    assert shell.refusal(shell.delete_offsets(("t", 0))) is GroupIdNotFoundError
    assert shell.refusal(shell.delete_offsets(("t", 0), group_id="")) is InvalidGroupIdError


def test_a_group_whose_last_offset_is_deleted_and_had_no_members_is_gone() -> None:
    shell = Shell()
    shell.commit(T0_AT_5)
    shell.delete_offsets(("t", 0))
    assert shell.shard.group_count == 0


def test_offsets_whose_tombstone_could_not_be_written_stay() -> None:
    shell = Shell()
    shell.commit(T0_AT_5)
    shell.holds_writes = True
    ticket = shell.delete_offsets(("t", 0))
    shell.fail_next(NotLeaderOrFollowerError())
    assert shell.answer(ticket) == [NotCoordinatorError.code]
    assert shell.committed("t", 0) == 5


# Deleted topics


def test_offsets_go_with_their_topic_in_every_group_and_state() -> None:
    shell = Shell()
    member_id = consumer_of(shell, "t", "u")
    shell.commit([*T0_AT_5, OffsetToCommit("u", 0, 6)], member_id=member_id, generation_id=1)
    shell.commit(T0_AT_5, group_id="simple")
    shell.topics_deleted("t", "unknown")
    assert (shell.committed("t", 0), shell.committed("u", 0)) == (-1, 6)
    assert shell.committed("t", 0, group_id="simple") == -1
    assert shell.state() == "Stable"
    shell.restart()
    assert (shell.committed("t", 0), shell.committed("u", 0)) == (-1, 6)


def test_a_commit_on_its_way_goes_with_its_topic() -> None:
    shell = Shell()
    shell.holds_writes = True
    shell.commit(T0_AT_5)
    shell.topics_deleted("t")
    shell.release()
    assert shell.committed("t", 0) == -1
    shell.restart()
    assert shell.committed("t", 0) == -1


def test_deleting_topics_that_nobody_read_writes_nothing() -> None:
    shell = Shell()
    shell.commit(T0_AT_5)
    shell.topics_deleted("u")
    assert len(shell.log) == 1
