"""ControlledShutdown (7): a broker asks the controller to move what it leads elsewhere before it stops.

The header of version 0 has no client id; version 2 adds the broker epoch (KIP-380).
"""

from kstore.protocol.schema import Message


class ControlledShutdownRequest(Message, api_key=7, versions="0-3", flexible="3+"):
    TABLE = """
        broker_id     int32  0+
        broker_epoch  int64  2+  = -1 ignorable
    """


class ControlledShutdownResponse(Message, api_key=7, versions="0-3", flexible="3+"):
    TABLE = """
        error_code            int16                 0+
        remaining_partitions  []RemainingPartition  0+
            topic_name        string                0+
            partition_index   int32                 0+
    """
