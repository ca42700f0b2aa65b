"""What a shard gives back: answers that may leave, writes that must become durable, and what was asked for.

An answer is a pair of a ticket and either a result or the KafkaError that refuses. A ticket that is not in the
answers of its own call comes in those of a later one: never more than once, and at the latest when the shard is
unloaded.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from kstore.coordinator.group.requests import Ticket
from kstore.errors import KafkaError

Record = tuple[bytes, bytes | None]  # key and value; a value of None is a tombstone


class Write:
    """Records to be appended as one batch, in the order of the writes; then `committed` or `append_failed`."""

    __slots__ = ("records",)

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records


class Decision(NamedTuple):
    answers: "Sequence[tuple[Ticket, Result | KafkaError]]"
    writes: Sequence[Write]


NOTHING = Decision((), ())


class JoinedMember(NamedTuple):
    member_id: str
    group_instance_id: str | None
    metadata: bytes


class JoinResult(NamedTuple):
    generation_id: int
    protocol_type: str | None
    protocol_name: str | None
    leader: str
    skip_assignment: bool
    member_id: str
    members: Sequence[JoinedMember]  # for the leader; empty for the others


class SyncResult(NamedTuple):
    protocol_type: str | None
    protocol_name: str | None
    assignment: bytes


class LeftMember(NamedTuple):
    member_id: str
    group_instance_id: str | None
    error_code: int


class LeaveResult(NamedTuple):
    members: Sequence[LeftMember]


# Error codes in the order of what was asked: offsets to commit or delete, groups to delete.
ErrorCodes = list[int]

Result = JoinResult | SyncResult | LeaveResult | ErrorCodes


class FetchedOffset(NamedTuple):
    partition: int
    offset: int
    leader_epoch: int
    metadata: str
    error_code: int


class DescribedMember(NamedTuple):
    member_id: str
    group_instance_id: str | None
    client_id: str
    client_host: str
    metadata: bytes
    assignment: bytes


class GroupDescription(NamedTuple):
    group_id: str
    state: str
    protocol_type: str
    protocol: str
    members: Sequence[DescribedMember]


class ListedGroup(NamedTuple):
    group_id: str
    protocol_type: str
    state: str
    type: str


class GroupSummary(NamedTuple):
    """For who watches; `committed` are a topic's partitions, each with what was committed of it."""

    group_id: str
    state: str
    member_count: int
    committed: list[tuple[str, list[tuple[int, Any]]]]


Answer = tuple[Ticket, Any]
