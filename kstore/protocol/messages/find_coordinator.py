"""FindCoordinator (10): which broker coordinates a group (key type 0) or a transaction (1).

From version 4 on one request asks for many keys (KIP-699).
"""

from kstore.protocol.schema import Message


class FindCoordinatorRequest(Message, api_key=10, versions="0-6", flexible="3+"):
    TABLE = """
        key               string    0-3
        key_type          int8      1+
        coordinator_keys  []string  4+
    """


class FindCoordinatorResponse(Message, api_key=10, versions="0-6", flexible="3+"):
    TABLE = """
        throttle_time_ms   int32          1+   ignorable
        error_code         int16          0-3
        error_message      string         1-3  null 1-3 ignorable
        node_id            int32          0-3
        host               string         0-3
        port               int32          0-3
        coordinators       []Coordinator  4+
            key            string         4+
            node_id        int32          4+
            host           string         4+
            port           int32          4+
            error_code     int16          4+
            error_message  string         4+   null 4+ ignorable
    """
