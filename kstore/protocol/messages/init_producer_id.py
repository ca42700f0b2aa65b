"""InitProducerId (22): an id and an epoch for a producer (KIP-98; bumping a known epoch: KIP-360)."""

from kstore.protocol.schema import Message


class InitProducerIdRequest(Message, api_key=22, versions="0-5", flexible="2+"):
    TABLE = """
        transactional_id        string  0+  null 0+
        transaction_timeout_ms  int32   0+
        producer_id             int64   3+  = -1
        producer_epoch          int16   3+  = -1
    """


class InitProducerIdResponse(Message, api_key=22, versions="0-5", flexible="2+"):
    TABLE = """
        throttle_time_ms  int32  0+  ignorable
        error_code        int16  0+
        producer_id       int64  0+  = -1
        producer_epoch    int16  0+
    """
