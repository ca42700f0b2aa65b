"""AllocateProducerIds (67): a broker asks the controller for a block of producer ids (KIP-730)."""

from kstore.protocol.schema import Message


class AllocateProducerIdsRequest(Message, api_key=67, versions="0", flexible="0+"):
    TABLE = """
        broker_id     int32  0+
        broker_epoch  int64  0+  = -1
    """


class AllocateProducerIdsResponse(Message, api_key=67, versions="0", flexible="0+"):
    TABLE = """
        throttle_time_ms   int32  0+
        error_code         int16  0+
        producer_id_start  int64  0+
        producer_id_len    int32  0+
    """
