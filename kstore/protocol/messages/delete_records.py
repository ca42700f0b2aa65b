"""DeleteRecords (21): forget what lies before an offset (KIP-107); -1 is the high watermark."""

from kstore.protocol.schema import Message


class DeleteRecordsRequest(Message, api_key=21, versions="0-2", flexible="2+"):
    TABLE = """
        topics                   []DeleteRecordsTopic      0+
            name                 string                    0+
            partitions           []DeleteRecordsPartition  0+
                partition_index  int32                     0+
                offset           int64                     0+
        timeout_ms               int32                     0+
    """


class DeleteRecordsResponse(Message, api_key=21, versions="0-2", flexible="2+"):
    TABLE = """
        throttle_time_ms         int32                           0+
        topics                   []DeleteRecordsTopicResult      0+
            name                 string                          0+
            partitions           []DeleteRecordsPartitionResult  0+
                partition_index  int32                           0+
                low_watermark    int64                           0+
                error_code       int16                           0+
    """
