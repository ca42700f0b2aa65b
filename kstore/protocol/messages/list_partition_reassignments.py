"""ListPartitionReassignments (46): which partitions are on their way to other replicas; null asks for all (KIP-455)."""

from kstore.protocol.schema import Message


class ListPartitionReassignmentsRequest(Message, api_key=46, versions="0", flexible="0+"):
    TABLE = """
        timeout_ms                   int32                                0+  = 60000
        topics                       []ListPartitionReassignmentsTopics   0+  null 0+ = null
            name                     string                               0+
            partition_indexes        []int32                              0+
    """


class ListPartitionReassignmentsResponse(Message, api_key=46, versions="0", flexible="0+"):
    TABLE = """
        throttle_time_ms             int32                            0+
        error_code                   int16                            0+
        error_message                string                           0+  null 0+
        topics                       []OngoingTopicReassignment       0+
            name                     string                           0+
            partitions               []OngoingPartitionReassignment   0+
                partition_index      int32                            0+
                replicas             []int32                          0+
                adding_replicas      []int32                          0+
                removing_replicas    []int32                          0+
    """
