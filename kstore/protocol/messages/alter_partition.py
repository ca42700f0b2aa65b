"""AlterPartition (56): a leader asks the controller for another set of in-sync replicas (KIP-497).

Recovery states come with version 1 (KIP-704), topic ids in the place of names with 2 (KIP-841), each replica's broker
epoch with 3 (KIP-903).
"""

from kstore.protocol.schema import Message


class AlterPartitionRequest(Message, api_key=56, versions="0-3", flexible="0+"):
    TABLE = """
        broker_id                      int32            0+
        broker_epoch                   int64            0+   = -1
        topics                         []TopicData      0+
            topic_name                 string           0-1  ignorable
            topic_id                   uuid             2+   ignorable
            partitions                 []PartitionData  0+
                partition_index        int32            0+
                leader_epoch           int32            0+
                new_isr                []int32          0-2
                new_isr_with_epochs    []BrokerState    3+
                    broker_id          int32            3+
                    broker_epoch       int64            3+   = -1
                leader_recovery_state  int8             1+
                partition_epoch        int32            0+
    """


class AlterPartitionResponse(Message, api_key=56, versions="0-3", flexible="0+"):
    TABLE = """
        throttle_time_ms               int32            0+
        error_code                     int16            0+
        topics                         []TopicData      0+
            topic_name                 string           0-1  ignorable
            topic_id                   uuid             2+   ignorable
            partitions                 []PartitionData  0+
                partition_index        int32            0+
                error_code             int16            0+
                leader_id              int32            0+
                leader_epoch           int32            0+
                isr                    []int32          0+
                leader_recovery_state  int8             1+   ignorable
                partition_epoch        int32            0+
    """
