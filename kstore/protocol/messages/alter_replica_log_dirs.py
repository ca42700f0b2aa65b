"""AlterReplicaLogDirs (34): replicas to other log directories of the same broker (KIP-113)."""

from kstore.protocol.schema import Message


class AlterReplicaLogDirsRequest(Message, api_key=34, versions="0-2", flexible="2+"):
    TABLE = """
        dirs                []AlterReplicaLogDir       0+
            path            string                     0+
            topics          []AlterReplicaLogDirTopic  0+
                name        string                     0+
                partitions  []int32                    0+
    """


class AlterReplicaLogDirsResponse(Message, api_key=34, versions="0-2", flexible="2+"):
    TABLE = """
        throttle_time_ms         int32                                  0+
        results                  []AlterReplicaLogDirTopicResult        0+
            topic_name           string                                 0+
            partitions           []AlterReplicaLogDirPartitionResult    0+
                partition_index  int32                                  0+
                error_code       int16                                  0+
    """
