"""Committing offsets and fetching them (GroupCoordinatorTest, OffsetMetadataManagerTest)."""

import pytest

from kstore.coordinator.group.config import GroupConfig
from kstore.coordinator.group.records import OffsetKey, read_key, read_offset_value
from kstore.coordinator.group.requests import OffsetToCommit
from kstore.coordinator.group.results import FetchedOffset
from kstore.errors import (
    CoordinatorNotAvailableError,
    FencedInstanceIdError,
    IllegalGenerationError,
    InvalidCommitOffsetSizeError,
    InvalidGroupIdError,
    KafkaError,
    MessageTooLargeError,
    NotCoordinatorError,
    NotEnoughReplicasAfterAppendError,
    NotLeaderOrFollowerError,
    OffsetMetadataTooLargeError,
    RebalanceInProgressError,
    RecordListTooLargeError,
    RequestTimedOutError,
    UnknownMemberIdError,
    UnknownTopicOrPartitionError,
    UnstableOffsetCommitError,
)
from tests.fix_groups import DELAY_MS, START_MS, Shell

T0_AT_5 = [OffsetToCommit("t", 0, 5)]


def test_a_member_commits_and_anybody_fetches() -> None:
    shell = Shell()
    (member,) = shell.stable()
    offsets = [OffsetToCommit("t", 0, 5, 3, "note"), OffsetToCommit("u", 1, 6)]
    assert shell.answer(shell.commit(offsets, member_id=member.member_id, generation_id=1)) == [0, 0]
    assert shell.shard.fetch_offsets("g", [("t", [0, 1]), ("u", [1]), ("v", [0])]) == [
        ("t", [FetchedOffset(0, 5, 3, "note", 0), FetchedOffset(1, -1, -1, "", 0)]),
        ("u", [FetchedOffset(1, 6, -1, "", 0)]),
        ("v", [FetchedOffset(0, -1, -1, "", 0)]),
    ]


def test_all_offsets_are_fetched_when_none_are_named() -> None:
    shell = Shell()
    shell.commit([OffsetToCommit("t", 0, 5), OffsetToCommit("u", 1, 6), OffsetToCommit("t", 2, 7)])
    fetched = dict(shell.shard.fetch_offsets("g", None))
    assert {topic: [(one.partition, one.offset) for one in offsets] for topic, offsets in fetched.items()} == {
        "t": [(0, 5), (2, 7)],
        "u": [(1, 6)],
    }


def test_a_group_that_is_not_known_has_committed_nothing() -> None:
    shell = Shell()
    assert shell.shard.fetch_offsets("g", None) == []
    assert shell.shard.fetch_offsets("g", [("t", [0])]) == [("t", [FetchedOffset(0, -1, -1, "", 0)])]
    assert shell.shard.group_count == 0


def test_a_commit_is_a_record_of_kafkas_kind() -> None:
    shell = Shell()
    shell.commit([OffsetToCommit("t", 4, 5, 3, "note")])
    ((_, (key, value)),) = shell.log
    assert read_key(key) == OffsetKey("g", "t", 4)
    assert value is not None
    assert read_offset_value(value, 0)[:5] == (5, 3, "note", START_MS, -1)


def test_the_time_of_a_commit_is_the_wall_clocks() -> None:
    shell = Shell()
    shell.shard.wall_offset_ms = 1_000_000
    shell.commit(T0_AT_5)
    ((_, (_, value)),) = shell.log
    assert value is not None
    assert read_offset_value(value, 0).commit_timestamp_ms == START_MS + 1_000_000


def test_a_commit_is_known_to_nobody_before_it_is_in_the_log() -> None:
    shell = Shell()
    shell.commit(T0_AT_5)
    shell.holds_writes = True
    ticket = shell.commit([OffsetToCommit("t", 0, 6)])
    assert shell.waits(ticket)
    assert shell.committed("t", 0) == 5
    shell.release()
    assert shell.answer(ticket) == [0]
    assert shell.committed("t", 0) == 6


def test_an_offset_on_its_way_is_not_stable() -> None:
    shell = Shell()
    shell.commit(T0_AT_5)
    shell.holds_writes = True
    shell.commit([OffsetToCommit("t", 0, 6)])
    shell.commit([OffsetToCommit("t", 0, 7)])

    def fetch() -> FetchedOffset:
        ((_, (fetched,)),) = shell.shard.fetch_offsets("g", [("t", [0])], require_stable=True)
        return fetched

    unstable = FetchedOffset(0, -1, -1, "", UnstableOffsetCommitError.code)
    assert fetch() == unstable
    shell.commit_next()
    assert fetch() == unstable, "the later one is still on its way"
    shell.commit_next()
    assert fetch() == FetchedOffset(0, 7, -1, "", 0)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (UnknownTopicOrPartitionError(), CoordinatorNotAvailableError),
        (NotEnoughReplicasAfterAppendError(), CoordinatorNotAvailableError),
        (NotLeaderOrFollowerError(), NotCoordinatorError),
        (MessageTooLargeError(), InvalidCommitOffsetSizeError),
        (RecordListTooLargeError(), InvalidCommitOffsetSizeError),
        (RequestTimedOutError(), RequestTimedOutError),
    ],
)
def test_a_commit_that_could_not_be_written_is_told_and_forgotten(error: KafkaError, told: type[KafkaError]) -> None:
    shell = Shell()
    shell.commit(T0_AT_5)
    shell.holds_writes = True
    ticket = shell.commit([OffsetToCommit("t", 0, 6), OffsetToCommit("t", 1, 6, metadata="x" * 5000)])
    shell.fail_next(error)
    assert shell.answer(ticket) == [told.code, OffsetMetadataTooLargeError.code]
    assert shell.committed("t", 0) == 5
    assert shell.shard.fetch_offsets("g", [("t", [0])], require_stable=True)[0][1][0].offset == 5


def test_a_group_whose_first_commit_fails_is_no_group() -> None:
    shell = Shell()
    shell.holds_writes = True
    shell.commit(T0_AT_5)
    shell.fail_next(NotLeaderOrFollowerError())
    assert shell.shard.group_count == 0


def test_metadata_beyond_the_limit_is_refused_for_its_partition_alone() -> None:
    shell = Shell(GroupConfig(offset_metadata_max_bytes=4))
    offsets = [OffsetToCommit("t", 0, 5, metadata="1234"), OffsetToCommit("t", 1, 5, metadata="12345")]
    assert shell.answer(shell.commit(offsets)) == [0, OffsetMetadataTooLargeError.code]
    assert (shell.committed("t", 0), shell.committed("t", 1)) == (5, -1)
    assert shell.answer(shell.commit(offsets[1:])) == [OffsetMetadataTooLargeError.code]


def test_metadata_that_no_record_can_hold_is_refused_whatever_the_limit() -> None:
    shell = Shell(GroupConfig(offset_metadata_max_bytes=1 << 20))
    codes = shell.answer(shell.commit([OffsetToCommit("t", 0, 5, metadata="ü" * 20_000)]))
    assert codes == [OffsetMetadataTooLargeError.code]


def test_a_commit_of_nothing_is_answered() -> None:
    shell = Shell()
    assert shell.answer(shell.commit([])) == []
    assert shell.shard.group_count == 0


def test_who_assigns_itself_commits_without_membership() -> None:
    shell = Shell()
    assert shell.answer(shell.commit(T0_AT_5)) == [0]
    assert shell.state() == "Empty"
    assert shell.shard.describe_group("g").protocol_type == ""


def test_the_group_without_a_name_may_commit_and_no_more() -> None:
    shell = Shell()
    shell.commit(T0_AT_5, group_id="")
    assert shell.committed("t", 0, group_id="") == 5
    assert shell.refusal(shell.join("")) is InvalidGroupIdError


def test_a_generation_in_an_unknown_group_is_refused() -> None:
    shell = Shell()
    assert shell.refusal(shell.commit(T0_AT_5, member_id="m", generation_id=1)) is IllegalGenerationError
    assert shell.shard.group_count == 0


def test_a_commit_is_refused_for_what_does_not_fit() -> None:
    shell = Shell()
    (member,) = shell.stable()
    member_id = member.member_id
    assert shell.refusal(shell.commit(T0_AT_5)) is UnknownMemberIdError
    assert shell.refusal(shell.commit(T0_AT_5, member_id="stranger", generation_id=1)) is UnknownMemberIdError
    assert shell.refusal(shell.commit(T0_AT_5, member_id=member_id, generation_id=2)) is IllegalGenerationError
    assert shell.refusal(shell.commit(T0_AT_5, member_id=member_id)) is IllegalGenerationError
    assert shell.committed("t", 0) == -1


def test_a_fenced_static_member_cannot_commit() -> None:
    shell = Shell()
    (old,) = shell.stable_static("i")
    shell.join(group_instance_id="i")
    ticket = shell.commit(T0_AT_5, member_id=old.member_id, generation_id=1, group_instance_id="i")
    assert shell.refusal(ticket) is FencedInstanceIdError


def test_the_last_generation_commits_while_members_join() -> None:
    shell = Shell()
    leader, follower = shell.stable(2)
    shell.join(member_id=leader.member_id)
    assert shell.answer(shell.commit(T0_AT_5, member_id=follower.member_id, generation_id=1)) == [0]


def test_nobody_commits_while_the_leader_assigns() -> None:
    shell = Shell()
    ticket = shell.join()
    shell.advance(DELAY_MS)
    member_id = shell.answer(ticket).member_id
    refusal = shell.refusal(shell.commit(T0_AT_5, member_id=member_id, generation_id=1))
    assert refusal is RebalanceInProgressError


def test_an_empty_groups_offsets_may_be_set_by_an_administrator() -> None:
    shell = Shell()
    (member,) = shell.stable()
    shell.commit(T0_AT_5, member_id=member.member_id, generation_id=1)
    shell.leave(member.member_id)
    assert shell.answer(shell.commit([OffsetToCommit("t", 0, 0)])) == [0]
    assert shell.committed("t", 0) == 0


def test_offsets_outlive_members_generations_and_restarts() -> None:
    shell = Shell()
    (member,) = shell.stable()
    shell.commit(T0_AT_5, member_id=member.member_id, generation_id=1)
    shell.leave(member.member_id)
    shell.restart()
    assert shell.committed("t", 0) == 5


def test_retention_asked_for_by_an_old_client_is_kept_with_the_offset() -> None:
    shell = Shell()
    shell.commit(T0_AT_5, retention_time_ms=1000)
    ((_, (_, value)),) = shell.log
    assert value is not None
    assert read_offset_value(value, 0).expire_timestamp_ms == START_MS + 1000
    shell.commit(T0_AT_5, retention_time_ms=(1 << 63) - 1)
    assert shell.committed("t", 0) == 5
