"""Records of KRaft as real Kafka wrote them are read and written again byte for byte; others are refused."""

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from kstore._native.batch import iter_batches
from kstore._native.record import Record
from kstore.errors import CorruptRecordError, UnsupportedVersionError
from kstore.protocol.messages.control_records import (
    CONTROL_RECORD_TYPES,
    LeaderChangeMessage,
    VotersRecord,
    decode_control_record,
    encode_control_record,
)
from kstore.protocol.messages.metadata_records import (
    RECORD_TYPES,
    PartitionRecord,
    TopicRecord,
    decode_record,
    encode_record,
)
from tests.protocol.values import random_message

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
KAFKAS = ["kafka-3.9.1", "kafka-4.3.0"]


def golden_records(kafka: str, *, control: bool) -> Iterator[Record]:
    directory = GOLDEN / kafka / "__cluster_metadata-0"
    for file in sorted([*directory.glob("*.log"), *directory.glob("*.checkpoint")]):
        for batch in iter_batches(file.read_bytes()):
            if batch.is_control == control:
                yield from batch.records()


@pytest.mark.parametrize("kafka", KAFKAS)
def test_metadata_records_of_kafka_are_written_again_byte_for_byte(kafka: str) -> None:
    seen: Counter[str] = Counter()
    for record in golden_records(kafka, control=False):
        assert record.value is not None
        message, version = decode_record(record.value)
        assert encode_record(message, version) == record.value
        seen[type(message).__name__] += 1
    assert seen["TopicRecord"] > 10
    assert {"FeatureLevelRecord", "RegisterBrokerRecord", "PartitionRecord", "ProducerIdsRecord"} <= set(seen)


@pytest.mark.parametrize("kafka", KAFKAS)
def test_control_records_of_kafka_are_written_again_byte_for_byte(kafka: str) -> None:
    seen: Counter[str] = Counter()
    for record in golden_records(kafka, control=True):
        assert record.key is not None
        assert record.value is not None
        message = decode_control_record(record.key, record.value)
        assert encode_control_record(message) == (record.key, record.value)
        seen[type(message).__name__] += 1
    assert {"LeaderChangeMessage", "SnapshotHeaderRecord", "SnapshotFooterRecord"} <= set(seen)


@pytest.mark.parametrize("kafka", KAFKAS)
def test_the_topics_of_a_kafka_directory_are_found(kafka: str) -> None:
    messages = [decode_record(record.value or b"").message for record in golden_records(kafka, control=False)]
    ids = {message.topic_id: message.name for message in messages if isinstance(message, TopicRecord)}
    assert {"plain", "zstd", "transactions", "compacted"} <= set(ids.values())
    assert all(message.topic_id in ids for message in messages if isinstance(message, PartitionRecord))


def test_a_record_is_framed_as_the_drawing_says() -> None:
    record = TopicRecord(name="orders", topic_id=bytes(range(16)))
    assert encode_record(record, 0) == b"\x01\x02\x00" + b"\x07orders" + bytes(range(16)) + b"\x00"
    assert decode_record(encode_record(record, 0)) == (record, 0)


@pytest.mark.parametrize("record_type", RECORD_TYPES)
def test_every_record_comes_back_in_every_version(record_type: int) -> None:
    record = RECORD_TYPES[record_type]
    for version in range(record.min_version, record.max_version + 1):
        message = random_message(record, version, random.Random(version))
        assert decode_record(bytearray(encode_record(message, version))) == (message, version)


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (b"\x00\x02\x00", "frame 0 is not 1"),
        (b"\x02\x02\x00", "frame 2 is not 1"),
        (b"\x01\x06\x00", "type 6 is unknown"),
        (b"\x01\xff\x01\x00", "type 255 is unknown"),
        (b"\x01\x02\x01", r"TopicRecord v1 is not in \[0, 0\]"),
        (b"\x01\x03\x03", r"PartitionRecord v3 is not in \[0, 2\]"),
    ],
)
def test_a_record_that_nobody_knows_is_not_skipped(value: bytes, what: str) -> None:
    with pytest.raises(UnsupportedVersionError, match=what):
        decode_record(value + bytes(40))


def test_broken_records_are_corrupt() -> None:
    whole = encode_record(TopicRecord(name="orders", topic_id=bytes(16)), 0)
    for size in range(len(whole)):
        with pytest.raises(CorruptRecordError):
            decode_record(whole[:size])
    with pytest.raises(CorruptRecordError, match="1 bytes after the last field"):
        decode_record(whole + b"\0")


@pytest.mark.parametrize("record_type", CONTROL_RECORD_TYPES)
def test_every_control_record_comes_back(record_type: int) -> None:
    record = CONTROL_RECORD_TYPES[record_type]
    for version in range(record.min_version, record.max_version + 1):
        message = random_message(record, version, random.Random(version))
        message.version = version
        key, value = encode_control_record(message)
        assert key == b"\0\0\0" + bytes([record_type])
        assert decode_control_record(key, value) == message


def test_control_records_that_nobody_knows_or_that_are_broken_are_refused() -> None:
    key, value = encode_control_record(LeaderChangeMessage(leader_id=1))
    with pytest.raises(UnsupportedVersionError, match="control record type 9"):
        decode_control_record(b"\0\0\0\x09", value)
    with pytest.raises(UnsupportedVersionError, match="LeaderChangeMessage v7"):
        decode_control_record(key, b"\0\x07" + value[2:])
    for size in range(len(value)):
        with pytest.raises(CorruptRecordError):
            decode_control_record(key, value[:size])
    with pytest.raises(CorruptRecordError):
        decode_control_record(b"\0", value)
    with pytest.raises(TypeError, match="TopicRecord is not a control record"):
        encode_control_record(TopicRecord())


def test_structs_that_two_fields_share_are_one_class() -> None:
    voter = LeaderChangeMessage.Voter(voter_id=3)
    message = LeaderChangeMessage(leader_id=3, voters=[voter], granting_voters=[voter])
    assert decode_control_record(*encode_control_record(message)) == message
    assert VotersRecord.Voter is not LeaderChangeMessage.Voter
