"""One call of a shard while it is being decided, and what the shard knows between calls.

What is decided is only collected here: answers that may leave, and writes. What a write means once it is in the log,
or once it is known that it will not be, is the write's own affair: each kind is a small class beside the rule that
makes it.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from kstore.coordinator.group.config import GroupConfig
from kstore.coordinator.group.group import Group
from kstore.coordinator.group.requests import Ticket
from kstore.coordinator.group.results import NOTHING, Answer, Decision, Record, Write
from kstore.coordinator.timers import Timers
from kstore.errors import (
    CoordinatorNotAvailableError,
    InvalidCommitOffsetSizeError,
    KafkaError,
    KafkaStorageError,
    MessageTooLargeError,
    NotCoordinatorError,
    NotEnoughReplicasAfterAppendError,
    NotEnoughReplicasError,
    NotLeaderOrFollowerError,
    RebalanceInProgressError,
    RecordListTooLargeError,
    RequestTimedOutError,
    UnknownServerError,
    UnknownTopicOrPartitionError,
)

# Kinds of deadlines: the first word of a timer's key.
SESSION = "session"  # group id, member id
JOIN = "join"  # group id
SYNC = "sync"  # group id
EXPIRY = "expiry"


class ShardState:
    """All that a shard knows."""

    __slots__ = (
        "committed_offsets",
        "completed_rebalances",
        "config",
        "deleted_offsets",
        "expired_offsets",
        "groups",
        "in_flight",
        "open_transactions",
        "timers",
        "to_expire",
        "wall_offset_ms",
    )

    def __init__(self, config: GroupConfig) -> None:
        self.config = config
        self.groups: dict[str, Group] = {}
        self.timers = Timers()
        self.in_flight: dict[GroupWrite, None] = {}  # in the order in which they were begun
        self.open_transactions: dict[int, set[str]] = {}  # producer -> groups, while the log is replayed
        self.to_expire: list[str] = []  # groups that the round of expiry under way has still to see
        self.wall_offset_ms = 0
        self.completed_rebalances = 0
        self.committed_offsets = 0
        self.expired_offsets = 0
        self.deleted_offsets = 0


class Turn:
    __slots__ = ("answers", "config", "monotonic_ms", "state", "timers", "wall_ms", "writes")

    def __init__(self, state: ShardState, monotonic_ms: int) -> None:
        self.state = state
        self.config = state.config
        self.timers = state.timers
        self.monotonic_ms = monotonic_ms
        self.wall_ms = monotonic_ms + state.wall_offset_ms
        self.answers: list[Answer] = []
        self.writes: list[Write] = []

    def answer(self, ticket: Ticket | None, result: Any) -> None:
        """Nobody waits behind a ticket of None."""
        if ticket is not None:
            self.answers.append((ticket, result))

    def write(self, write: "GroupWrite") -> None:
        self.state.in_flight[write] = None
        self.writes.append(write)

    def decision(self) -> Decision:
        return Decision(self.answers, self.writes) if self.answers or self.writes else NOTHING

    def forget(self, group: Group) -> None:
        del self.state.groups[group.group_id]
        self.timers.cancel((JOIN, group.group_id))
        self.timers.cancel((SYNC, group.group_id))
        for member_id in (*group.members, *group.pending_members):
            self.timers.cancel((SESSION, group.group_id, member_id))

    def forget_if_vacant(self, group: Group) -> None:
        if group.is_vacant and self.state.groups.get(group.group_id) is group:
            self.forget(group)


class GroupWrite(Write):
    """A write of a group, and what follows when it is decided."""

    __slots__ = ("group",)

    def __init__(self, group: Group, records: Sequence[Record]) -> None:
        super().__init__(records)
        self.group = group

    def committed(self, turn: Turn, base_offset: int) -> None:
        """The high watermark has passed the records, the first of which is at `base_offset`."""

    def failed(self, turn: Turn, error: KafkaError) -> None:
        """The records could not be written, or nobody knows in time that they were."""

    def waiting(self) -> Iterator[Ticket]:
        """Who waits for this write and for nothing else."""
        return iter(())


# What the log says, and what a client of a coordinator understands
# (GroupMetadataManager.storeGroup and maybeConvertOffsetCommitError).
_UNREACHABLE = (UnknownTopicOrPartitionError, NotEnoughReplicasError, NotEnoughReplicasAfterAppendError)
_MOVED = (NotLeaderOrFollowerError, KafkaStorageError)
_TOO_LARGE = (MessageTooLargeError, RecordListTooLargeError)


def group_append_error(error: KafkaError) -> KafkaError:
    if isinstance(error, RequestTimedOutError):
        return RebalanceInProgressError(str(error))
    if isinstance(error, _TOO_LARGE):
        return UnknownServerError(f"the group's record is too large: {error}")
    return _coordinator_error(error)


def commit_append_error(error: KafkaError) -> KafkaError:
    if isinstance(error, _TOO_LARGE):
        return InvalidCommitOffsetSizeError(str(error))
    return _coordinator_error(error)


def _coordinator_error(error: KafkaError) -> KafkaError:
    if isinstance(error, _UNREACHABLE):
        return CoordinatorNotAvailableError(str(error))
    if isinstance(error, _MOVED):
        return NotCoordinatorError(str(error))
    return error
