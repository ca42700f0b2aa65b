"""Records of `__transaction_state`: what transactional ids are doing.

    key:   | version int16 = 0 | message |        value: | version int16 | message |   null: the id is forgotten

(TransactionLog.scala; transaction-coordinator/src/main/resources/common/message.)
"""

from kstore.protocol.schema import Message

# TransactionState.scala, by the number that is written.
STATES = (
    "Empty",
    "Ongoing",
    "PrepareCommit",
    "PrepareAbort",
    "CompleteCommit",
    "CompleteAbort",
    "Dead",
    "PrepareEpochFence",
)


class TransactionLogKey(Message, versions="0", flexible="none"):
    TABLE = """
        transactional_id  string  0
    """


class TransactionLogValue(Message, versions="0-1", flexible="1+"):
    TABLE = """
        producer_id                           int64               0+
        producer_epoch                        int16               0+
        transaction_timeout_ms                int32               0+
        transaction_status                    int8                0+
        transaction_partitions                []PartitionsSchema  0+  null 0+
            topic                             string              0+
            partition_ids                     []int32             0+
        transaction_last_update_timestamp_ms  int64               0+
        transaction_start_timestamp_ms        int64               0+
    """
