"""StopReplica (5): a ZooKeeper controller tells a broker to let go of replicas, or to delete them.

The leader epoch of each (KIP-570) comes from version 3 on; -1 knows none, -2 is for a topic that is deleted.
"""

from kstore.protocol.schema import Message


class StopReplicaRequest(Message, api_key=5, versions="0-4", flexible="2+"):
    TABLE = """
        controller_id          int32                        0+
        is_kraft_controller    bool                         4+
        controller_epoch       int32                        0+
        broker_epoch           int64                        1+   = -1 ignorable
        delete_partitions      bool                         0-2
        ungrouped_partitions   []StopReplicaPartitionV0     0
            topic_name         string                       0
            partition_index    int32                        0
        topics                 []StopReplicaTopicV1         1-2
            name               string                       1-2
            partition_indexes  []int32                      1-2
        topic_states           []StopReplicaTopicState      3+
            topic_name         string                       3+
            partition_states   []StopReplicaPartitionState  3+
                partition_index   int32                     3+
                leader_epoch      int32                     3+   = -1
                delete_partition  bool                      3+
    """


class StopReplicaResponse(Message, api_key=5, versions="0-4", flexible="2+"):
    TABLE = """
        error_code           int16                        0+
        partition_errors     []StopReplicaPartitionError  0+
            topic_name       string                       0+
            partition_index  int32                        0+
            error_code       int16                        0+
    """
