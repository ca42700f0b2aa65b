"""Heartbeat (12): a member is alive, and learns that the group rebalances (KIP-345)."""

from kstore.protocol.schema import Message


class HeartbeatRequest(Message, api_key=12, versions="0-4", flexible="4+"):
    TABLE = """
        group_id           string  0+
        generation_id      int32   0+
        member_id          string  0+
        group_instance_id  string  3+  null 3+ = null
    """


class HeartbeatResponse(Message, api_key=12, versions="0-4", flexible="4+"):
    TABLE = """
        throttle_time_ms  int32  1+  ignorable
        error_code        int16  0+
    """
