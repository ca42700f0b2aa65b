"""Groups under any order of events: clients that join, sync, pause, leave, die and come back under other ids, writes
that are late or fail, a coordinator that restarts from its records in between.

After each step:
- in a generation every partition was given to one owner at most: a member, or whoever has its instance id;
- no commit that was acknowledged is lost, no offset that was once told is taken back, live or after a restart;
- nobody waits for ever: let the time pass, and every request that is parked is answered;
- what the shard knows agrees with itself, and with what its log would tell after a restart.
"""

import copy
import os
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kstore.coordinator.group.config import GroupConfig
from kstore.coordinator.group.group import Group
from kstore.coordinator.group.requests import LeavingMember, OffsetToCommit
from kstore.coordinator.group.results import JoinResult, SyncResult
from kstore.coordinator.group.shard import GroupShard
from kstore.coordinator.group.state import DEAD, EMPTY, PREPARING_REBALANCE, STABLE
from kstore.coordinator.group.turn import JOIN, SESSION, SYNC
from kstore.errors import (
    CoordinatorNotAvailableError,
    FencedInstanceIdError,
    GroupMaxSizeReachedError,
    KafkaError,
    MemberIdRequiredError,
    NotLeaderOrFollowerError,
    RequestTimedOutError,
    UnknownMemberIdError,
)
from tests.fix_groups import Shell, subscription

PARTITIONS = 5
# Sessions are 10 s, rebalances 60 s, a new member's patience 300 s: by then everything parked has had its turn twice.
PATIENCE_MS = 15 * 60_000
FORGETS_ITS_ID = (UnknownMemberIdError, FencedInstanceIdError, GroupMaxSizeReachedError)
PROTOCOLS = [
    (("range", subscription("t")), ("sticky", b"")),
    (("sticky", b""), ("range", subscription("t"))),
    (("range", subscription("t", "u")),),
]


class Client:
    """One process: it does what a consumer does next, and knows only what it was answered."""

    def __init__(self, name: str, instance: str | None, skips_assignment: bool) -> None:
        self.name = name
        self.instance = instance
        self.skips_assignment = skips_assignment
        self.protocols = PROTOCOLS[0]
        self.restart()

    def restart(self) -> None:
        self.is_dead = False
        self.member_id = ""
        self.ticket: str | None = None
        self.joined: JoinResult | None = None
        self.is_member = False  # it knows its assignment

    def rejoin(self) -> None:
        self.ticket = self.joined = None
        self.is_member = False

    def next_move(self, shell: Shell) -> str | None:
        """Takes in an answer that has come, or asks for what it needs next; the ticket of a sync."""
        if self.is_dead:
            return None
        if self.ticket is not None:
            if not shell.waits(self.ticket):
                self._answered(shell.answer(self.ticket))
            return None
        if self.joined is None:
            self.ticket = shell.join(
                member_id=self.member_id,
                group_instance_id=self.instance,
                client_id=self.name,
                protocols=self.protocols,
                requires_known_member_id=True,
                supports_skip_assignment=self.skips_assignment,
            )
        elif not self.is_member:
            self.ticket = shell.sync(
                self.member_id,
                self.joined.generation_id,
                self._assignments(),
                group_instance_id=self.instance,
                protocol_name=self.joined.protocol_name,
            )
            return self.ticket
        else:
            try:
                shell.heartbeat(self.member_id, self.joined.generation_id, group_instance_id=self.instance)
            except KafkaError as error:
                self._refused(error)
        return None

    def _assignments(self) -> list[tuple[str, bytes]]:
        joined = self.joined
        assert joined is not None
        if joined.leader != self.member_id or joined.skip_assignment:
            return []
        members = [member.member_id for member in joined.members]
        return [(member_id, bytes(range(i, PARTITIONS, len(members)))) for i, member_id in enumerate(members)]

    def _answered(self, answer: Any) -> None:
        self.ticket = None
        if isinstance(answer, MemberIdRequiredError):
            self.member_id = answer.member_id
        elif isinstance(answer, KafkaError):
            self._refused(answer)
        elif isinstance(answer, JoinResult):
            self.member_id, self.joined = answer.member_id, answer
        else:
            assert isinstance(answer, SyncResult)
            self.is_member = True

    def _refused(self, error: KafkaError) -> None:
        self.rejoin()
        if isinstance(error, FORGETS_ITS_ID):
            self.member_id = ""
        # As consumers do: else two processes under one instance would chase each other away for ever.
        self.is_dead = isinstance(error, FencedInstanceIdError)


NAMES = st.sampled_from(["d1", "d2", "d3", "s1", "s1 again", "s2"])


class GroupMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.shell = Shell()
        self.clients = {
            "d1": Client("d1", None, True),
            "d2": Client("d2", None, True),
            "d3": Client("d3", None, False),
            "s1": Client("s1", "one", True),
            "s1 again": Client("s1 again", "one", False),
            "s2": Client("s2", "two", False),
        }
        self.life = 0  # how often the group has begun anew, and its generations with it
        self.syncs: dict[str, tuple[int, int, str]] = {}  # ticket -> life, generation, owner
        self.owners: dict[tuple[int, int, int], str] = {}  # life, generation, partition -> owner
        self.commits: dict[str, list[OffsetToCommit]] = {}
        self.next_offset = 1
        self.floor = dict.fromkeys(range(PARTITIONS), -1)  # what a fetch may not fall below
        self.deletions: dict[str, list[int]] = {}  # ticket -> partitions whose offset may go
        self.ghosts: set[int] = set()  # partitions with a tombstone in the log that the shard takes for failed
        self.has_had_ghosts = False

    @initialize(delay_ms=st.sampled_from([0, 3000]), dead=st.sets(NAMES), rounds=st.integers(0, 6))
    def begins(self, delay_ms: int, dead: set[str], rounds: int) -> None:
        self.shell.config = GroupConfig(initial_rebalance_delay_ms=delay_ms)
        self.shell.shard.config = self.shell.config
        for name in {*dead, "s1 again"}:
            self.clients[name].is_dead = True
        for _ in range(rounds):
            self.all_go_on()

    # What clients do

    @rule(name=NAMES)
    def does_what_comes_next(self, name: str) -> None:
        client = self.clients[name]
        ticket = client.next_move(self.shell)
        if ticket is not None:
            assert client.joined is not None
            owner = client.instance or client.member_id
            self.syncs[ticket] = (self.life, client.joined.generation_id, owner)

    @rule()
    def all_do_what_comes_next(self) -> None:
        for name in self.clients:
            self.does_what_comes_next(name)

    @rule()
    def all_go_on(self) -> None:
        """As far as it takes to join, to sync and to be stable, when nothing comes between."""
        for _ in range(4):
            self.all_do_what_comes_next()
            self.all_do_what_comes_next()
            self.shell.advance(1500)

    @rule(quiet=st.sets(NAMES, min_size=1))
    def some_fall_silent(self, quiet: set[str]) -> None:
        """Until their session ends; the others go on."""
        for _ in range(3):
            for name in self.clients:
                if name not in quiet:
                    self.does_what_comes_next(name)
            self.shell.advance(4000)

    @rule(name=NAMES, protocols=st.sampled_from(PROTOCOLS))
    def wants_something_else(self, name: str, protocols: Any) -> None:
        self.clients[name].protocols = protocols
        self.clients[name].rejoin()

    @rule(name=NAMES)
    def leaves(self, name: str) -> None:
        client = self.clients[name]
        if client.member_id:
            self.shell.leave(LeavingMember(client.member_id, client.instance))
        client.restart()

    @rule(name=NAMES)
    def dies_and_comes_back_as_somebody_new(self, name: str) -> None:
        self.clients[name].restart()

    @rule(name=NAMES, partition=st.integers(0, PARTITIONS - 1))
    def commits_an_offset(self, name: str, partition: int) -> None:
        client = self.clients[name]
        generation_id = -1 if client.joined is None else client.joined.generation_id
        offsets = [OffsetToCommit("t", partition, self.next_offset)]
        self.next_offset += 1
        ticket = self.shell.commit(
            offsets, member_id=client.member_id, generation_id=generation_id, group_instance_id=client.instance
        )
        self.commits[ticket] = offsets

    # What administrators do

    @rule(instance=st.sampled_from(["one", "two"]))
    def an_instance_is_taken_out(self, instance: str) -> None:
        self.shell.leave(LeavingMember("", instance))

    @rule()
    def the_group_is_deleted(self) -> None:
        self.deletes(self.shell.delete_groups("g"), list(range(PARTITIONS)))

    @rule(partition=st.integers(0, PARTITIONS - 1))
    def an_offset_is_deleted(self, partition: int) -> None:
        self.deletes(self.shell.delete_offsets(("t", partition)), [partition])

    def deletes(self, ticket: str, partitions: list[int]) -> None:
        if self.shell.waits(ticket) or self.shell.answer(ticket) == [0]:
            self.deletions[ticket] = partitions
            # Commits before it in the log go with what is deleted.
            for known, (offset,) in list(self.commits.items()):
                if offset.partition in partitions:
                    del self.commits[known]

    @rule(size=st.integers(1, 6))
    def the_group_may_have_another_size(self, size: int) -> None:
        self.shell.config = self.shell.config._replace(max_size=size)
        self.shell.shard.config = self.shell.config

    # Time and the log

    @rule(milliseconds=st.sampled_from([1, 500, 2999, 3000, 9999, 10_000, 30_000, 60_000, 300_000, 700_000]))
    def time_passes(self, milliseconds: int) -> None:
        self.shell.advance(milliseconds)

    @rule()
    def the_log_becomes_slow(self) -> None:
        self.shell.holds_writes = True

    @rule()
    def the_log_catches_up(self) -> None:
        self.shell.holds_writes = False
        self.shell.release()

    @rule(fates=st.lists(st.sampled_from(["later", "later", "written", "failed"]), min_size=4, max_size=12))
    def all_go_on_while_writes_are_late(self, fates: list[str]) -> None:
        self.shell.holds_writes = True
        for fate in fates:
            self.all_do_what_comes_next()
            self.shell.advance(1000)
            if self.shell.held and fate == "written":
                self.shell.commit_next()
            elif self.shell.held and fate == "failed":
                self.shell.fail_next(NotLeaderOrFollowerError())
            self.a_group_that_is_gone_begins_anew()
        self.the_log_catches_up()

    @precondition(lambda self: self.shell.held)
    @rule()
    def a_write_is_committed(self) -> None:
        self.shell.commit_next()

    @precondition(lambda self: self.shell.held)
    @rule(error=st.sampled_from([NotLeaderOrFollowerError(), RequestTimedOutError(), CoordinatorNotAvailableError()]))
    def a_write_fails(self, error: KafkaError) -> None:
        self.shell.fail_next(error)

    @precondition(lambda self: self.shell.held)
    @rule()
    def a_write_times_out_and_is_in_the_log(self) -> None:
        shell = self.shell
        records = shell.held[0].records
        shell.log += [(shell.end_offset, record) for record in records]
        shell.end_offset += len(records)
        self.has_had_ghosts = True
        if any(value is None for _, value in records):
            self.ghosts = set(range(PARTITIONS))
        shell.fail_next(RequestTimedOutError())

    @rule()
    def the_coordinator_restarts(self) -> None:
        self.shell.restart()

    # What must hold

    @invariant()
    def all_holds(self) -> None:
        self.a_group_that_is_gone_begins_anew()
        self.each_partition_has_one_owner_in_a_generation()
        self.no_commit_is_lost()
        self.nobody_waits_for_ever()
        self.the_shard_agrees_with_itself()
        self.the_log_would_tell_the_same()

    @property
    def group(self) -> Group | None:
        return self.shell.shard._state.groups.get("g")

    def a_group_that_is_gone_begins_anew(self) -> None:
        if self.group is None:
            self.life += 1
            self.floor = dict.fromkeys(self.floor, -1)

    def each_partition_has_one_owner_in_a_generation(self) -> None:
        for ticket in [ticket for ticket in self.syncs if not self.shell.waits(ticket)]:
            life, generation_id, owner = self.syncs.pop(ticket)
            answer = self.shell.answer(ticket)
            if isinstance(answer, SyncResult):
                for partition in answer.assignment:
                    known = self.owners.setdefault((life, generation_id, partition), owner)
                    assert known == owner, f"partition {partition} of generation {generation_id}: {known} and {owner}"

    def no_commit_is_lost(self) -> None:
        for ticket in [ticket for ticket in self.commits if not self.shell.waits(ticket)]:
            (offset,) = self.commits.pop(ticket)
            if self.shell.answer(ticket) == [0]:
                self.floor[offset.partition] = max(self.floor[offset.partition], offset.offset)
                self.ghosts.discard(offset.partition)
        undecided = set(self.ghosts)
        for ticket, partitions in list(self.deletions.items()):
            undecided.update(partitions)
            if not self.shell.waits(ticket):
                del self.deletions[ticket]
        for partition in self.floor:
            offset = self.shell.committed("t", partition)
            if partition in undecided or self.group is None:
                self.floor[partition] = -1
            elif self.group.state is not DEAD:
                floor = self.floor[partition]
                assert offset >= floor, f"partition {partition} is at {offset}, {floor} was acknowledged or told"
                self.floor[partition] = offset

    def nobody_waits_for_ever(self) -> None:
        future = copy.deepcopy(self.shell)
        future.holds_writes = False
        future.release()
        future.advance(PATIENCE_MS)
        waiting = [ticket for ticket in future.asked if future.waits(ticket)]
        assert not waiting, f"{waiting} are never answered"

    def the_shard_agrees_with_itself(self) -> None:
        group, timers = self.group, self.shell.shard._state.timers
        if group is None:
            return
        members = list(group.members.values())
        assert group.members_joining == sum(member.join_ticket is not None for member in members)
        assert group.static_members == {
            member.group_instance_id: member.member_id for member in members if member.group_instance_id is not None
        }
        assert all(member_id == member.member_id for member_id, member in group.members.items())
        assert group.pending_members.isdisjoint(group.members)
        assert group.pending_sync <= group.members.keys()
        assert (group.leader_id in group.members) if members else group.leader_id is None
        names = [name for member in members for name in member.protocol_names]
        assert group.supporters == {name: names.count(name) for name in names}
        assert not members or len(members) in group.supporters.values(), "a protocol is common to all"
        assert bool(members) <= (group.state not in (EMPTY, DEAD))
        assert (group.state is PREPARING_REBALANCE) == ((JOIN, "g") in timers)
        assert all(member.sync_ticket is None for member in members) or group.state.value == "CompletingRebalance"
        for member in members:
            has_session = (SESSION, "g", member.member_id) in timers
            assert has_session or member.needs_no_heartbeat, f"{member.member_id} is never given up"
        assert all((SESSION, "g", member_id) in timers for member_id in group.pending_members)
        assert not group.pending_sync or (SYNC, "g") in timers
        if not self.shell.held:
            assert not group.offsets.pending
            assert group.assignment_write is None
            assert group.tombstones is None
            assert group.state is not DEAD

    def the_log_would_tell_the_same(self) -> None:
        shell, live = self.shell, self.group
        if shell.held or self.has_had_ghosts or live is None or live.state is not STABLE:
            return
        shard = GroupShard(0, shell.config._replace(max_size=100))
        for base_offset, (key, value) in shell.log:
            shard.replay(key, value, offset=base_offset)
        shard.loaded(shell.now_ms)
        loaded, stored = live.describe(), shard.describe_group("g")
        assert sorted(stored.members) == sorted(loaded.members)
        assert stored[:4] == loaded[:4]
        assert shard._state.groups["g"].leader_id == live.leader_id
        assert shard._state.groups["g"].offsets.committed == live.offsets.committed


GroupMachine.TestCase.settings = settings(
    max_examples=int(os.environ.get("KSTORE_MODEL_EXAMPLES", "150")), stateful_step_count=50, deadline=None
)
TestGroupModel = GroupMachine.TestCase
