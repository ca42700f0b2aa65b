"""What is asked of a shard, as plain values: the fields of Kafka's requests without their versions and nesting."""

from collections.abc import Sequence
from typing import NamedTuple

UNKNOWN_MEMBER_ID = ""
NO_GENERATION = -1
NO_RETENTION_MS = -1

# What a request is answered by: the shell's own, never looked into.
Ticket = object


class JoinRequest(NamedTuple):
    group_id: str
    member_id: str
    group_instance_id: str | None
    client_id: str
    client_host: str
    session_timeout_ms: int
    rebalance_timeout_ms: int  # version 0 has none and means the session time-out
    protocol_type: str
    protocols: Sequence[tuple[str, bytes]]  # name and metadata, the preferred one first
    reason: str | None = None  # KIP-800
    requires_known_member_id: bool = True  # from version 4 on (KIP-394)
    supports_skip_assignment: bool = True  # from version 9 on (KIP-814)


class SyncRequest(NamedTuple):
    group_id: str
    member_id: str
    group_instance_id: str | None
    generation_id: int
    protocol_type: str | None  # KIP-559
    protocol_name: str | None
    assignments: Sequence[tuple[str, bytes]]  # of the leader: member id and its assignment


class LeavingMember(NamedTuple):
    member_id: str
    group_instance_id: str | None = None
    reason: str | None = None


class OffsetToCommit(NamedTuple):
    topic: str
    partition: int
    offset: int
    leader_epoch: int = -1
    metadata: str | None = None


class CommitRequest(NamedTuple):
    group_id: str
    member_id: str
    group_instance_id: str | None
    generation_id: int
    offsets: Sequence[OffsetToCommit]
    retention_time_ms: int = NO_RETENTION_MS  # versions 2 to 4
