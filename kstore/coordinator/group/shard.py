"""One partition of `__consumer_offsets`: all groups whose records it holds.

Deciding calls return a Decision and refuse by an answer; asking calls return what was asked for and refuse by
raising. Between calls there is nothing but data: `next_deadline_ms` says when `tick` has something to do.

Every write is followed by `committed` or `append_failed`, in the order of the writes. Until then nobody is told of
what it holds. While the log is being replayed requests are answered as Kafka answers them in that time: heartbeats
are taken for good, a sync is sent to join again, everything else to come back later.
"""

import os
from collections.abc import Callable, Collection, Iterator, Sequence

from kstore.coordinator.group import cleanup, committing, joining, loading, membership, rebalance
from kstore.coordinator.group.config import GroupConfig
from kstore.coordinator.group.group import GROUP_TYPE, Group
from kstore.coordinator.group.records import is_too_long
from kstore.coordinator.group.requests import (
    UNKNOWN_MEMBER_ID,
    CommitRequest,
    JoinRequest,
    LeavingMember,
    SyncRequest,
    Ticket,
)
from kstore.coordinator.group.results import (
    NOTHING,
    Decision,
    FetchedOffset,
    GroupDescription,
    GroupSummary,
    LeaveResult,
    LeftMember,
    ListedGroup,
    Write,
)
from kstore.coordinator.group.state import DEAD
from kstore.coordinator.group.turn import EXPIRY, JOIN, SESSION, SYNC, GroupWrite, ShardState, Turn
from kstore.coordinator.timers import Key
from kstore.errors import (
    CoordinatorLoadInProgressError,
    GroupIdNotFoundError,
    IllegalGenerationError,
    InvalidGroupIdError,
    InvalidRequestError,
    InvalidSessionTimeoutError,
    KafkaError,
    NotCoordinatorError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)

# Room in a member id for the dash and the id that make it unique.
UNIQUE_PART_BYTES = 64
# Assignors of one client: it has two or three. All of a group's members are compared in each.
MAX_PROTOCOLS = 1000


def random_id() -> str:
    """A random UUID in its usual spelling, without the cost of importing `uuid`."""
    text = os.urandom(16).hex()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


class GroupShard:
    def __init__(self, partition: int, config: GroupConfig, *, new_id: Callable[[], str] = random_id) -> None:
        self.partition = partition
        self.is_loaded = False
        # Why the log could not be read: nobody waits for what will not come.
        self.failure: KafkaError | None = None
        self._new_id = new_id
        self._state = ShardState(config)

    # What the shell sets and watches

    @property
    def config(self) -> GroupConfig:
        return self._state.config

    @config.setter
    def config(self, config: GroupConfig) -> None:
        self._state.config = config

    @property
    def wall_offset_ms(self) -> int:
        """What to add to `monotonic_ms` for milliseconds since 1970."""
        return self._state.wall_offset_ms

    @wall_offset_ms.setter
    def wall_offset_ms(self, wall_offset_ms: int) -> None:
        self._state.wall_offset_ms = wall_offset_ms

    @property
    def next_deadline_ms(self) -> int | None:
        return self._state.timers.next_deadline_ms

    @property
    def group_count(self) -> int:
        return len(self._state.groups)

    @property
    def offset_count(self) -> int:
        return sum(len(group.offsets) for group in self._state.groups.values())

    def summaries(self) -> Iterator[GroupSummary]:
        return (group.summary() for group in self._state.groups.values())

    @property
    def completed_rebalances(self) -> int:
        return self._state.completed_rebalances

    @property
    def committed_offsets(self) -> int:
        return self._state.committed_offsets

    @property
    def expired_offsets(self) -> int:
        return self._state.expired_offsets

    @property
    def deleted_offsets(self) -> int:
        return self._state.deleted_offsets

    # Its life

    def replay(self, key: bytes, value: bytes | None, *, offset: int, producer_id: int | None = None) -> None:
        """One record of the log, in its order; `offset` is the base offset of its batch and `producer_id` that of a
        transactional one. Raises CorruptRecordError, and the next record may be replayed all the same."""
        assert not self.is_loaded
        loading.replay(self._state, key, value, offset=offset, producer_id=producer_id)

    def replay_marker(self, producer_id: int, *, commit: bool) -> None:
        """A control batch that ends a transaction."""
        loading.replay_marker(self._state, producer_id, commit=commit)

    def loaded(self, monotonic_ms: int) -> Decision:
        self.is_loaded = True
        turn = Turn(self._state, monotonic_ms)
        loading.start(turn)
        return self._decision(turn)

    def unload(self, error: KafkaError | None = None) -> Decision:
        """Another broker coordinates from now on, or none: whoever waits is told so."""
        error = error or NotCoordinatorError(
            f"partition {self.partition} of the offsets topic is not led here any more"
        )
        turn = Turn(self._state, 0)
        for group in self._state.groups.values():
            for member in group.members.values():
                rebalance.release(group, member, turn, error)
        for write in self._state.in_flight:
            for ticket in write.waiting():
                turn.answer(ticket, error)
        self._state = ShardState(self._state.config)
        self.is_loaded = False
        return turn.decision()

    def _decision(self, turn: Turn) -> Decision:
        cleanup.schedule_expiry(turn)
        return turn.decision()

    # Writes

    def committed(self, write: Write, *, base_offset: int, monotonic_ms: int) -> Decision:
        """The high watermark has passed the records of `write`, whose batch is at `base_offset`."""
        return self._settle(write, monotonic_ms, lambda known, turn: known.committed(turn, base_offset))

    def append_failed(self, write: Write, error: KafkaError, monotonic_ms: int) -> Decision:
        """`error` is the log's own; what clients of a coordinator are told is decided here."""
        return self._settle(write, monotonic_ms, lambda known, turn: known.failed(turn, error))

    def _settle(self, write: Write, monotonic_ms: int, outcome: Callable[[GroupWrite, Turn], None]) -> Decision:
        if not isinstance(write, GroupWrite) or write not in self._state.in_flight:
            return NOTHING  # begun before the shard was unloaded
        del self._state.in_flight[write]
        turn = Turn(self._state, monotonic_ms)
        outcome(write, turn)
        return self._decision(turn)

    # Time

    def tick(self, monotonic_ms: int) -> Decision:
        turn = Turn(self._state, monotonic_ms)
        while (key := self._state.timers.pop_due(monotonic_ms)) is not None:
            self._deadline(key, turn)
        return self._decision(turn)

    def _deadline(self, key: Key, turn: Turn) -> None:
        kind = key[0]
        if kind == EXPIRY:
            cleanup.expire_some(turn)
            return
        group = self._state.groups.get(key[1])
        if group is None:
            return
        if kind == SESSION:
            rebalance.session_ended(group, key[2], turn)
        elif kind == JOIN:
            rebalance.join_time_is_up(group, turn)
        elif kind == SYNC:
            rebalance.sync_time_is_up(group, turn)

    # Members

    def join_group(self, ticket: Ticket, request: JoinRequest, monotonic_ms: int) -> Decision:
        turn = Turn(self._state, monotonic_ms)
        try:
            self._check(request.group_id)
            self._check_join(request)
            group = self._state.groups.get(request.group_id)
            if group is None:
                if request.member_id != UNKNOWN_MEMBER_ID:
                    raise UnknownMemberIdError(f"there is no group {request.group_id!r}")
                group = self._create(request.group_id, turn)
            try:
                joining.join(group, request, turn, ticket, self._new_id())
            finally:
                turn.forget_if_vacant(group)
        except KafkaError as error:
            turn.answer(ticket, error)
        return self._decision(turn)

    def sync_group(self, ticket: Ticket, request: SyncRequest, monotonic_ms: int) -> Decision:
        turn = Turn(self._state, monotonic_ms)
        try:
            self._check(request.group_id)
            membership.sync(self._member_group(request.group_id), request, turn, ticket)
        except CoordinatorLoadInProgressError:
            # Which members had synced is not known any more; older clients do not know that error here.
            turn.answer(ticket, RebalanceInProgressError("the group is being loaded: join again"))
        except KafkaError as error:
            turn.answer(ticket, error)
        return self._decision(turn)

    def heartbeat(
        self, group_id: str, member_id: str, generation_id: int, group_instance_id: str | None, monotonic_ms: int
    ) -> None:
        try:
            self._check(group_id)
        except CoordinatorLoadInProgressError:
            return  # its session begins when loading ends
        turn = Turn(self._state, monotonic_ms)
        membership.heartbeat(self._member_group(group_id), member_id, generation_id, group_instance_id, turn)

    def leave_group(
        self, ticket: Ticket, group_id: str, members: Sequence[LeavingMember], monotonic_ms: int
    ) -> Decision:
        turn = Turn(self._state, monotonic_ms)
        try:
            self._check(group_id)
            group = self._state.groups.get(group_id)
            if group is None:
                code = UnknownMemberIdError.code
                unknown = [LeftMember(member.member_id, member.group_instance_id, code) for member in members]
                turn.answer(ticket, LeaveResult(unknown))
            else:
                membership.leave(group, members, turn, ticket)
        except KafkaError as error:
            turn.answer(ticket, error)
        return self._decision(turn)

    # Offsets

    def commit_offsets(self, ticket: Ticket, request: CommitRequest, monotonic_ms: int) -> Decision:
        turn = Turn(self._state, monotonic_ms)
        try:
            self._check(request.group_id, may_be_empty=True)
            group = self._state.groups.get(request.group_id)
            if group is None:
                if request.generation_id >= 0:
                    raise IllegalGenerationError(f"there is no group {request.group_id!r}")
                group = self._create(request.group_id, turn)
            try:
                committing.commit(group, request, turn, ticket)
            finally:
                turn.forget_if_vacant(group)
        except KafkaError as error:
            turn.answer(ticket, error)
        return self._decision(turn)

    def fetch_offsets(
        self,
        group_id: str,
        topics: Sequence[tuple[str, Sequence[int]]] | None,
        *,
        require_stable: bool = False,
        monotonic_ms: int = 0,
    ) -> list[tuple[str, list[FetchedOffset]]]:
        """Of `topics`, or with None of all; a group that is not known has committed nothing. What state a group is in
        does not matter: it may only keep its offsets here."""
        self._check(group_id, may_be_empty=True)
        group = self._state.groups.get(group_id)
        offsets = None if group is None or group.state is DEAD else group.offsets
        return committing.fetch(offsets, topics, require_stable=require_stable)

    def delete_offsets(
        self, ticket: Ticket, group_id: str, partitions: Sequence[tuple[str, int]], monotonic_ms: int
    ) -> Decision:
        turn = Turn(self._state, monotonic_ms)
        try:
            self._check(group_id)
            group = self._state.groups.get(group_id)
            if group is None:
                raise GroupIdNotFoundError(f"there is no group {group_id!r}")
            cleanup.delete_offsets(group, partitions, turn, ticket)
        except KafkaError as error:
            turn.answer(ticket, error)
        return self._decision(turn)

    def topics_deleted(self, topics: Collection[str], monotonic_ms: int) -> Decision:
        turn = Turn(self._state, monotonic_ms)
        cleanup.topics_deleted(frozenset(topics), turn)
        return self._decision(turn)

    # Groups

    def describe_group(self, group_id: str) -> GroupDescription:
        """A group that is not known is Dead (before version 6 of DescribeGroups that is no error)."""
        self._check(group_id, may_be_empty=True)
        group = self._state.groups.get(group_id)
        return GroupDescription(group_id, DEAD.value, "", "", ()) if group is None else group.describe()

    def list_groups(self, states: Collection[str] = (), types: Collection[str] = ()) -> list[ListedGroup]:
        """Those in one of `states` and of one of `types`, however they are spelled; all when there are none."""
        self._check_loaded()
        wanted = {state.lower() for state in states}
        if types and GROUP_TYPE not in {name.lower() for name in types}:
            return []
        return [
            group.listed()
            for group in self._state.groups.values()
            if group.state is not DEAD and (not wanted or group.state.value.lower() in wanted)
        ]

    def delete_groups(self, ticket: Ticket, group_ids: Sequence[str], monotonic_ms: int) -> Decision:
        turn = Turn(self._state, monotonic_ms)
        refusals: list[KafkaError | None] = []
        for group_id in group_ids:
            try:
                self._check(group_id, may_be_empty=True)
                refusals.append(None)
            except KafkaError as error:
                refusals.append(error)
        cleanup.delete_groups(group_ids, refusals, turn, ticket)
        return self._decision(turn)

    # What every call asks first

    def _check(self, group_id: str | None, *, may_be_empty: bool = False) -> None:
        """Only what commits or looks at offsets may be about the group without a name: very old clients have one."""
        if group_id is None or not (group_id or may_be_empty):
            raise InvalidGroupIdError("a group needs a name")
        if is_too_long(group_id):
            raise InvalidGroupIdError(f"the name of a group has {len(group_id)} characters")
        self._check_loaded()

    def _check_loaded(self) -> None:
        if self.failure is not None:
            raise type(self.failure)(str(self.failure))  # a new one: each keeps the frames that it has gone through
        if not self.is_loaded:
            raise CoordinatorLoadInProgressError(f"partition {self.partition} of the offsets topic is being loaded")

    def _check_join(self, request: JoinRequest) -> None:
        config, timeout_ms = self._state.config, request.session_timeout_ms
        if not config.min_session_timeout_ms <= timeout_ms <= config.max_session_timeout_ms:
            raise InvalidSessionTimeoutError(
                f"a session of {timeout_ms} ms is not in [{config.min_session_timeout_ms}, "
                f"{config.max_session_timeout_ms}] (group.min.session.timeout.ms, group.max.session.timeout.ms)"
            )
        if len(request.protocols) > MAX_PROTOCOLS:
            raise InvalidRequestError(f"a member with {len(request.protocols)} protocols; at most {MAX_PROTOCOLS}")
        names = [name for name, _ in request.protocols]
        texts = [request.client_id, request.client_host, request.group_instance_id or "", request.protocol_type, *names]
        if any(is_too_long(text, UNIQUE_PART_BYTES) for text in texts):
            raise InvalidRequestError("a name of the member is longer than a record can hold")

    def _create(self, group_id: str, turn: Turn) -> Group:
        group = self._state.groups[group_id] = Group(group_id, turn.wall_ms)
        return group

    def _member_group(self, group_id: str) -> Group:
        group = self._state.groups.get(group_id)
        if group is None:
            raise UnknownMemberIdError(f"there is no group {group_id!r}")
        return group
