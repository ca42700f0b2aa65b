"""OffsetDelete (47): the offsets of single partitions are forgotten (KIP-496)."""

from kstore.protocol.schema import Message


class OffsetDeleteRequest(Message, api_key=47, versions="0", flexible="none"):
    TABLE = """
        group_id                 string                          0+
        topics                   []OffsetDeleteRequestTopic      0+
            name                 string                          0+
            partitions           []OffsetDeleteRequestPartition  0+
                partition_index  int32                           0+
    """


class OffsetDeleteResponse(Message, api_key=47, versions="0", flexible="none"):
    TABLE = """
        error_code               int16                            0+
        throttle_time_ms         int32                            0+  ignorable
        topics                   []OffsetDeleteResponseTopic      0+
            name                 string                           0+
            partitions           []OffsetDeleteResponsePartition  0+
                partition_index  int32                            0+
                error_code       int16                            0+
    """
