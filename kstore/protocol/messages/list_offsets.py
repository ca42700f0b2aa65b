"""ListOffsets (2): the offset at a timestamp, or at an end of the log.

Negative timestamps have a meaning: -1 the end (KIP-79), -2 the start, -3 the largest timestamp (from version
7 on, KIP-734), -4 the local start (8, KIP-405), -5 the last tiered offset (9, KIP-1005). Version 0 answers a
list of segment starts.
"""

from kstore.protocol.schema import Message


class ListOffsetsRequest(Message, api_key=2, versions="0-9", flexible="6+"):
    TABLE = """
        replica_id                    int32                   0+
        isolation_level               int8                    2+
        topics                        []ListOffsetsTopic      0+
            name                      string                  0+
            partitions                []ListOffsetsPartition  0+
                partition_index       int32                   0+
                current_leader_epoch  int32                   4+  = -1 ignorable
                timestamp             int64                   0+
                max_num_offsets       int32                   0   = 1
    """


class ListOffsetsResponse(Message, api_key=2, versions="0-9", flexible="6+"):
    TABLE = """
        throttle_time_ms           int32                           2+  ignorable
        topics                     []ListOffsetsTopicResponse      0+
            name                   string                          0+
            partitions             []ListOffsetsPartitionResponse  0+
                partition_index    int32                           0+
                error_code         int16                           0+
                old_style_offsets  []int64                         0
                timestamp          int64                           1+  = -1
                offset             int64                           1+  = -1
                leader_epoch       int32                           4+  = -1
    """
