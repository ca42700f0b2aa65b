"""OffsetCommit and OffsetFetch.

- A member commits with its id and generation; without generation anybody may, as long as the group has no members:
  so do administrators and consumers that assign themselves (GroupCoordinator.validateOffsetCommit).
- A commit shows that its member lives. While members still join the last generation may commit; while the leader
  assigns nobody may: what was fetched before may be another's by now.
- Offsets are known to others from the moment their record is committed.
"""

from collections.abc import Iterator, Sequence

from kstore.coordinator.group.group import Group
from kstore.coordinator.group.membership import refuse_dead, validate_generation
from kstore.coordinator.group.offsets import GroupOffsets
from kstore.coordinator.group.rebalance import renew_session
from kstore.coordinator.group.records import NO_EXPIRY, OffsetAndMetadata, is_too_long, offset_record
from kstore.coordinator.group.requests import (
    NO_RETENTION_MS,
    UNKNOWN_MEMBER_ID,
    CommitRequest,
    Ticket,
)
from kstore.coordinator.group.results import ErrorCodes, FetchedOffset, Record
from kstore.coordinator.group.state import COMPLETING_REBALANCE, EMPTY
from kstore.coordinator.group.turn import GroupWrite, Turn, commit_append_error
from kstore.errors import (
    NONE,
    KafkaError,
    OffsetMetadataTooLargeError,
    RebalanceInProgressError,
    UnknownMemberIdError,
    UnstableOffsetCommitError,
)

INVALID_OFFSET = -1
NO_LEADER_EPOCH = -1
NO_METADATA = ""
LAST_TIMESTAMP_MS = (1 << 63) - 1


def commit(group: Group, request: CommitRequest, turn: Turn, ticket: Ticket) -> None:
    """Raises the refusal of all offsets."""
    _validate_commit(group, request, turn)
    expires_ms = NO_EXPIRY
    if request.retention_time_ms != NO_RETENTION_MS:
        expires_ms = min(turn.wall_ms + request.retention_time_ms, LAST_TIMESTAMP_MS)
    limit = turn.config.offset_metadata_max_bytes
    group_id, wall_ms = request.group_id, turn.wall_ms
    codes: ErrorCodes = []
    entries: list[tuple[str, int, OffsetAndMetadata]] = []
    records: list[Record] = []
    for topic, partition, offset, leader_epoch, metadata in request.offsets:
        if metadata is not None and (len(metadata) > limit or is_too_long(metadata)):
            codes.append(OffsetMetadataTooLargeError.code)
            continue
        codes.append(NONE)
        committed = OffsetAndMetadata(offset, leader_epoch, metadata or NO_METADATA, wall_ms, expires_ms)
        entries.append((topic, partition, committed))
        records.append(offset_record(group_id, topic, partition, committed))
    if records:
        turn.write(OffsetWrite(group, records, entries, codes, ticket))
    else:
        turn.answer(ticket, codes)


def _validate_commit(group: Group, request: CommitRequest, turn: Turn) -> None:
    refuse_dead(group)
    generation_id, member_id = request.generation_id, request.member_id
    if generation_id < 0 and group.state is EMPTY:
        return
    if generation_id < 0 and member_id == UNKNOWN_MEMBER_ID and request.group_instance_id is None:
        raise UnknownMemberIdError(f"{group.group_id!r} has members: only they may commit")
    member = group.validate_member(member_id, request.group_instance_id)
    validate_generation(group, generation_id)
    if group.state is COMPLETING_REBALANCE:
        raise RebalanceInProgressError(f"{group.group_id!r} waits for its assignment")
    renew_session(group, member, turn)


class OffsetWrite(GroupWrite):
    """Offsets on their way into the log; whose commit is answered with what becomes of them."""

    __slots__ = ("codes", "entries", "ticket")

    def __init__(
        self,
        group: Group,
        records: Sequence[Record],
        entries: Sequence[tuple[str, int, OffsetAndMetadata]],
        codes: ErrorCodes,
        ticket: Ticket,
    ) -> None:
        super().__init__(group, records)
        self.entries = entries
        self.codes = codes  # of all that were asked for, those refused at once among them
        self.ticket = ticket
        pending = group.offsets.pending
        for topic, partition, _ in entries:
            pending[topic, partition] = self

    def committed(self, turn: Turn, base_offset: int) -> None:
        offsets = self.group.offsets
        for topic, partition, entry in self.entries:
            offset, leader_epoch, metadata, commit_ms, expire_ms, _ = entry
            known = OffsetAndMetadata(offset, leader_epoch, metadata, commit_ms, expire_ms, base_offset)
            offsets.put(topic, partition, known)
            offsets.settle(topic, partition, self)
        turn.state.committed_offsets += len(self.entries)
        turn.answer(self.ticket, self.codes)

    def failed(self, turn: Turn, error: KafkaError) -> None:
        for topic, partition, _ in self.entries:
            self.group.offsets.settle(topic, partition, self)
        refused = commit_append_error(error).code
        turn.answer(self.ticket, [refused if code == NONE else code for code in self.codes])
        turn.forget_if_vacant(self.group)

    def waiting(self) -> Iterator[Ticket]:
        yield self.ticket


def fetch(
    offsets: GroupOffsets | None, topics: Sequence[tuple[str, Sequence[int]]] | None, *, require_stable: bool
) -> list[tuple[str, list[FetchedOffset]]]:
    """What is committed, of `topics` or of all that are known. With `require_stable` a partition whose commit is not
    decided is refused, for its consumer to ask again (KIP-447)."""
    if offsets is None:
        offsets = _NO_OFFSETS
    # A partition is answered once however often it is named: metadata is a thousand times as long as the question.
    wanted: dict[str, dict[int, None]] = {}
    for topic, partitions in offsets.committed.items() if topics is None else topics:
        wanted.setdefault(topic, {}).update(dict.fromkeys(partitions))
    return [
        (topic, [_fetch_one(offsets, topic, partition, require_stable) for partition in partitions])
        for topic, partitions in wanted.items()
    ]


_NO_OFFSETS = GroupOffsets()


def _fetch_one(offsets: GroupOffsets, topic: str, partition: int, require_stable: bool) -> FetchedOffset:
    if require_stable and not offsets.is_stable(topic, partition):
        code = UnstableOffsetCommitError.code
        return FetchedOffset(partition, INVALID_OFFSET, NO_LEADER_EPOCH, NO_METADATA, code)
    known = offsets.get(topic, partition)
    if known is None:
        return FetchedOffset(partition, INVALID_OFFSET, NO_LEADER_EPOCH, NO_METADATA, NONE)
    return FetchedOffset(partition, known.offset, known.leader_epoch, known.metadata, NONE)
