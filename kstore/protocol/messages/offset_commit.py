"""OffsetCommit (8): how far a group has read.

Version 0 kept offsets in ZooKeeper; version 1 gives a timestamp to each partition, 2 to 4 one retention time to
all, later ones leave both to the broker (KIP-211). The member's epoch of the consumer protocol came with
version 9 (KIP-848).
"""

from kstore.protocol.schema import Message


class OffsetCommitRequest(Message, api_key=8, versions="0-9", flexible="8+"):
    TABLE = """
        group_id                        string                          0+
        generation_id_or_member_epoch   int32                           1+   = -1 ignorable
        member_id                       string                          1+   ignorable
        group_instance_id               string                          7+   null 7+ = null
        retention_time_ms               int64                           2-4  = -1 ignorable
        topics                          []OffsetCommitRequestTopic      0+
            name                        string                          0+
            partitions                  []OffsetCommitRequestPartition  0+
                partition_index         int32                           0+
                committed_offset        int64                           0+
                committed_leader_epoch  int32                           6+   = -1 ignorable
                commit_timestamp        int64                           1    = -1
                committed_metadata      string                          0+   null 0+
    """


class OffsetCommitResponse(Message, api_key=8, versions="0-9", flexible="8+"):
    TABLE = """
        throttle_time_ms         int32                            3+  ignorable
        topics                   []OffsetCommitResponseTopic      0+
            name                 string                           0+
            partitions           []OffsetCommitResponsePartition  0+
                partition_index  int32                            0+
                error_code       int16                            0+
    """
