"""Records of `__consumer_offsets`: what groups and their committed offsets are kept in.

    key:   +-------------------+---------+        value: +---------------+---------+   null: what the key
           | record type int16 | message |               | version int16 | message |   names is forgotten
           +-------------------+---------+               +---------------+---------+

The record type is the version of the key's message: 0 and 1 an offset, 2 a group (CoordinatorRecordSerde.java,
group-coordinator/src/main/resources/common/message). The others are groups of the newer protocols (KIP-848,
KIP-932, KIP-1071), which kstore has names for and passes over.
"""

from kstore.protocol.schema import Message


class OffsetCommitKey(Message, api_key=1, versions="0-1", flexible="none"):
    TABLE = """
        group      string  0-1
        topic      string  0-1
        partition  int32   0-1
    """


class OffsetCommitValue(Message, versions="0-4", flexible="4+"):
    TABLE = """
        offset            int64   0+
        leader_epoch      int32   3+  = -1 ignorable
        metadata          string  0+
        commit_timestamp  int64   0+
        expire_timestamp  int64   1   = -1 ignorable
        topic_id          uuid    4+  tag 0 4+ ignorable
    """


class GroupMetadataKey(Message, api_key=2, versions="2", flexible="none"):
    TABLE = """
        group  string  2
    """


class GroupMetadataValue(Message, versions="0-4", flexible="4+"):
    TABLE = """
        protocol_type            string            0+
        generation               int32             0+
        protocol                 string            0+  null 0+
        leader                   string            0+  null 0+
        current_state_timestamp  int64             2+  = -1 ignorable
        members                  []MemberMetadata  0+
            member_id            string            0+
            group_instance_id    string            3+  null 3+ = null ignorable
            client_id            string            0+
            client_host          string            0+
            rebalance_timeout    int32             1+  = -1 ignorable
            session_timeout      int32             0+
            subscription         bytes             0+
            assignment           bytes             0+
    """


# What Kafka 4.3 calls the record types (CoordinatorRecordType).
RECORD_NAMES = {
    0: "LegacyOffsetCommit",
    1: "OffsetCommit",
    2: "GroupMetadata",
    3: "ConsumerGroupMetadata",
    4: "ConsumerGroupPartitionMetadata",
    5: "ConsumerGroupMemberMetadata",
    6: "ConsumerGroupTargetAssignmentMetadata",
    7: "ConsumerGroupTargetAssignmentMember",
    8: "ConsumerGroupCurrentMemberAssignment",
    9: "ShareGroupPartitionMetadata",
    10: "ShareGroupMemberMetadata",
    11: "ShareGroupMetadata",
    12: "ShareGroupTargetAssignmentMetadata",
    13: "ShareGroupTargetAssignmentMember",
    14: "ShareGroupCurrentMemberAssignment",
    15: "ShareGroupStatePartitionMetadata",
    16: "ConsumerGroupRegularExpression",
    17: "StreamsGroupMetadata",
    18: "StreamsGroupPartitionMetadata",
    19: "StreamsGroupMemberMetadata",
    20: "StreamsGroupTargetAssignmentMetadata",
    21: "StreamsGroupTargetAssignmentMember",
    22: "StreamsGroupCurrentMemberAssignment",
    23: "StreamsGroupTopology",
}


def record_name(record_type: int) -> str:
    """How messages call a record type: its name, or its number when no Kafka gave it one."""
    return RECORD_NAMES.get(record_type) or f"group record type {record_type}"
