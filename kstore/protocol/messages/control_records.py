"""Bodies of the control records that KRaft writes into the metadata log and its snapshots.

A control record's key is a version and a type, two 16-bit numbers; the body begins with its own version
(ControlRecordType.java, ControlRecordUtils.java; KIP-595, KIP-630, KIP-853). The markers of transactions,
types 0 and 1, are not tables: the record engine reads and writes them.
"""

from kstore.errors import CorruptRecordError, InvalidRequestError, UnsupportedVersionError
from kstore.protocol.schema import Message


class LeaderChangeMessage(Message, versions="0-1", flexible="0+"):
    TABLE = """
        version                 int16    0+
        leader_id               int32    0+
        voters                  []Voter  0+
        granting_voters         []Voter  0+
        struct                  Voter
            voter_id            int32    0+
            voter_directory_id  uuid     1+
    """


class SnapshotHeaderRecord(Message, versions="0", flexible="0+"):
    TABLE = """
        version                       int16  0+
        last_contained_log_timestamp  int64  0+
    """


class SnapshotFooterRecord(Message, versions="0", flexible="0+"):
    TABLE = """
        version  int16  0+
    """


class KRaftVersionRecord(Message, versions="0", flexible="0+"):
    TABLE = """
        version         int16  0+
        kraft_version  int16  0+
    """


class VotersRecord(Message, versions="0", flexible="0+"):
    TABLE = """
        version                        int16                0+
        voters                         []Voter              0+
            voter_id                   int32                0+
            voter_directory_id         uuid                 0+
            endpoints                  []Endpoint           0+
                name                   string               0+
                host                   string               0+
                port                   uint16               0+
            kraft_version_feature     KRaftVersionFeature  0+
                min_supported_version  int16                0+
                max_supported_version  int16                0+
    """


CONTROL_RECORD_TYPES: dict[int, type[Message]] = {
    2: LeaderChangeMessage,
    3: SnapshotHeaderRecord,
    4: SnapshotFooterRecord,
    5: KRaftVersionRecord,
    6: VotersRecord,
}


def encode_control_record(message: Message) -> tuple[bytes, bytes]:
    """Key and value of a control record, in the version that `message.version` says."""
    for record_type, record in CONTROL_RECORD_TYPES.items():
        if type(message) is record:
            return bytes(3) + bytes([record_type]), message.encode(message.version)
    raise TypeError(f"{type(message).__name__} is not a control record")


def decode_control_record(key: bytes, value: bytes) -> Message:
    """What a control record says.

    Raises UnsupportedVersionError for a type or version that nobody knows, CorruptRecordError for broken
    bytes.
    """
    if len(key) < 4 or len(value) < 2:
        raise CorruptRecordError(f"a control record of {len(key)} and {len(value)} bytes")
    record_type = int.from_bytes(key[2:4], "big", signed=True)
    version = int.from_bytes(value[:2], "big", signed=True)
    if record_type not in CONTROL_RECORD_TYPES:
        raise UnsupportedVersionError(f"control record type {record_type} is unknown")
    try:
        return CONTROL_RECORD_TYPES[record_type].decode(value, 0, len(value), version)
    except InvalidRequestError as error:
        raise CorruptRecordError(str(error)) from error
