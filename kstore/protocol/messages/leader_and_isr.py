"""LeaderAndIsr (4): a ZooKeeper controller tells a broker which partitions it leads or follows.

Partitions are grouped by topic from version 2 on, the answer by topic id from 5 on (KIP-516); recovery states: KIP-704;
a KRaft controller's mark: KIP-866. The flat lists of versions 0 and 1 are the same struct with the topic's name in it.
"""

from kstore.protocol.schema import Message


class LeaderAndIsrRequest(Message, api_key=4, versions="0-7", flexible="4+"):
    TABLE = """
        controller_id               int32                         0+
        is_kraft_controller         bool                          7+
        controller_epoch            int32                         0+
        broker_epoch                int64                         2+   = -1 ignorable
        type                        int8                          5+
        ungrouped_partition_states  []LeaderAndIsrPartitionState  0-1
        topic_states                []LeaderAndIsrTopicState      2+
            topic_name              string                        2+
            topic_id                uuid                          5+   ignorable
            partition_states        []LeaderAndIsrPartitionState  2+
        live_leaders                []LeaderAndIsrLiveLeader      0+
            broker_id               int32                         0+
            host_name               string                        0+
            port                    int32                         0+
        struct                      LeaderAndIsrPartitionState
            topic_name              string                        0-1  ignorable
            partition_index         int32                         0+
            controller_epoch        int32                         0+
            leader                  int32                         0+
            leader_epoch            int32                         0+
            isr                     []int32                       0+
            partition_epoch         int32                         0+
            replicas                []int32                       0+
            adding_replicas         []int32                       3+   ignorable
            removing_replicas       []int32                       3+   ignorable
            is_new                  bool                          1+   ignorable
            leader_recovery_state   int8                          6+
    """


class LeaderAndIsrResponse(Message, api_key=4, versions="0-7", flexible="4+"):
    TABLE = """
        error_code            int16                         0+
        partition_errors      []LeaderAndIsrPartitionError  0-4
        topics                []LeaderAndIsrTopicError      5+
            topic_id          uuid                          5+
            partition_errors  []LeaderAndIsrPartitionError  5+
        struct                LeaderAndIsrPartitionError
            topic_name        string                        0-4  ignorable
            partition_index   int32                         0+
            error_code        int16                         0+
    """
