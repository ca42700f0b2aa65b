"""A shard of groups with everything that it needs around it, and nothing that waits: a clock that is moved by hand,
a log that is a list, and writes that succeed at once unless a test holds or fails them.

    shell = Shell()
    ticket = shell.join("g", client_id="a", requires_known_member_id=False)
    shell.advance(3000)
    assert shell.answer(ticket).generation_id == 1
"""

from collections.abc import Sequence
from typing import Any

from kstore.coordinator.group.config import GroupConfig
from kstore.coordinator.group.requests import (
    CommitRequest,
    JoinRequest,
    LeavingMember,
    OffsetToCommit,
    SyncRequest,
)
from kstore.coordinator.group.results import Decision, JoinResult, Record, SyncResult, Write
from kstore.coordinator.group.shard import GroupShard
from kstore.errors import KafkaError

START_MS = 1_700_000_000_000
DELAY_MS = GroupConfig().initial_rebalance_delay_ms
RANGE = (("range", b"range of somebody"),)
SESSION_MS = 10_000
REBALANCE_MS = 60_000


def subscription(*topics: str, version: int = 0) -> bytes:
    """What a consumer says it reads."""
    names = b"".join(len(name).to_bytes(2) + name for name in map(str.encode, topics))
    return version.to_bytes(2) + len(topics).to_bytes(4) + names + b"\xff\xff\xff\xff"


class Shell:
    def __init__(self, config: GroupConfig | None = None) -> None:
        self.config = config or GroupConfig()
        self.now_ms = START_MS
        self.log: list[tuple[int, Record]] = []  # the base offset of its batch, and the record
        self.end_offset = 0
        self.answers: dict[str, Any] = {}
        self.asked: list[str] = []
        self.holds_writes = False
        self.held: list[Write] = []
        self.ids = 0
        self.shard = self._new_shard()
        self.take(self.shard.loaded(self.now_ms))

    def _new_shard(self) -> GroupShard:
        return GroupShard(0, self.config, new_id=self._new_id)

    def _new_id(self) -> str:
        self.ids += 1
        return f"id{self.ids}"

    # What happens to decisions

    def take(self, decision: Decision) -> None:
        for ticket, result in decision.answers:
            assert isinstance(ticket, str)
            assert ticket in self.asked, f"{ticket} was never asked"
            assert ticket not in self.answers, f"{ticket} is answered twice"
            self.answers[ticket] = result
        self.held += decision.writes
        if not self.holds_writes:
            self.release()

    def release(self) -> None:
        """Commits what is held, and what follows from it."""
        while self.held:
            self.commit_next()

    def commit_next(self) -> None:
        write = self.held.pop(0)
        base_offset = self.end_offset
        self.log += [(base_offset, record) for record in write.records]
        self.end_offset += len(write.records)
        self.take(self.shard.committed(write, base_offset=base_offset, monotonic_ms=self.now_ms))

    def fail_next(self, error: KafkaError) -> None:
        self.take(self.shard.append_failed(self.held.pop(0), error, self.now_ms))

    def advance(self, milliseconds: int) -> None:
        """Lets time pass, deadline by deadline."""
        end_ms = self.now_ms + milliseconds
        while (deadline := self.shard.next_deadline_ms) is not None and deadline <= end_ms:
            self.now_ms = max(self.now_ms, deadline)
            self.take(self.shard.tick(self.now_ms))
        self.now_ms = end_ms

    def restart(self, config: GroupConfig | None = None) -> None:
        """What was in flight is lost, and nobody's answer comes any more."""
        self.config = config or self.config
        self.take(self.shard.unload())
        self.held.clear()
        self.shard = self._new_shard()
        for base_offset, (key, value) in self.log:
            self.shard.replay(key, value, offset=base_offset)
        self.take(self.shard.loaded(self.now_ms))

    # What is asked

    def _ticket(self, kind: str) -> str:
        ticket = f"{kind} {len(self.asked)}"
        self.asked.append(ticket)
        return ticket

    def waits(self, ticket: str) -> bool:
        return ticket in self.asked and ticket not in self.answers

    def answer(self, ticket: str) -> Any:
        assert ticket in self.answers, f"{ticket} has no answer"
        return self.answers[ticket]

    def refusal(self, ticket: str) -> type[KafkaError]:
        error = self.answer(ticket)
        assert isinstance(error, KafkaError), f"{ticket} was answered {error}"
        return type(error)

    def join(
        self,
        group_id: str = "g",
        *,
        member_id: str = "",
        group_instance_id: str | None = None,
        client_id: str = "client",
        protocols: Sequence[tuple[str, bytes]] = RANGE,
        protocol_type: str = "consumer",
        session_timeout_ms: int = SESSION_MS,
        rebalance_timeout_ms: int = REBALANCE_MS,
        requires_known_member_id: bool = False,
        supports_skip_assignment: bool = True,
        reason: str | None = None,
    ) -> str:
        ticket = self._ticket("join")
        request = JoinRequest(
            group_id=group_id,
            member_id=member_id,
            group_instance_id=group_instance_id,
            client_id=client_id,
            client_host="/127.0.0.1",
            session_timeout_ms=session_timeout_ms,
            rebalance_timeout_ms=rebalance_timeout_ms,
            protocol_type=protocol_type,
            protocols=protocols,
            reason=reason,
            requires_known_member_id=requires_known_member_id,
            supports_skip_assignment=supports_skip_assignment,
        )
        self.take(self.shard.join_group(ticket, request, self.now_ms))
        return ticket

    def sync(
        self,
        member_id: str,
        generation_id: int,
        assignments: Sequence[tuple[str, bytes]] = (),
        *,
        group_id: str = "g",
        group_instance_id: str | None = None,
        protocol_type: str | None = "consumer",
        protocol_name: str | None = "range",
    ) -> str:
        ticket = self._ticket("sync")
        request = SyncRequest(
            group_id, member_id, group_instance_id, generation_id, protocol_type, protocol_name, assignments
        )
        self.take(self.shard.sync_group(ticket, request, self.now_ms))
        return ticket

    def heartbeat(
        self, member_id: str, generation_id: int, *, group_id: str = "g", group_instance_id: str | None = None
    ) -> None:
        self.shard.heartbeat(group_id, member_id, generation_id, group_instance_id, self.now_ms)

    def leave(self, *members: str | LeavingMember, group_id: str = "g") -> str:
        ticket = self._ticket("leave")
        leaving = [LeavingMember(member) if isinstance(member, str) else member for member in members]
        self.take(self.shard.leave_group(ticket, group_id, leaving, self.now_ms))
        return ticket

    def commit(
        self,
        offsets: Sequence[OffsetToCommit],
        *,
        group_id: str = "g",
        member_id: str = "",
        generation_id: int = -1,
        group_instance_id: str | None = None,
        retention_time_ms: int = -1,
    ) -> str:
        ticket = self._ticket("commit")
        request = CommitRequest(group_id, member_id, group_instance_id, generation_id, offsets, retention_time_ms)
        self.take(self.shard.commit_offsets(ticket, request, self.now_ms))
        return ticket

    def committed(self, topic: str, partition: int, *, group_id: str = "g") -> int:
        """The offset that a fetch gives, -1 for none."""
        ((_, (fetched,)),) = self.shard.fetch_offsets(group_id, [(topic, [partition])])
        assert fetched.error_code == 0
        return fetched.offset

    def delete_groups(self, *group_ids: str) -> str:
        ticket = self._ticket("delete groups")
        self.take(self.shard.delete_groups(ticket, group_ids, self.now_ms))
        return ticket

    def delete_offsets(self, *partitions: tuple[str, int], group_id: str = "g") -> str:
        ticket = self._ticket("delete offsets")
        self.take(self.shard.delete_offsets(ticket, group_id, partitions, self.now_ms))
        return ticket

    def topics_deleted(self, *topics: str) -> None:
        self.take(self.shard.topics_deleted(topics, self.now_ms))

    def state(self, group_id: str = "g") -> str:
        return self.shard.describe_group(group_id).state

    # What many tests begin with

    def new_generation(self, *tickets: str) -> list[JoinResult]:
        """The answers of joins that have all been given."""
        return [self.answer(ticket) for ticket in tickets]

    def assign(self, joined: Sequence[JoinResult], *, group_id: str = "g", instances: Sequence[str] = ()) -> None:
        """Every member syncs; each is assigned its own id."""
        given = [(member.member_id, member.member_id.encode()) for member in joined]
        for member, instance_id in zip(joined, instances or [None] * len(joined), strict=True):
            is_leader = member.member_id == member.leader
            ticket = self.sync(
                member.member_id,
                member.generation_id,
                given if is_leader else (),
                group_id=group_id,
                group_instance_id=instance_id,
                protocol_name=member.protocol_name,
                protocol_type=member.protocol_type,
            )
            assert self.waits(ticket) or isinstance(self.answer(ticket), SyncResult)

    def stable(self, count: int = 1, *, group_id: str = "g", **options: Any) -> list[JoinResult]:
        """A group of `count` dynamic members in generation 1, the first of them its leader."""
        tickets = [self.join(group_id, client_id=f"c{i}", **options) for i in range(count)]
        self.advance(DELAY_MS * (2 if count > 1 else 1))
        joined = self.new_generation(*tickets)
        self.assign(joined, group_id=group_id)
        assert self.state(group_id) == "Stable"
        return joined

    def stable_static(self, *instances: str, group_id: str = "g", **options: Any) -> list[JoinResult]:
        """The same of static members."""
        tickets = [self.join(group_id, group_instance_id=instance, **options) for instance in instances]
        self.advance(DELAY_MS * (2 if len(instances) > 1 else 1))
        joined = self.new_generation(*tickets)
        self.assign(joined, group_id=group_id, instances=instances)
        assert self.state(group_id) == "Stable"
        return joined
