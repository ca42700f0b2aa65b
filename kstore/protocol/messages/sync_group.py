"""SyncGroup (14): the leader brings every member's assignment, each member waits for its own (KIP-345, KIP-559)."""

from kstore.protocol.schema import Message


class SyncGroupRequest(Message, api_key=14, versions="0-5", flexible="4+"):
    TABLE = """
        group_id           string                        0+
        generation_id      int32                         0+
        member_id          string                        0+
        group_instance_id  string                        3+  null 3+ = null
        protocol_type      string                        5+  null 5+ = null ignorable
        protocol_name      string                        5+  null 5+ = null ignorable
        assignments        []SyncGroupRequestAssignment  0+
            member_id      string                        0+
            assignment     bytes                         0+
    """


class SyncGroupResponse(Message, api_key=14, versions="0-5", flexible="4+"):
    TABLE = """
        throttle_time_ms  int32   1+  ignorable
        error_code        int16   0+
        protocol_type     string  5+  null 5+ = null ignorable
        protocol_name     string  5+  null 5+ = null ignorable
        assignment        bytes   0+
    """
