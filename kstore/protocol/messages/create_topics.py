"""CreateTopics (19): topics by counts or by assignment, or only the check of them (KIP-4).

From version 4 on -1 asks for the broker's default counts (KIP-464); from 5 on the answer holds the
configuration (KIP-525), from 7 on the topic id (KIP-516).
"""

from kstore.protocol.schema import Message


class CreateTopicsRequest(Message, api_key=19, versions="0-7", flexible="5+"):
    TABLE = """
        topics                   []CreatableTopic              0+
            name                 string                        0+
            num_partitions       int32                         0+
            replication_factor   int16                         0+
            assignments          []CreatableReplicaAssignment  0+
                partition_index  int32                         0+
                broker_ids       []int32                       0+
            configs              []CreatableTopicConfig        0+
                name             string                        0+
                value            string                        0+  null 0+
        timeout_ms               int32                         0+  = 60000
        validate_only            bool                          1+
    """


class CreateTopicsResponse(Message, api_key=19, versions="0-7", flexible="5+"):
    TABLE = """
        throttle_time_ms             int32                    2+  ignorable
        topics                       []CreatableTopicResult   0+
            name                     string                   0+
            topic_id                 uuid                     7+  ignorable
            error_code               int16                    0+
            error_message            string                   1+  null 0+ ignorable
            topic_config_error_code  int16                    5+  tag 0 5+ ignorable
            num_partitions           int32                    5+  = -1 ignorable
            replication_factor       int16                    5+  = -1 ignorable
            configs                  []CreatableTopicConfigs  5+  null 5+ ignorable
                name                 string                   5+
                value                string                   5+  null 5+
                read_only            bool                     5+
                config_source        int8                     5+  = -1 ignorable
                is_sensitive         bool                     5+
    """
