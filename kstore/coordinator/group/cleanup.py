"""What goes: offsets that have expired, were deleted or lost their topic, and groups of which nothing is left.

- Everything goes by tombstone, and memory follows the log: an offset is known until its tombstone is committed, and
  stays when that could not be written.
- A group that is to go is Dead while its tombstone is on its way; it comes back as it was should that fail.
- A large group goes in several batches of bounded size, its own tombstone in the last.
- An expiry round looks at a bounded number of groups and offsets a turn.

(GroupMetadataManager.cleanupGroupMetadata; GroupCoordinator.handleDeleteGroups, handleDeleteOffsets; KIP-229, KIP-496.)
"""

from collections.abc import Collection, Iterator, Sequence

from kstore.coordinator.group.group import Group
from kstore.coordinator.group.offsets import Partition
from kstore.coordinator.group.records import group_tombstone, offset_tombstone
from kstore.coordinator.group.requests import Ticket
from kstore.coordinator.group.results import ErrorCodes, Record
from kstore.coordinator.group.state import DEAD, EMPTY
from kstore.coordinator.group.turn import EXPIRY, GroupWrite, Turn, commit_append_error
from kstore.errors import (
    NONE,
    GroupIdNotFoundError,
    GroupSubscribedToTopicError,
    KafkaError,
    NonEmptyGroupError,
)

# A batch of tombstones: well below the 1 MB that a topic takes at once by default.
BATCH_BYTES = 256 * 1024
RECORD_OVERHEAD = 32
# What a turn of expiry looks at: about a millisecond.
OFFSETS_A_TURN = 2000


class Removal:
    """A request to delete, over all the writes that it takes: answered when the last of them is decided."""

    __slots__ = ("codes", "outstanding", "ticket")

    def __init__(self, ticket: Ticket | None, codes: ErrorCodes) -> None:
        self.ticket = ticket
        self.codes = codes
        self.outstanding = 0

    def settled(self, turn: Turn) -> None:
        if self.outstanding == 0:
            turn.answer(self.ticket, self.codes)


class TombstoneWrite(GroupWrite):
    __slots__ = ("ends_group", "indexes", "is_expiry", "partitions", "removal")

    def __init__(
        self,
        group: Group,
        records: Sequence[Record],
        partitions: Sequence[Partition],
        *,
        removal: Removal,
        indexes: Sequence[int],
        ends_group: bool,
        is_expiry: bool,
    ) -> None:
        super().__init__(group, records)
        self.partitions = partitions
        self.removal = removal
        self.indexes = indexes  # of what was asked for, in the answer's codes
        self.ends_group = ends_group  # the last write of a group that goes
        self.is_expiry = is_expiry
        removal.outstanding += 1

    def committed(self, turn: Turn, base_offset: int) -> None:
        offsets = self.group.offsets
        removed = 0
        for topic, partition in self.partitions:
            removed += offsets.remove(topic, partition)
            offsets.drop_transactional(topic, partition)
        if self.is_expiry:
            turn.state.expired_offsets += removed
        else:
            turn.state.deleted_offsets += removed
        if self.ends_group:
            self.group.is_stored = False
        self._settle(turn)

    def failed(self, turn: Turn, error: KafkaError) -> None:
        for index in self.indexes:
            self.removal.codes[index] = commit_append_error(error).code
        self._settle(turn)

    def _settle(self, turn: Turn) -> None:
        group = self.group
        if group.tombstones is self:
            group.tombstones = None
            if group.state is DEAD:
                group.reprieve()
            if not self.ends_group or group.is_stored or group.offsets:
                turn.forget_if_vacant(group)
            else:
                turn.forget(group)
        self.removal.outstanding -= 1
        self.removal.settled(turn)

    def waiting(self) -> Iterator[Ticket]:
        if self.removal.ticket is not None:
            yield self.removal.ticket
            self.removal.ticket = None


def bury(
    group: Group,
    partitions: Sequence[Partition],
    turn: Turn,
    *,
    removal: Removal,
    indexes: Sequence[int] = (),
    ends_group: bool = False,
    is_expiry: bool = False,
) -> None:
    """Writes the tombstones of these offsets, and of the group itself when it goes with them."""
    batches = list(_batches(group.group_id, partitions)) or [([], [])]
    if ends_group:
        group.condemn()
        if group.is_stored:
            batches[-1][0].append(group_tombstone(group.group_id))
        if not batches[-1][0]:
            # Nothing of it is in the log.
            turn.forget(group)
            return
    for records, buried in batches:
        if records:
            is_last = records is batches[-1][0]
            group.tombstones = TombstoneWrite(
                group,
                records,
                buried,
                removal=removal,
                indexes=indexes,
                ends_group=ends_group and is_last,
                is_expiry=is_expiry,
            )
            turn.write(group.tombstones)


def _batches(group_id: str, partitions: Sequence[Partition]) -> Iterator[tuple[list[Record], list[Partition]]]:
    records: list[Record] = []
    buried: list[Partition] = []
    size = 0
    for topic, partition in partitions:
        record = offset_tombstone(group_id, topic, partition)
        records.append(record)
        buried.append((topic, partition))
        size += len(record[0]) + RECORD_OVERHEAD
        if size >= BATCH_BYTES:
            yield records, buried
            records, buried, size = [], [], 0
    if records:
        yield records, buried


# Expiry


def schedule_expiry(turn: Turn) -> None:
    """A shard without groups has no deadline at all."""
    if turn.state.groups and (EXPIRY,) not in turn.timers:
        turn.timers.set((EXPIRY,), turn.monotonic_ms + turn.config.offsets_retention_check_interval_ms)


def expire_some(turn: Turn) -> None:
    """The next groups of the round of expiry under way, or the first of a new one."""
    state = turn.state
    if not state.to_expire:
        state.to_expire = list(state.groups)
    budget = OFFSETS_A_TURN
    while state.to_expire and budget > 0:
        group = state.groups.get(state.to_expire.pop())
        if group is not None:
            budget -= 1 + len(group.offsets)
            _expire(group, turn)
    if state.to_expire:
        turn.timers.set((EXPIRY,), turn.monotonic_ms + 1)
    else:
        schedule_expiry(turn)


def _expire(group: Group, turn: Turn) -> None:
    if group.tombstones is not None:
        return
    expired = group.expired_offsets(wall_ms=turn.wall_ms, retention_ms=turn.config.offsets_retention_ms)
    ends_group = (
        group.state is EMPTY
        and not group.pending_members
        and not group.offsets.pending
        and not group.offsets.transactional
        and len(expired) == len(group.offsets)
    )
    if expired or ends_group:
        bury(group, expired, turn, removal=Removal(None, []), ends_group=ends_group, is_expiry=True)


# Deletion


def delete_groups(group_ids: Sequence[str], refusals: Sequence[KafkaError | None], turn: Turn, ticket: Ticket) -> None:
    """`refusals` are those of ids that cannot be a group's."""
    codes = [NONE if refusal is None else refusal.code for refusal in refusals]
    removal = Removal(ticket, codes)
    for index, group_id in enumerate(group_ids):
        if codes[index] != NONE:
            continue
        group = turn.state.groups.get(group_id)
        if group is None or group.state is DEAD:
            codes[index] = GroupIdNotFoundError.code
        elif group.state is not EMPTY:
            codes[index] = NonEmptyGroupError.code
        else:
            bury(group, list(group.offsets.partitions()), turn, removal=removal, indexes=[index], ends_group=True)
    removal.settled(turn)


def delete_offsets(group: Group, partitions: Sequence[Partition], turn: Turn, ticket: Ticket) -> None:
    """Raises the refusal of all."""
    if group.state is DEAD:
        raise GroupIdNotFoundError(f"{group.group_id!r} is being removed")
    if group.state is not EMPTY and not group.is_consumer_group:
        raise NonEmptyGroupError(f"{group.group_id!r} has members, and nobody knows what they read")
    codes: ErrorCodes = []
    known = set(group.offsets.partitions())
    buried: dict[Partition, None] = {}
    for topic, partition in partitions:
        if group.state is not EMPTY and group.is_subscribed_to(topic):
            codes.append(GroupSubscribedToTopicError.code)
            continue
        codes.append(NONE)
        if (topic, partition) in known:
            buried[topic, partition] = None
    removal = Removal(ticket, codes)
    indexes = [index for index, code in enumerate(codes) if code == NONE]
    bury(group, list(buried), turn, removal=removal, indexes=indexes)
    removal.settled(turn)


def topics_deleted(topics: Collection[str], turn: Turn) -> None:
    """Offsets of topics that are no more would be taken for those of a new topic of the same name."""
    for group in list(turn.state.groups.values()):
        partitions = group.offsets.partitions_of(topics)
        if partitions and group.state is not DEAD:
            bury(group, partitions, turn, removal=Removal(None, []))
