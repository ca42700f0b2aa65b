"""What a shard knows after a restart: its log replayed, record by record.

- The last record of a key counts; a tombstone takes back what was there. Keys of kinds that are not the classic
  protocol's are left alone, as Kafka leaves them: they may be remains of a newer version.
- A group whose record names members is stable again, and each has a whole session to come back.
- Offsets without a group's record belong to a group that never had members.
- Offsets of a transaction count when its marker says so; without a marker they stay undecided.

(GroupMetadataManager.doLoadGroupsAndOffsets, GroupCoordinator.onGroupLoaded.)
"""

from kstore.coordinator.group.group import Group
from kstore.coordinator.group.rebalance import prepare_rebalance, renew_session
from kstore.coordinator.group.records import (
    NO_STATE_TIMESTAMP,
    GroupKey,
    OffsetKey,
    StoredGroup,
    read_group_value,
    read_key,
    read_offset_value,
)
from kstore.coordinator.group.state import EMPTY, STABLE
from kstore.coordinator.group.turn import ShardState, Turn
from kstore.errors import CorruptRecordError


def replay(state: ShardState, key: bytes, value: bytes | None, *, offset: int, producer_id: int | None) -> None:
    """`offset` is the base offset of the record's batch, `producer_id` that of a transactional one. Raises
    CorruptRecordError and has changed nothing then."""
    read = read_key(key)
    if isinstance(read, GroupKey):
        _replay_group(state, read.group_id, None if value is None else read_group_value(value))
    elif isinstance(read, OffsetKey):
        _replay_offset(state, read, value, offset, producer_id)


def _group(state: ShardState, group_id: str) -> Group:
    group = state.groups.get(group_id)
    if group is None:
        group = state.groups[group_id] = Group(group_id, NO_STATE_TIMESTAMP)
    return group


def _replay_group(state: ShardState, group_id: str, stored: StoredGroup | None) -> None:
    before = state.groups.get(group_id)
    group = Group(group_id, NO_STATE_TIMESTAMP)
    if stored is not None:
        _restore(group, stored)
    if before is not None:
        group.offsets = before.offsets
    state.groups[group_id] = group
    _forget_if_vacant(state, group)


def _restore(group: Group, stored: StoredGroup) -> None:
    """Raises CorruptRecordError for members that cannot be of one group."""
    ids = {member.member_id for member in stored.members}
    instances = [member.group_instance_id for member in stored.members if member.group_instance_id is not None]
    if len(ids) != len(stored.members) or len(set(instances)) != len(instances):
        raise CorruptRecordError(f"the record of {group!r} names a member twice")
    group.is_stored = True
    group.protocol_type = stored.protocol_type
    group.protocol_name = stored.protocol_name
    group.generation_id = stored.generation_id
    for member in stored.members:
        group.add(member, stored.protocol_type or "")
    if stored.leader in ids:
        group.leader_id = stored.leader
    group.state = STABLE if stored.members else EMPTY
    group.state_timestamp_ms = stored.state_timestamp_ms
    group.subscribed_topics = group.read_subscriptions()


def _replay_offset(
    state: ShardState, key: OffsetKey, value: bytes | None, offset: int, producer_id: int | None
) -> None:
    group_id, topic, partition = key
    committed = None if value is None else read_offset_value(value, offset)
    group = _group(state, group_id)
    offsets = group.offsets
    if producer_id is None:
        if committed is None:
            offsets.remove(topic, partition)
        else:
            offsets.put(topic, partition, committed)
    elif committed is None:
        offsets.drop_transactional(topic, partition, producer_id)
    else:
        offsets.put_transactional(producer_id, topic, partition, committed)
        state.open_transactions.setdefault(producer_id, set()).add(group_id)
    _forget_if_vacant(state, group)


def replay_marker(state: ShardState, producer_id: int, *, commit: bool) -> None:
    """The end of a transaction: its offsets count from now on, or never did."""
    for group_id in state.open_transactions.pop(producer_id, ()):
        group = state.groups.get(group_id)
        if group is not None and producer_id in group.offsets.transactional:
            group.offsets.end_transaction(producer_id, commit=commit)
            _forget_if_vacant(state, group)


def _forget_if_vacant(state: ShardState, group: Group) -> None:
    if group.is_vacant:
        del state.groups[group.group_id]


def start(turn: Turn) -> None:
    """All is replayed: sessions begin. A group that is larger than it may be by now rebalances, which gives its
    members the chance to commit before some of them go (KIP-389)."""
    for group in list(turn.state.groups.values()):
        if group.protocol_type is None and group.state is EMPTY:
            group.state_timestamp_ms = turn.wall_ms
        for member in group.members.values():
            renew_session(group, member, turn)
        if len(group.members) > turn.config.max_size:
            prepare_rebalance(group, turn, f"it was loaded with more than {turn.config.max_size} members")
