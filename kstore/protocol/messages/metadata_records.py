"""Records of the metadata log `__cluster_metadata-0`, as Kafka's KRaft mode writes and reads them.

    +------------------+---------------+------------------+---------------------------+
    | frame version: 1 | type: uvarint | version: uvarint | message, flexible         |
    +------------------+---------------+------------------+---------------------------+

That is the value of a record; its key is null (AbstractApiMessageSerde.java). Here are all types and versions
that Kafka 3.9 and 4.3 know: KIP-631, directories KIP-858, eligible leader replicas KIP-966, transactions
KIP-868, cordoned directories KIP-1066. A record that is not understood is an error, never skipped: state
would be lost.
"""

from typing import NamedTuple

from kstore._native.buffer import ReadBuffer, WriteBuffer
from kstore.errors import CorruptRecordError, InvalidRequestError, UnsupportedVersionError
from kstore.protocol.schema import Message

FRAME_VERSION = 1


class RegisterBrokerRecord(Message, api_key=0, versions="0-4", flexible="0+"):
    TABLE = """
        broker_id                  int32             0+
        is_migrating_zk_broker     bool              2+
        incarnation_id             uuid              0+
        broker_epoch               int64             0+
        end_points                 []BrokerEndpoint  0+
            name                   string            0+
            host                   string            0+
            port                   uint16            0+
            security_protocol      int16             0+
        features                   []BrokerFeature   0+
            name                   string            0+
            min_supported_version  int16             0+
            max_supported_version  int16             0+
        rack                       string            0+  null 0+
        fenced                     bool              0+  = true
        in_controlled_shutdown     bool              1+
        log_dirs                   []uuid            3+  tag 0 3+
        cordoned_log_dirs          []uuid            4+  null 4+ tag 1 4+ = null
    """


class UnregisterBrokerRecord(Message, api_key=1, versions="0", flexible="0+"):
    TABLE = """
        broker_id     int32  0+
        broker_epoch  int64  0+
    """


class TopicRecord(Message, api_key=2, versions="0", flexible="0+"):
    TABLE = """
        name      string  0+
        topic_id  uuid    0+
    """


class PartitionRecord(Message, api_key=3, versions="0-2", flexible="0+"):
    TABLE = """
        partition_id              int32    0+  = -1
        topic_id                  uuid     0+
        replicas                  []int32  0+
        isr                       []int32  0+
        removing_replicas         []int32  0+
        adding_replicas           []int32  0+
        leader                    int32    0+  = -1
        leader_recovery_state     int8     0+  tag 0 0+
        leader_epoch              int32    0+  = -1
        partition_epoch           int32    0+  = -1
        directories               []uuid   1+
        eligible_leader_replicas  []int32  2+  null 2+ tag 1 2+ = null
        last_known_elr            []int32  2+  null 2+ tag 2 2+ = null
    """


class ConfigRecord(Message, api_key=4, versions="0", flexible="0+"):
    TABLE = """
        resource_type  int8    0+
        resource_name  string  0+
        name           string  0+
        value          string  0+  null 0+
    """


class PartitionChangeRecord(Message, api_key=5, versions="0-2", flexible="0+"):
    TABLE = """
        partition_id              int32    0+  = -1
        topic_id                  uuid     0+
        isr                       []int32  0+  null 0+ tag 0 0+ = null
        leader                    int32    0+  tag 1 0+ = -2
        replicas                  []int32  0+  null 0+ tag 2 0+ = null
        removing_replicas         []int32  0+  null 0+ tag 3 0+ = null
        adding_replicas           []int32  0+  null 0+ tag 4 0+ = null
        leader_recovery_state     int8     0+  tag 5 0+ = -1
        directories               []uuid   1+  null 1+ tag 8 1+ = null
        eligible_leader_replicas  []int32  2+  null 2+ tag 6 2+ = null
        last_known_elr            []int32  2+  null 2+ tag 7 2+ = null
    """


class FenceBrokerRecord(Message, api_key=7, versions="0", flexible="0+"):
    TABLE = """
        id     int32  0+
        epoch  int64  0+
    """


class UnfenceBrokerRecord(Message, api_key=8, versions="0", flexible="0+"):
    TABLE = """
        id     int32  0+
        epoch  int64  0+
    """


class RemoveTopicRecord(Message, api_key=9, versions="0", flexible="0+"):
    TABLE = """
        topic_id  uuid  0+
    """


class DelegationTokenRecord(Message, api_key=10, versions="0", flexible="0+"):
    TABLE = """
        owner                 string    0+
        requester             string    0+
        renewers              []string  0+
        issue_timestamp       int64     0+
        max_timestamp         int64     0+
        expiration_timestamp  int64     0+
        token_id              string    0+
    """


class UserScramCredentialRecord(Message, api_key=11, versions="0", flexible="0+"):
    TABLE = """
        name        string  0+
        mechanism   int8    0+
        salt        bytes   0+
        stored_key  bytes   0+
        server_key  bytes   0+
        iterations  int32   0+
    """


class FeatureLevelRecord(Message, api_key=12, versions="0", flexible="0+"):
    TABLE = """
        name           string  0+
        feature_level  int16   0+
    """


class ClientQuotaRecord(Message, api_key=14, versions="0", flexible="0+"):
    TABLE = """
        entity           []EntityData  0+
            entity_type  string        0+
            entity_name  string        0+  null 0+
        key              string        0+
        value            float64       0+
        remove           bool          0+
    """


class ProducerIdsRecord(Message, api_key=15, versions="0", flexible="0+"):
    TABLE = """
        broker_id         int32  0+
        broker_epoch      int64  0+  = -1
        next_producer_id  int64  0+
    """


class BrokerRegistrationChangeRecord(Message, api_key=17, versions="0-3", flexible="0+"):
    TABLE = """
        broker_id               int32   0+
        broker_epoch            int64   0+
        fenced                  int8    0+  tag 0 0+
        in_controlled_shutdown  int8    1+  tag 1 1+
        log_dirs                []uuid  2+  tag 2 2+
        cordoned_log_dirs       []uuid  3+  null 3+ tag 3 3+ = null
    """


class AccessControlEntryRecord(Message, api_key=18, versions="0", flexible="0+"):
    TABLE = """
        id               uuid    0+
        resource_type    int8    0+
        resource_name    string  0+
        pattern_type     int8    0+
        principal        string  0+
        host             string  0+
        operation        int8    0+
        permission_type  int8    0+
    """


class RemoveAccessControlEntryRecord(Message, api_key=19, versions="0", flexible="0+"):
    TABLE = """
        id  uuid  0+
    """


class NoOpRecord(Message, api_key=20, versions="0", flexible="0+"):
    TABLE = ""


class ZkMigrationStateRecord(Message, api_key=21, versions="0", flexible="0+"):
    TABLE = """
        zk_migration_state  int8  0+
    """


class RemoveUserScramCredentialRecord(Message, api_key=22, versions="0", flexible="0+"):
    TABLE = """
        name       string  0+
        mechanism  int8    0+
    """


class BeginTransactionRecord(Message, api_key=23, versions="0", flexible="0+"):
    TABLE = """
        name  string  0+  null 0+ tag 0 0+ = null
    """


class EndTransactionRecord(Message, api_key=24, versions="0", flexible="0+"):
    TABLE = ""


class AbortTransactionRecord(Message, api_key=25, versions="0", flexible="0+"):
    TABLE = """
        reason  string  0+  null 0+ tag 0 0+ = null
    """


class RemoveDelegationTokenRecord(Message, api_key=26, versions="0", flexible="0+"):
    TABLE = """
        token_id  string  0+
    """


class RegisterControllerRecord(Message, api_key=27, versions="0", flexible="0+"):
    TABLE = """
        controller_id              int32                 0+
        incarnation_id             uuid                  0+
        zk_migration_ready         bool                  0+
        end_points                 []ControllerEndpoint  0+
            name                   string                0+
            host                   string                0+
            port                   uint16                0+
            security_protocol      int16                 0+
        features                   []ControllerFeature   0+
            name                   string                0+
            min_supported_version  int16                 0+
            max_supported_version  int16                 0+
    """


class ClearElrRecord(Message, api_key=28, versions="0", flexible="0+"):
    TABLE = """
        topic_name  string  0+
    """


class MetadataRecord(NamedTuple):
    message: Message
    version: int


RECORD_TYPES: dict[int, type[Message]] = {
    record.api_key: record
    for record in (
        RegisterBrokerRecord,
        UnregisterBrokerRecord,
        TopicRecord,
        PartitionRecord,
        ConfigRecord,
        PartitionChangeRecord,
        FenceBrokerRecord,
        UnfenceBrokerRecord,
        RemoveTopicRecord,
        DelegationTokenRecord,
        UserScramCredentialRecord,
        FeatureLevelRecord,
        ClientQuotaRecord,
        ProducerIdsRecord,
        BrokerRegistrationChangeRecord,
        AccessControlEntryRecord,
        RemoveAccessControlEntryRecord,
        NoOpRecord,
        ZkMigrationStateRecord,
        RemoveUserScramCredentialRecord,
        BeginTransactionRecord,
        EndTransactionRecord,
        AbortTransactionRecord,
        RemoveDelegationTokenRecord,
        RegisterControllerRecord,
        ClearElrRecord,
    )
}


def encode_record(message: Message, version: int) -> bytes:
    """The value of a metadata record: its frame and `message` in `version`."""
    frame = WriteBuffer()
    frame.uvarint(FRAME_VERSION)
    frame.uvarint(message.api_key)
    frame.uvarint(version)
    return frame.to_bytes() + message.encode(version)


def decode_record(value: bytes | bytearray | memoryview) -> MetadataRecord:
    """What a metadata record says, and in which version.

    Raises UnsupportedVersionError for a type or version that nobody knows, CorruptRecordError for broken
    bytes.
    """
    reader = ReadBuffer(value, what="metadata record")
    try:
        frame_version = reader.uvarint()
        record_type = reader.uvarint()
        version = reader.uvarint()
        if frame_version != FRAME_VERSION:
            raise UnsupportedVersionError(f"metadata record frame {frame_version} is not {FRAME_VERSION}")
        if record_type not in RECORD_TYPES:
            raise UnsupportedVersionError(f"metadata record type {record_type} is unknown")
        record = RECORD_TYPES[record_type]
        return MetadataRecord(record.decode(value, reader.position, len(value), version), version)
    except InvalidRequestError as error:
        raise CorruptRecordError(str(error)) from error
