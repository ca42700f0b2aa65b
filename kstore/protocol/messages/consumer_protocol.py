"""What consumers tell their group in JoinGroup and SyncGroup, and what it keeps of them in `__consumer_offsets`.

    | version int16 | message |

The broker never looks inside; who shows a group does. A version that is newer than these begins with the same fields
(ConsumerProtocol.java, KIP-429, KIP-792, KIP-881).
"""

from kstore.errors import InvalidRequestError
from kstore.protocol.schema import Message


class ConsumerProtocolSubscription(Message, versions="0-3", flexible="none"):
    TABLE = """
        topics            []string          0+
        user_data         bytes             0+  null 0+ = null
        owned_partitions  []TopicPartition  1+  ignorable
            topic         string            1+
            partitions    []int32           1+
        generation_id     int32             2+  = -1 ignorable
        rack_id           string            3+  null 3+ = null ignorable
    """


class ConsumerProtocolAssignment(Message, versions="0-3", flexible="none"):
    TABLE = """
        assigned_partitions  []TopicPartition  0+
            topic            string            0+
            partitions       []int32           0+
        user_data            bytes             0+  null 0+ = null
    """


def decode_versioned(message: type[Message], data: bytes) -> tuple[Message, int]:
    """A subscription or an assignment, and the version in which it was read. Raises InvalidRequestError."""
    if len(data) < 2:
        raise InvalidRequestError(f"{message.__name__}: {len(data)} bytes hold no version")
    version = min(int.from_bytes(data[:2], "big", signed=True), message.max_version)
    if version < 0:
        raise InvalidRequestError(f"{message.__name__}: version {version}")
    return message.decode(data, 2, len(data), version), version
