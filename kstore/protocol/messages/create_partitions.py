"""CreatePartitions (37): more partitions for a topic (KIP-195); the count is the new total."""

from kstore.protocol.schema import Message


class CreatePartitionsRequest(Message, api_key=37, versions="0-3", flexible="2+"):
    TABLE = """
        topics              []CreatePartitionsTopic       0+
            name            string                        0+
            count           int32                         0+
            assignments     []CreatePartitionsAssignment  0+  null 0+
                broker_ids  []int32                       0+
        timeout_ms          int32                         0+
        validate_only       bool                          0+
    """


class CreatePartitionsResponse(Message, api_key=37, versions="0-3", flexible="2+"):
    TABLE = """
        throttle_time_ms   int32                          0+
        results            []CreatePartitionsTopicResult  0+
            name           string                         0+
            error_code     int16                          0+
            error_message  string                         0+  null 0+ = null
    """
