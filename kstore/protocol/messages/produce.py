"""Produce (0): records for partitions, and where they landed.

Versions 0 to 2 carried older record formats and are refused, yet the broker's list of versions begins at 0:
librdkafka would otherwise not compress (KAFKA-18659). Record errors: KIP-467; leader hints: KIP-951. The
broker itself uses the hand-written `hot_messages`, which tests hold equal to these tables.
"""

from kstore.protocol.schema import Message


class ProduceRequest(Message, api_key=0, versions="3-11", flexible="9+"):
    TABLE = """
        transactional_id    string                  3+  null 3+ = null
        acks                int16                   0+
        timeout_ms          int32                   0+
        topic_data          []TopicProduceData      0+
            name            string                  0+
            partition_data  []PartitionProduceData  0+
                index       int32                   0+
                records     records                 0+  null 0+
    """


class ProduceResponse(Message, api_key=0, versions="3-11", flexible="9+"):
    TABLE = """
        responses                              []TopicProduceResponse       0+
            name                               string                       0+
            partition_responses                []PartitionProduceResponse   0+
                index                          int32                        0+
                error_code                     int16                        0+
                base_offset                    int64                        0+
                log_append_time_ms             int64                        2+   = -1 ignorable
                log_start_offset               int64                        5+   = -1 ignorable
                record_errors                  []BatchIndexAndErrorMessage  8+   ignorable
                    batch_index                int32                        8+
                    batch_index_error_message  string                       8+   null 8+ = null
                error_message                  string                       8+   null 8+ = null ignorable
                current_leader                 LeaderIdAndEpoch             10+  tag 0 10+
                    leader_id                  int32                        10+  = -1
                    leader_epoch               int32                        10+  = -1
        throttle_time_ms                       int32                        1+   ignorable
        node_endpoints                         []NodeEndpoint               10+  tag 0 10+
            node_id                            int32                        10+
            host                               string                       10+
            port                               int32                        10+
            rack                               string                       10+  null 10+ = null
    """
