"""OffsetFetch (9): how far a group had read.

From version 2 on null asks for every partition, from 7 on a client may wait for open transactions (KIP-447),
from 8 on one request asks for many groups (KIP-709).
"""

from kstore.protocol.schema import Message


class OffsetFetchRequest(Message, api_key=9, versions="0-9", flexible="6+"):
    TABLE = """
        group_id                   string                      0-7
        topics                     []OffsetFetchRequestTopic   0-7  null 2-7
            name                   string                      0-7
            partition_indexes      []int32                     0-7
        groups                     []OffsetFetchRequestGroup   8+
            group_id               string                      8+
            member_id              string                      9+   null 9+ = null ignorable
            member_epoch           int32                       9+   = -1 ignorable
            topics                 []OffsetFetchRequestTopics  8+   null 8+
                name               string                      8+
                partition_indexes  []int32                     8+
        require_stable             bool                        7+
    """


class OffsetFetchResponse(Message, api_key=9, versions="0-9", flexible="6+"):
    TABLE = """
        throttle_time_ms                    int32                            3+   ignorable
        topics                              []OffsetFetchResponseTopic       0-7
            name                            string                           0-7
            partitions                      []OffsetFetchResponsePartition   0-7
                partition_index             int32                            0-7
                committed_offset            int64                            0-7
                committed_leader_epoch      int32                            5-7  = -1 ignorable
                metadata                    string                           0-7  null 0-7
                error_code                  int16                            0-7
        error_code                          int16                            2-7  ignorable
        groups                              []OffsetFetchResponseGroup       8+
            group_id                        string                           8+
            topics                          []OffsetFetchResponseTopics      8+
                name                        string                           8+
                partitions                  []OffsetFetchResponsePartitions  8+
                    partition_index         int32                            8+
                    committed_offset        int64                            8+
                    committed_leader_epoch  int32                            8+   = -1 ignorable
                    metadata                string                           8+   null 8+
                    error_code              int16                            8+
            error_code                      int16                            8+
    """
