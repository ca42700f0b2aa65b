"""One group: its members, its generation, its state.

- The protocol types of all members are the same, and there is always a protocol that all of them support.
- A static member's `group.instance.id` maps to the one member id that may speak for it (KIP-345).
- A pending member has been given an id and not yet joined with it (KIP-394); it is nobody's member.
- `pending_sync` are those of the new generation who have not asked for their assignment yet.

What moves a group from state to state is in `rebalance` and `membership`; here are the facts and the small rules
that keep them together (GroupMetadata.scala, ClassicGroup.java).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from operator import attrgetter

from kstore.coordinator.group.member import Member
from kstore.coordinator.group.offsets import GroupOffsets, Partition
from kstore.coordinator.group.records import NO_STATE_TIMESTAMP, OffsetAndMetadata, StoredGroup, group_record
from kstore.coordinator.group.requests import Ticket
from kstore.coordinator.group.results import (
    DescribedMember,
    GroupDescription,
    GroupSummary,
    JoinedMember,
    ListedGroup,
    Record,
    Write,
)
from kstore.coordinator.group.state import (
    DEAD,
    EMPTY,
    ENTERED_FROM,
    PREPARING_REBALANCE,
    STABLE,
    GroupState,
)
from kstore.coordinator.group.subscription import CONSUMER_PROTOCOL_TYPE, subscribed_topics
from kstore.errors import FencedInstanceIdError, UnknownMemberIdError

GROUP_TYPE = "classic"
LAST_GENERATION = 0x7FFFFFFF

commit_timestamp_ms = attrgetter("commit_timestamp_ms")


class Group:
    __slots__ = (
        "assignment_write",
        "generation_id",
        "group_id",
        "initial_remaining_ms",
        "is_stored",
        "leader_id",
        "members",
        "members_joining",
        "new_member_added",
        "offsets",
        "pending_members",
        "pending_sync",
        "protocol_name",
        "protocol_type",
        "state",
        "state_timestamp_ms",
        "static_members",
        "subscribed_topics",
        "supporters",
        "tombstones",
    )

    def __init__(self, group_id: str, state_timestamp_ms: int) -> None:
        self.group_id = group_id
        self.state: GroupState = EMPTY
        self.state_timestamp_ms = state_timestamp_ms
        self.generation_id = 0
        self.protocol_type: str | None = None
        self.protocol_name: str | None = None
        self.leader_id: str | None = None
        self.members: dict[str, Member] = {}
        self.members_joining = 0  # how many of them have a join ticket
        self.supporters: dict[str, int] = {}  # protocol -> how many members support it
        self.static_members: dict[str, str] = {}  # group.instance.id -> member id
        self.pending_members: set[str] = set()
        self.pending_sync: set[str] = set()
        # Known from the join of a generation on; None where it cannot be known.
        self.subscribed_topics: frozenset[str] | None = None
        self.offsets = GroupOffsets()
        self.is_stored = False  # there may be a record of the group in the log
        # While the group fills for the first time: what may be added to the delay, and whether somebody came.
        self.initial_remaining_ms: int | None = None
        self.new_member_added = False
        self.assignment_write: Write | None = None  # of this generation, while it is in flight
        self.tombstones: Write | None = None  # the last of an expiry or removal in flight

    def __repr__(self) -> str:
        facts = f"{self.state.value}, generation {self.generation_id}, {len(self.members)} members"
        return f"group {self.group_id!r} ({facts})"

    # State

    def enter(self, state: GroupState, wall_ms: int) -> None:
        assert self.state in ENTERED_FROM[state], f"{self} cannot become {state.value}"
        self.state = state
        self.state_timestamp_ms = wall_ms

    def condemn(self) -> None:
        """Dead until its tombstone is in the log; since when it is empty stays known, should it return."""
        assert self.state in ENTERED_FROM[DEAD]
        self.state = DEAD

    def reprieve(self) -> None:
        assert self.state is DEAD
        self.state = EMPTY

    @property
    def can_rebalance(self) -> bool:
        return self.state in ENTERED_FROM[PREPARING_REBALANCE]

    @property
    def is_vacant(self) -> bool:
        """Nothing would be lost with it: no member, no offset, nothing in the log."""
        return (
            self.state is EMPTY
            and not self.members
            and not self.pending_members
            and not self.is_stored
            and not self.offsets
        )

    @property
    def is_consumer_group(self) -> bool:
        return self.protocol_type == CONSUMER_PROTOCOL_TYPE

    # Members

    def add(self, member: Member, protocol_type: str) -> None:
        if not self.members:
            self.protocol_type = protocol_type
        assert self.protocol_type == protocol_type, f"{self} is of type {self.protocol_type}, not {protocol_type}"
        if member.group_instance_id is not None:
            assert member.group_instance_id not in self.static_members, f"{self} has {member.group_instance_id!r}"
            self.static_members[member.group_instance_id] = member.member_id
        if self.leader_id is None:
            self.leader_id = member.member_id
        self.members[member.member_id] = member
        self._count_protocols(member, 1)
        self.members_joining += member.join_ticket is not None
        self.pending_members.discard(member.member_id)

    def remove(self, member_id: str) -> None:
        """Forgets a member or pending member; the next in line leads in its place."""
        member = self.members.pop(member_id, None)
        if member is not None:
            assert member.join_ticket is None, f"{member_id} waits to join"
            assert member.sync_ticket is None, f"{member_id} waits to sync"
            self._count_protocols(member, -1)
            if member.group_instance_id is not None:
                del self.static_members[member.group_instance_id]
        if self.leader_id == member_id:
            self.leader_id = next(iter(self.members), None)
        self.pending_members.discard(member_id)
        self.pending_sync.discard(member_id)

    def replace_static_member(self, old_member_id: str, new_member_id: str) -> Member:
        """The same member under another id; whoever speaks with the old one is fenced from now on."""
        member = self.members.pop(old_member_id)
        member.member_id = new_member_id
        self.members[new_member_id] = member
        assert member.group_instance_id is not None
        self.static_members[member.group_instance_id] = new_member_id
        if self.leader_id == old_member_id:
            self.leader_id = new_member_id
        if old_member_id in self.pending_sync:
            self.pending_sync.remove(old_member_id)
            self.pending_sync.add(new_member_id)
        return member

    def validate_member(self, member_id: str, group_instance_id: str | None) -> Member:
        """The member that may speak for this id. Raises FencedInstanceIdError or UnknownMemberIdError."""
        if group_instance_id is not None:
            current = self.static_members.get(group_instance_id)
            if current is None:
                raise UnknownMemberIdError(f"{self.group_id!r} has no instance {group_instance_id!r}")
            if current != member_id:
                raise FencedInstanceIdError(f"instance {group_instance_id!r} is member {current!r}, not {member_id!r}")
        member = self.members.get(member_id)
        if member is None:
            raise UnknownMemberIdError(f"{self.group_id!r} has no member {member_id!r}")
        return member

    def park_join(self, member: Member, ticket: Ticket) -> None:
        assert member.join_ticket is None
        member.join_ticket = ticket
        self.members_joining += 1

    def take_join_ticket(self, member: Member) -> Ticket | None:
        ticket, member.join_ticket = member.join_ticket, None
        self.members_joining -= ticket is not None
        return ticket

    @property
    def all_have_joined(self) -> bool:
        return self.members_joining == len(self.members) and not self.pending_members

    @property
    def rebalance_timeout_ms(self) -> int:
        return max((member.rebalance_timeout_ms for member in self.members.values()), default=0)

    def elect_joined_leader(self) -> bool:
        """Sees to it that a member that has joined leads; False when there is none."""
        leader = None if self.leader_id is None else self.members[self.leader_id]
        if leader is not None and leader.join_ticket is None:
            leader = next((member for member in self.members.values() if member.join_ticket is not None), None)
            if leader is not None:
                self.leader_id = leader.member_id
        return leader is not None

    # Protocols

    def supports(self, protocol_type: str, protocol_names: Collection[str]) -> bool:
        """May somebody with these protocols be a member?"""
        if self.state is EMPTY:
            return bool(protocol_type and protocol_names)
        return self.protocol_type == protocol_type and any(map(self._all_support, protocol_names))

    def _all_support(self, protocol_name: str) -> bool:
        return self.supporters.get(protocol_name, 0) == len(self.members)

    def _count_protocols(self, member: Member, change: int) -> None:
        for name in member.protocol_names:
            count = self.supporters.get(name, 0) + change
            if count:
                self.supporters[name] = count
            else:
                del self.supporters[name]

    def change_protocols(self, member: Member, protocols: Sequence[tuple[str, bytes]]) -> None:
        self._count_protocols(member, -1)
        member.protocols = tuple(protocols)
        self._count_protocols(member, 1)

    def select_protocol(self) -> str:
        """Each member votes for the first of its own that all support; the most votes win, the first at a draw."""
        candidates = set(filter(self._all_support, self.supporters))
        votes: dict[str, int] = {}
        for member in self.members.values():
            choice = member.vote(candidates)
            votes[choice] = votes.get(choice, 0) + 1
        return max(votes, key=votes.__getitem__)

    def begin_next_generation(self, state: GroupState, wall_ms: int) -> None:
        self.generation_id = (self.generation_id + 1) & LAST_GENERATION  # an int32 on the wire, and never negative
        self.protocol_name = self.select_protocol() if self.members else None
        self.subscribed_topics = self.read_subscriptions()
        self.pending_sync.clear()
        self.initial_remaining_ms = None
        self.new_member_added = False
        self.assignment_write = None
        self.enter(state, wall_ms)

    def read_subscriptions(self) -> frozenset[str] | None:
        """All topics that members of a consumer group read; None when that cannot be told."""
        if not self.is_consumer_group:
            return None
        if not self.members:
            return frozenset()
        if self.protocol_name is None:
            return None
        try:
            return frozenset().union(
                *(subscribed_topics(member.metadata(self.protocol_name)) for member in self.members.values())
            )
        except ValueError:
            return None  # not Kafka's own consumer protocol, though it goes by the name

    def is_subscribed_to(self, topic: str) -> bool:
        """To be safe also where it cannot be told."""
        return self.subscribed_topics is None or topic in self.subscribed_topics

    # Offsets

    def expired_offsets(self, *, wall_ms: int, retention_ms: int) -> list[Partition]:
        """Kafka's rules (KIP-211): of an empty group all offsets go some time after the last member went; of a
        stable consumer group those of topics that nobody subscribes to, by their commits; of a group that never
        had members each offset by its commit."""
        kept_topics: Collection[str] = ()
        since: Callable[[OffsetAndMetadata], int] = commit_timestamp_ms
        if self.protocol_type is not None and self.state is EMPTY:
            if self.state_timestamp_ms != NO_STATE_TIMESTAMP:
                since = lambda _: self.state_timestamp_ms  # noqa: E731
        elif self.protocol_type is not None:
            if not self.is_consumer_group or self.subscribed_topics is None or self.state is not STABLE:
                return []
            kept_topics = self.subscribed_topics
        return self.offsets.expired(
            wall_ms=wall_ms, retention_ms=retention_ms, base_timestamp_ms=since, kept_topics=kept_topics
        )

    # What others see

    def joined_members(self) -> Sequence[JoinedMember]:
        """For the leader, who assigns."""
        assert self.protocol_name is not None
        return [
            JoinedMember(member.member_id, member.group_instance_id, member.metadata(self.protocol_name))
            for member in self.members.values()
        ]

    def record(self, assignments: Mapping[str, bytes]) -> Record:
        self.is_stored = True
        stored = StoredGroup(
            protocol_type=self.protocol_type,
            generation_id=self.generation_id,
            protocol_name=self.protocol_name,
            leader=self.leader_id,
            state_timestamp_ms=self.state_timestamp_ms,
            members=list(self.members.values()),
        )
        return group_record(self.group_id, stored, assignments)

    def describe(self) -> GroupDescription:
        """Metadata and assignments are told of a stable group only."""
        protocol = self.protocol_name if self.state is STABLE else None
        members = [
            DescribedMember(
                member.member_id,
                member.group_instance_id,
                member.client_id,
                member.client_host,
                b"" if protocol is None else member.metadata(protocol),
                b"" if protocol is None else member.assignment,
            )
            for member in self.members.values()
        ]
        return GroupDescription(self.group_id, self.state.value, self.protocol_type or "", protocol or "", members)

    def summary(self) -> GroupSummary:
        committed = [(topic, list(partitions.items())) for topic, partitions in self.offsets.committed.items()]
        return GroupSummary(self.group_id, self.state.value, len(self.members), committed)

    def listed(self) -> ListedGroup:
        return ListedGroup(self.group_id, self.protocol_type or "", self.state.value, GROUP_TYPE)
