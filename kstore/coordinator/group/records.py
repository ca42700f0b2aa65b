"""From committed offsets and groups to records of `__consumer_offsets` and back.

Written in the versions that 3.9 writes: an offset's value in version 3, or 1 when it carries an expiry of its own;
a group's in version 3, the last before the flexible ones, so that an older Kafka reads them too
(GroupMetadataManager.scala, KIP-915). Read in all versions.
"""

from collections.abc import Mapping, Sequence
from struct import Struct
from typing import Any, NamedTuple

from kstore._native.java_hash import java_hash
from kstore.coordinator.group.member import Member
from kstore.coordinator.group.results import Record
from kstore.errors import CorruptRecordError, InvalidRequestError, UnsupportedVersionError
from kstore.protocol.messages.group_records import (
    GroupMetadataKey,
    GroupMetadataValue,
    OffsetCommitKey,
    OffsetCommitValue,
)
from kstore.protocol.schema import Message

OFFSET_KEY_VERSION = OffsetCommitKey.max_version
GROUP_KEY_VERSION = GroupMetadataKey.max_version
OFFSET_VALUE_VERSION = 3
OFFSET_VALUE_VERSION_WITH_EXPIRY = 1
GROUP_VALUE_VERSION = 3

NO_EXPIRY = -1
NO_STATE_TIMESTAMP = -1
LOWEST_INT = -(1 << 31)
# What a string of a record may be long in bytes, its length being an int16.
MAX_STRING_BYTES = 32767

_VERSION = Struct(">h")
_VERSION_BYTES = {version: _VERSION.pack(version) for version in range(5)}


class OffsetAndMetadata(NamedTuple):
    """A committed offset."""

    offset: int
    leader_epoch: int
    metadata: str
    commit_timestamp_ms: int
    expire_timestamp_ms: int = NO_EXPIRY
    log_offset: int = -1  # the base offset of the batch that holds it: which of two is the later one


class OffsetKey(NamedTuple):
    group_id: str
    topic: str
    partition: int


class GroupKey(NamedTuple):
    group_id: str


class UnknownKey(NamedTuple):
    version: int


class StoredGroup(NamedTuple):
    """A group as its record tells it."""

    protocol_type: str | None
    generation_id: int
    protocol_name: str | None
    leader: str | None
    state_timestamp_ms: int
    members: Sequence[Member]


def partition_for(group_id: str, partition_count: int) -> int:
    """The partition of `__consumer_offsets` that holds a group: its hash without the sign (Utils.abs makes 0 of the
    lowest int)."""
    code = java_hash(group_id)
    return (0 if code == LOWEST_INT else abs(code)) % partition_count


def is_too_long(text: str, more_bytes: int = 0) -> bool:
    """For a string of a record, `more_bytes` to be added to it. Encoded is only what is suspiciously long."""
    limit = MAX_STRING_BYTES - more_bytes
    return len(text) * 4 > limit and len(text.encode("utf-8", "surrogatepass")) > limit


def _encode(message: Message, version: int) -> bytes:
    return _VERSION_BYTES[version] + message.encode(version)


def offset_key(group_id: str, topic: str, partition: int) -> bytes:
    return _encode(OffsetCommitKey(group=group_id, topic=topic, partition=partition), OFFSET_KEY_VERSION)


def offset_record(group_id: str, topic: str, partition: int, committed: OffsetAndMetadata) -> Record:
    expires = committed.expire_timestamp_ms != NO_EXPIRY
    value = OffsetCommitValue(
        offset=committed.offset,
        leader_epoch=committed.leader_epoch,
        metadata=committed.metadata,
        commit_timestamp=committed.commit_timestamp_ms,
        expire_timestamp=committed.expire_timestamp_ms,
    )
    version = OFFSET_VALUE_VERSION_WITH_EXPIRY if expires else OFFSET_VALUE_VERSION
    return offset_key(group_id, topic, partition), _encode(value, version)


def offset_tombstone(group_id: str, topic: str, partition: int) -> Record:
    return offset_key(group_id, topic, partition), None


def group_key(group_id: str) -> bytes:
    return _encode(GroupMetadataKey(group=group_id), GROUP_KEY_VERSION)


def group_record(group_id: str, group: StoredGroup, assignments: Mapping[str, bytes]) -> Record:
    """`assignments` names every member."""
    protocol_name = group.protocol_name
    value = GroupMetadataValue(
        protocol_type=group.protocol_type or "",
        generation=group.generation_id,
        protocol=protocol_name,
        leader=group.leader,
        current_state_timestamp=group.state_timestamp_ms,
        members=[_stored_member(member, protocol_name, assignments) for member in group.members],
    )
    return group_key(group_id), _encode(value, GROUP_VALUE_VERSION)


def _stored_member(member: Member, protocol_name: str | None, assignments: Mapping[str, bytes]) -> Any:
    assert protocol_name is not None, "a group with members has chosen a protocol"
    return GroupMetadataValue.MemberMetadata(
        member_id=member.member_id,
        group_instance_id=member.group_instance_id,
        client_id=member.client_id,
        client_host=member.client_host,
        rebalance_timeout=member.rebalance_timeout_ms,
        session_timeout=member.session_timeout_ms,
        subscription=member.metadata(protocol_name),
        assignment=assignments[member.member_id],
    )


def group_tombstone(group_id: str) -> Record:
    return group_key(group_id), None


def _version_of(data: bytes, what: str) -> int:
    if len(data) < _VERSION.size:
        raise CorruptRecordError(f"{what} of {len(data)} bytes has no version")
    return int(_VERSION.unpack_from(data)[0])


def _decode(kind: type[Message], data: bytes, version: int) -> Any:
    try:
        return kind.decode(data, _VERSION.size, len(data), version)
    except (InvalidRequestError, UnsupportedVersionError) as error:
        raise CorruptRecordError(f"{kind.__name__}: {error}") from error


def read_key(key: bytes) -> OffsetKey | GroupKey | UnknownKey:
    """Raises CorruptRecordError."""
    version = _version_of(key, "a key of the offsets topic")
    if 0 <= version <= OFFSET_KEY_VERSION:
        offset = _decode(OffsetCommitKey, key, version)
        return OffsetKey(offset.group, offset.topic, offset.partition)
    if version == GROUP_KEY_VERSION:
        return GroupKey(_decode(GroupMetadataKey, key, version).group)
    return UnknownKey(version)


def read_offset_value(value: bytes, log_offset: int) -> OffsetAndMetadata:
    """Raises CorruptRecordError."""
    stored = _decode(OffsetCommitValue, value, _version_of(value, "an offset's value"))
    return OffsetAndMetadata(
        offset=stored.offset,
        leader_epoch=stored.leader_epoch,
        metadata=stored.metadata,
        commit_timestamp_ms=stored.commit_timestamp,
        expire_timestamp_ms=stored.expire_timestamp,
        log_offset=log_offset,
    )


def read_group_value(value: bytes) -> StoredGroup:
    """Raises CorruptRecordError."""
    version = _version_of(value, "a group's value")
    stored = _decode(GroupMetadataValue, value, version)
    if stored.members and stored.protocol is None:
        raise CorruptRecordError(f"a group of {len(stored.members)} members without a protocol")
    members = [
        Member(
            member_id=member.member_id,
            group_instance_id=member.group_instance_id,
            client_id=member.client_id,
            client_host=member.client_host,
            session_timeout_ms=member.session_timeout,
            # Version 0 knew one time-out for both.
            rebalance_timeout_ms=member.session_timeout if version == 0 else member.rebalance_timeout,
            protocols=[(stored.protocol, bytes(member.subscription))],
            assignment=bytes(member.assignment),
        )
        for member in stored.members
    ]
    return StoredGroup(
        protocol_type=stored.protocol_type or None,
        generation_id=stored.generation,
        protocol_name=stored.protocol,
        leader=stored.leader,
        state_timestamp_ms=stored.current_state_timestamp,
        members=members,
    )
