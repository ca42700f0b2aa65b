"""OffsetForLeaderEpoch (23): where a leader epoch ended (KIP-101, KIP-279, KIP-320).

From version 3 on the replica id tells followers from consumers; -2 is for those that do not say.
"""

from kstore.protocol.schema import Message


class OffsetForLeaderEpochRequest(Message, api_key=23, versions="0-4", flexible="4+"):
    TABLE = """
        replica_id                    int32                       3+  = -2 ignorable
        topics                        []OffsetForLeaderTopic      0+
            topic                     string                      0+
            partitions                []OffsetForLeaderPartition  0+
                partition             int32                       0+
                current_leader_epoch  int32                       2+  = -1 ignorable
                leader_epoch          int32                       0+
    """


class OffsetForLeaderEpochResponse(Message, api_key=23, versions="0-4", flexible="4+"):
    TABLE = """
        throttle_time_ms      int32                         2+  ignorable
        topics                []OffsetForLeaderTopicResult  0+
            topic             string                        0+
            partitions        []EpochEndOffset              0+
                error_code    int16                         0+
                partition     int32                         0+
                leader_epoch  int32                         1+  = -1 ignorable
                end_offset    int64                         0+  = -1
    """
