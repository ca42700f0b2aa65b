"""How fast are groups: commits a second, heartbeats a second, and how long a large group takes to settle.

Each row is the coordinator's own time: requests decoded, decisions taken, records built into batches, answers
encoded; what the socket and the disk cost is in the side-by-side runs. The promises are asserted: 10,000 commits a
second on one core, and 100 members over 1,000 partitions that settle in less than a second.
"""

import time
from collections.abc import Callable
from typing import Any

import pytest

from kstore._native.builder import BatchBuilder
from kstore.coordinator.group.config import GroupConfig
from kstore.coordinator.group.requests import CommitRequest, JoinRequest, OffsetToCommit, SyncRequest
from kstore.coordinator.group.results import Decision, JoinResult, SyncResult
from kstore.coordinator.group.shard import GroupShard
from kstore.protocol.headers import encode_response_header
from kstore.protocol.messages.join_group import JoinGroupRequest, JoinGroupResponse
from kstore.protocol.messages.offset_commit import OffsetCommitRequest, OffsetCommitResponse
from kstore.protocol.messages.sync_group import SyncGroupRequest, SyncGroupResponse

NOW_MS = 1_700_000_000_000
MEMBERS, PARTITIONS = 100, 1000
COMMIT_VERSION, JOIN_VERSION, SYNC_VERSION = 8, 9, 5
COMMITS = 1000
SESSION_MS = 45_000


class Coordinator:
    """A shard whose writes are committed at once, as batches that a log could take."""

    def __init__(self) -> None:
        self.now_ms = NOW_MS
        self.shard = GroupShard(0, GroupConfig())
        self.shard.loaded(NOW_MS)
        self.answers: dict[object, Any] = {}
        self.end_offset = 0

    def take(self, decision: Decision) -> None:
        self.answers.update(decision.answers)
        for write in decision.writes:
            builder = BatchBuilder(base_offset=self.end_offset)
            for key, value in write.records:
                builder.append(self.now_ms, key, value)
            builder.build()
            base_offset, self.end_offset = self.end_offset, self.end_offset + len(write.records)
            self.take(self.shard.committed(write, base_offset=base_offset, monotonic_ms=self.now_ms))

    def initial_delay_passes(self) -> None:
        for _ in range(2):
            self.now_ms += GroupConfig().initial_rebalance_delay_ms
            self.take(self.shard.tick(self.now_ms))

    def commit(self, ticket: object, frame: bytes) -> bytes:
        request = OffsetCommitRequest.decode(frame, 0, len(frame), COMMIT_VERSION)
        offsets = [
            OffsetToCommit(
                topic.name,
                one.partition_index,
                one.committed_offset,
                one.committed_leader_epoch,
                one.committed_metadata,
            )
            for topic in request.topics
            for one in topic.partitions
        ]
        wanted = CommitRequest(
            request.group_id,
            request.member_id,
            request.group_instance_id,
            request.generation_id_or_member_epoch,
            offsets,
        )
        self.take(self.shard.commit_offsets(ticket, wanted, self.now_ms))
        codes = iter(self.answers.pop(ticket))
        response = OffsetCommitResponse(
            topics=[
                OffsetCommitResponse.OffsetCommitResponseTopic(
                    name=topic.name,
                    partitions=[
                        OffsetCommitResponse.OffsetCommitResponsePartition(
                            partition_index=one.partition_index, error_code=next(codes)
                        )
                        for one in topic.partitions
                    ],
                )
                for topic in request.topics
            ]
        )
        return response.encode_frame(COMMIT_VERSION, encode_response_header(8, COMMIT_VERSION, 1))

    def join(self, ticket: object, frame: bytes) -> None:
        request = JoinGroupRequest.decode(frame, 0, len(frame), JOIN_VERSION)
        wanted = JoinRequest(
            request.group_id,
            request.member_id,
            request.group_instance_id,
            "client",
            "/127.0.0.1",
            request.session_timeout_ms,
            request.rebalance_timeout_ms,
            request.protocol_type,
            [(protocol.name, protocol.metadata) for protocol in request.protocols],
            requires_known_member_id=True,
        )
        self.take(self.shard.join_group(ticket, wanted, self.now_ms))

    def sync(self, ticket: object, frame: bytes) -> None:
        request = SyncGroupRequest.decode(frame, 0, len(frame), SYNC_VERSION)
        wanted = SyncRequest(
            request.group_id,
            request.member_id,
            request.group_instance_id,
            request.generation_id,
            request.protocol_type,
            request.protocol_name,
            [(one.member_id, one.assignment) for one in request.assignments],
        )
        self.take(self.shard.sync_group(ticket, wanted, self.now_ms))


def subscription() -> bytes:
    return b"\x00\x01\x00\x00\x00\x01\x00\x06orders\xff\xff\xff\xff" + bytes(4)


def join_frame(member_id: str) -> bytes:
    protocols = [
        JoinGroupRequest.JoinGroupRequestProtocol(name=name, metadata=subscription())
        for name in ("range", "cooperative-sticky")
    ]
    return JoinGroupRequest(
        group_id="g",
        member_id=member_id,
        session_timeout_ms=SESSION_MS,
        rebalance_timeout_ms=300_000,
        protocol_type="consumer",
        protocols=protocols,
    ).encode(JOIN_VERSION)


def join_answer(result: JoinResult) -> bytes:
    members = [
        JoinGroupResponse.JoinGroupResponseMember(
            member_id=member.member_id, group_instance_id=member.group_instance_id, metadata=member.metadata
        )
        for member in result.members
    ]
    response = JoinGroupResponse(
        generation_id=result.generation_id,
        protocol_type=result.protocol_type,
        protocol_name=result.protocol_name,
        leader=result.leader,
        member_id=result.member_id,
        members=members,
    )
    return response.encode_frame(JOIN_VERSION, encode_response_header(11, JOIN_VERSION, 1))


def sync_frame(joined: JoinResult) -> bytes:
    """The leader gives everybody an equal share of the partitions."""
    share = PARTITIONS // MEMBERS
    assignments = [
        SyncGroupRequest.SyncGroupRequestAssignment(
            member_id=member.member_id,
            assignment=b"".join((share * index + i).to_bytes(4) for i in range(share)),
        )
        for index, member in enumerate(joined.members)
    ]
    return SyncGroupRequest(
        group_id="g",
        generation_id=joined.generation_id,
        member_id=joined.member_id,
        protocol_type="consumer",
        protocol_name=joined.protocol_name,
        assignments=assignments,
    ).encode(SYNC_VERSION)


def sync_answer(result: SyncResult) -> bytes:
    response = SyncGroupResponse(
        protocol_type=result.protocol_type, protocol_name=result.protocol_name, assignment=result.assignment
    )
    return response.encode_frame(SYNC_VERSION, encode_response_header(14, SYNC_VERSION, 1))


def settle() -> Coordinator:
    """All ask for an id, all join with it, all sync."""
    coordinator = Coordinator()
    tickets = [object() for _ in range(MEMBERS)]
    for ticket in tickets:
        coordinator.join(ticket, join_frame(""))
    ids = [coordinator.answers.pop(ticket).member_id for ticket in tickets]
    for ticket, member_id in zip(tickets, ids, strict=True):
        coordinator.join(ticket, join_frame(member_id))
    coordinator.initial_delay_passes()
    joined = [coordinator.answers.pop(ticket) for ticket in tickets]
    assert all(isinstance(result, JoinResult) for result in joined)
    for result in joined:
        join_answer(result)
    for ticket, result in zip(tickets, joined, strict=True):
        coordinator.sync(ticket, sync_frame(result))
    for ticket in tickets:
        sync_answer(coordinator.answers.pop(ticket))
    assert coordinator.shard.describe_group("g").state == "Stable"
    return coordinator


def commit_frame(partitions: int, coordinator: Coordinator) -> bytes:
    member_id = coordinator.shard.describe_group("g").members[0].member_id
    part = OffsetCommitRequest.OffsetCommitRequestPartition
    topic = OffsetCommitRequest.OffsetCommitRequestTopic(
        name="orders", partitions=[part(partition_index=index, committed_offset=1 << 33) for index in range(partitions)]
    )
    return OffsetCommitRequest(
        group_id="g", generation_id_or_member_epoch=1, member_id=member_id, topics=[topic]
    ).encode(COMMIT_VERSION)


@pytest.mark.benchmark(group="groups: a group of 100 members over 1,000 partitions")
def test_settle(measure: Callable[..., Any]) -> None:
    measure(settle, "groups settled", 1, rounds=10)
    began = time.perf_counter()
    settle()
    assert time.perf_counter() - began < 1


@pytest.mark.benchmark(group="groups: offsets committed, each request with its decoding, batch and answer")
@pytest.mark.parametrize("partitions", [1, 10, 100])
def test_commit(measure: Callable[..., Any], partitions: int) -> None:
    coordinator = settle()
    frame = commit_frame(partitions, coordinator)

    def commit() -> None:
        for _ in range(COMMITS):
            coordinator.commit(commit, frame)

    measure(commit, f"commits of {partitions} partitions", COMMITS, rounds=5 if partitions > 10 else 20)
    if partitions == 1:
        began = time.perf_counter()
        commit()
        assert COMMITS / (time.perf_counter() - began) > 10_000


@pytest.mark.benchmark(group="groups: what keeps members alive")
def test_heartbeat(measure: Callable[..., Any]) -> None:
    coordinator = settle()
    ids = [member.member_id for member in coordinator.shard.describe_group("g").members]

    def heartbeats() -> None:
        for member_id in ids:
            coordinator.shard.heartbeat("g", member_id, 1, None, NOW_MS)

    measure(heartbeats, "heartbeats decided", MEMBERS, rounds=200)


@pytest.mark.benchmark(group="groups: a shard is loaded")
def test_replay(measure: Callable[..., Any]) -> None:
    coordinator = settle()
    frame = commit_frame(PARTITIONS, coordinator)
    request = OffsetCommitRequest.decode(frame, 0, len(frame), COMMIT_VERSION)
    offsets = [
        OffsetToCommit("orders", one.partition_index, one.committed_offset) for one in request.topics[0].partitions
    ]
    decision = coordinator.shard.commit_offsets("", CommitRequest("g", request.member_id, None, 1, offsets), NOW_MS)
    (write,) = decision.writes

    def replay() -> None:
        shard = GroupShard(0, GroupConfig())
        for offset, (key, value) in enumerate(write.records):
            shard.replay(key, value, offset=offset)

    measure(replay, "records replayed", len(write.records))
