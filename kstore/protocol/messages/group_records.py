"""Records of `__consumer_offsets`: committed offsets and groups, in Kafka's own keys, values and versions.

    key and value: | version: int16 | message in that version |

The version of a key tells its type: 0 and 1 a committed offset, 2 a group; higher ones belong to the newer group
protocols (group-coordinator/src/main/resources/common/message). A value of None is a tombstone.
"""

from kstore.protocol.schema import Message


class OffsetCommitKey(Message, versions="0-1"):
    TABLE = """
        group      string  0-1
        topic      string  0-1
        partition  int32   0-1
    """


class OffsetCommitValue(Message, versions="0-4", flexible="4+"):
    TABLE = """
        offset            int64   0+
        leader_epoch      int32   3+  = -1  ignorable
        metadata          string  0+
        commit_timestamp  int64   0+
        expire_timestamp  int64   1   = -1  ignorable
    """


class GroupMetadataKey(Message, versions="2"):
    TABLE = """
        group  string  2
    """


class GroupMetadataValue(Message, versions="0-4", flexible="4+"):
    TABLE = """
        protocol_type            string            0+
        generation               int32             0+
        protocol                 string            0+  null 0+
        leader                   string            0+  null 0+
        current_state_timestamp  int64             2+  = -1  ignorable
        members                  []MemberMetadata  0+
            member_id            string            0+
            group_instance_id    string            3+  null 3+  = null  ignorable
            client_id            string            0+
            client_host          string            0+
            rebalance_timeout    int32             1+  = -1  ignorable
            session_timeout      int32             0+
            subscription         bytes             0+
            assignment           bytes             0+
    """
