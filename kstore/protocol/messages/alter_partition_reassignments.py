"""AlterPartitionReassignments (45): partitions get other replicas, or, with null, keep those they had (KIP-455)."""

from kstore.protocol.schema import Message


class AlterPartitionReassignmentsRequest(Message, api_key=45, versions="0", flexible="0+"):
    TABLE = """
        timeout_ms                   int32                      0+  = 60000
        topics                       []ReassignableTopic        0+
            name                     string                     0+
            partitions               []ReassignablePartition    0+
                partition_index      int32                      0+
                replicas             []int32                    0+  null 0+ = null
    """


class AlterPartitionReassignmentsResponse(Message, api_key=45, versions="0", flexible="0+"):
    TABLE = """
        throttle_time_ms             int32                            0+
        error_code                   int16                            0+
        error_message                string                           0+  null 0+
        responses                    []ReassignableTopicResponse      0+
            name                     string                           0+
            partitions               []ReassignablePartitionResponse  0+
                partition_index      int32                            0+
                error_code           int16                            0+
                error_message        string                           0+  null 0+
    """
