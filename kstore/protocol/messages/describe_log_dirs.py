"""DescribeLogDirs (35): what lies in each log directory (KIP-113; volume sizes KIP-827).

Null topics ask for all of them.
"""

from kstore.protocol.schema import Message


class DescribeLogDirsRequest(Message, api_key=35, versions="0-4", flexible="2+"):
    TABLE = """
        topics          []DescribableLogDirTopic  0+  null 0+
            topic       string                    0+
            partitions  []int32                   0+
    """


class DescribeLogDirsResponse(Message, api_key=35, versions="0-4", flexible="2+"):
    TABLE = """
        throttle_time_ms             int32                       0+
        error_code                   int16                       3+  ignorable
        results                      []DescribeLogDirsResult     0+
            error_code               int16                       0+
            log_dir                  string                      0+
            topics                   []DescribeLogDirsTopic      0+
                name                 string                      0+
                partitions           []DescribeLogDirsPartition  0+
                    partition_index  int32                       0+
                    partition_size   int64                       0+
                    offset_lag       int64                       0+
                    is_future_key    bool                        0+
            total_bytes              int64                       4+  = -1 ignorable
            usable_bytes             int64                       4+  = -1 ignorable
    """
