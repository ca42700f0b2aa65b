"""What the records of Kafka's own topics say, as plain values: metadata, groups and offsets, transactions, markers.

A record that cannot be decoded is shown raw, with the reason: a dump never stops for it.
"""

from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any, NamedTuple

from kstore._native.record import ABORT_MARKER, COMMIT_MARKER, Record, parse_control_record
from kstore._native.wire import Struct
from kstore.errors import CorruptRecordError, KafkaError, UnsupportedVersionError
from kstore.model import uuid_to_text
from kstore.protocol.schema import Field, Message, within

METADATA_TOPIC = "__cluster_metadata"
MARKERS = {ABORT_MARKER: "ABORT", COMMIT_MARKER: "COMMIT"}


class Decoded(NamedTuple):
    """What a record says: the name of its kind, the version in which it was written, its fields."""

    kind: str
    version: int
    fields: dict[str, Any]


Decoder = Callable[[Record], Decoded]


def plain_message(message: Message, version: int) -> dict[str, Any]:
    """The fields that `message` has in `version`, as values that JSON can hold."""
    fields, structs = type(message)._table
    return _plain_struct(message, fields, structs, version)


def _plain_struct(struct: Struct, fields: list[Field], structs: dict[str, list[Field]], version: int) -> dict[str, Any]:
    return {
        field.name: _plain_field(getattr(struct, field.name), field, structs, version)
        for field in fields
        if within(version, field.versions)
    }


def _plain_field(value: Any, field: Field, structs: dict[str, list[Field]], version: int) -> Any:
    if value is None:
        return None
    if field.is_array:
        return [_plain_value(element, field, structs, version) for element in value]
    return _plain_value(value, field, structs, version)


def _plain_value(value: Any, field: Field, structs: dict[str, list[Field]], version: int) -> Any:
    if field.is_struct:
        return _plain_struct(value, structs[field.type], structs, version)
    if field.type == "uuid":
        return uuid_to_text(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return b64encode(value).decode()
    return value


def decode_metadata(record: Record) -> Decoded:
    """A record of the metadata log. Raises KafkaError."""
    from kstore.protocol.messages.metadata_records import decode_record

    message, version = decode_record(record.value or b"")
    return Decoded(type(message).__name__, version, plain_message(message, version))


def decode_control(record: Record) -> Decoded:
    """A record of a control batch: a transaction's marker, or one of KRaft's. Raises KafkaError."""
    from kstore.protocol.messages.control_records import decode_control_record

    control_type, coordinator_epoch = parse_control_record(record)
    if control_type in MARKERS:
        return Decoded(MARKERS[control_type], 0, {"coordinator_epoch": coordinator_epoch})
    message = decode_control_record(bytes(record.key or b""), bytes(record.value or b""))
    version = message.version
    return Decoded(type(message).__name__, version, plain_message(message, version))


def decode_group(record: Record) -> Decoded:
    """A record of `__consumer_offsets`: an offset that was committed, or a group. Raises KafkaError."""
    from kstore.protocol.messages import group_records as kinds

    key = bytes(record.key or b"")
    record_type = version_of(key, "the key")
    name = kinds.record_name(record_type)
    if record_type in (0, 1):
        return decode_pair(name, kinds.OffsetCommitKey, kinds.OffsetCommitValue, record)
    if record_type != 2:
        raise UnsupportedVersionError(f"{name}, which kstore does not read")
    decoded = decode_pair(name, kinds.GroupMetadataKey, kinds.GroupMetadataValue, record)
    for member in (decoded.fields["value"] or {}).get("members", ()):
        show_consumer(decoded.fields["value"]["protocol_type"], member)
    return decoded


def decode_transaction(record: Record) -> Decoded:
    """A record of `__transaction_state`. Raises KafkaError."""
    from kstore.protocol.messages.transaction_records import STATES, TransactionLogKey, TransactionLogValue

    decoded = decode_pair("TransactionMetadata", TransactionLogKey, TransactionLogValue, record)
    value = decoded.fields["value"]
    if value is not None and 0 <= value["transaction_status"] < len(STATES):
        value["transaction_status"] = STATES[value["transaction_status"]]
    return decoded


def version_of(data: bytes, what: str) -> int:
    if len(data) < 2:
        raise CorruptRecordError(f"{what} has {len(data)} bytes, no version")
    return int.from_bytes(data[:2], "big", signed=True)


def decode_pair(name: str, key_class: type[Message], value_class: type[Message], record: Record) -> Decoded:
    """A record whose key and value each begin with their version; without a value it is a tombstone."""
    key, value = bytes(record.key or b""), record.value
    key_version = version_of(key, "the key")
    fields: dict[str, Any] = {
        "key": plain_message(key_class.decode(key, 2, len(key), key_version), key_version),
        "value": None,
    }
    if value is None:
        return Decoded(name, key_version, fields)
    version = version_of(value, "the value")
    fields["value"] = plain_message(value_class.decode(value, 2, len(value), version), version)
    return Decoded(name, version, fields)


def show_consumer(protocol_type: str, member: dict[str, Any]) -> None:
    """Puts what a consumer subscribes to, and has been assigned, in the place of its bytes."""
    from kstore.protocol.messages import consumer_protocol as protocol

    if protocol_type != "consumer":
        return
    for name, message_class in (
        ("subscription", protocol.ConsumerProtocolSubscription),
        ("assignment", protocol.ConsumerProtocolAssignment),
    ):
        data = b64decode(member[name])
        if data:
            try:
                member[name] = plain_message(*protocol.decode_versioned(message_class, data))
            except KafkaError:
                continue  # the bytes stay


DECODERS: dict[str, Decoder] = {
    METADATA_TOPIC: decode_metadata,
    "__consumer_offsets": decode_group,
    "__transaction_state": decode_transaction,
}


def decoder_of(topic: str | None, *, is_control: bool) -> Decoder | None:
    """What makes sense of the records of a batch, or None where they are the users' own."""
    if is_control:
        return decode_control
    return DECODERS.get(topic or "")


def decode(decoder: Decoder, record: Record) -> Decoded | str:
    """What a record says, or why nobody knows."""
    try:
        return decoder(record)
    except (KafkaError, ValueError) as error:
        return str(error) or type(error).__name__
