"""Records of `__consumer_offsets`: as the drawing says, in Kafka's versions, and types by their names."""

import pytest

from kstore.errors import UnsupportedVersionError
from kstore.protocol.messages.group_records import (
    RECORD_NAMES,
    GroupMetadataKey,
    GroupMetadataValue,
    OffsetCommitKey,
    OffsetCommitValue,
    record_name,
)

KEY = OffsetCommitKey(group="g", topic="t", partition=2)
VALUE = OffsetCommitValue(offset=7, leader_epoch=3, metadata="m", commit_timestamp=5, expire_timestamp=9)


def test_an_offset_is_written_as_kafka_does() -> None:
    assert KEY.encode(1) == b"\0\1g" + b"\0\1t" + b"\0\0\0\2"
    assert VALUE.encode(3) == bytes(7) + b"\7" + b"\0\0\0\3" + b"\0\1m" + bytes(7) + b"\5"
    assert VALUE.encode(1) == bytes(7) + b"\7" + b"\0\1m" + bytes(7) + b"\5" + bytes(7) + b"\11"


def test_the_topic_id_of_newer_kafkas_is_a_tagged_field() -> None:
    value = OffsetCommitValue(topic_id=bytes(range(16)))
    assert value.encode(4).endswith(b"\1\0\20" + bytes(range(16)))
    assert value.encode(3) == OffsetCommitValue().encode(3)


def test_a_group_without_members_has_no_leader() -> None:
    assert GroupMetadataKey(group="g").encode(2) == b"\0\1g"
    value = GroupMetadataValue(
        protocol_type="consumer", generation=1, protocol=None, leader=None, current_state_timestamp=5
    )
    assert value.encode(3) == b"\0\10consumer" + b"\0\0\0\1" + b"\xff\xff" * 2 + bytes(7) + b"\5" + bytes(4)


def test_versions_that_nobody_knows_are_refused() -> None:
    with pytest.raises(UnsupportedVersionError, match="OffsetCommitValue v5"):
        VALUE.encode(5)


def test_every_record_type_has_a_name() -> None:
    assert sorted(RECORD_NAMES) == list(range(24))
    assert record_name(8) == "ConsumerGroupCurrentMemberAssignment"
    assert record_name(99) == "group record type 99"
