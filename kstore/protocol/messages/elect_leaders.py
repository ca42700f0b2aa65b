"""ElectLeaders (43): partitions are to be led by their first replica, or by any that is there.

The kind of election and an error for the whole request come with version 1 (KIP-460).
"""

from kstore.protocol.schema import Message


class ElectLeadersRequest(Message, api_key=43, versions="0-2", flexible="2+"):
    TABLE = """
        election_type                int8               1+
        topic_partitions             []TopicPartitions  0+  null 0+
            topic                    string             0+
            partitions               []int32            0+
        timeout_ms                   int32              0+  = 60000
    """


class ElectLeadersResponse(Message, api_key=43, versions="0-2", flexible="2+"):
    TABLE = """
        throttle_time_ms             int32                    0+
        error_code                   int16                    1+
        replica_election_results     []ReplicaElectionResult  0+
            topic                    string                   0+
            partition_result         []PartitionResult        0+
                partition_id         int32                    0+
                error_code           int16                    0+
                error_message        string                   0+  null 0+
    """
