"""LeaveGroup (13): one member leaves (to version 2), or several are taken out (KIP-345, reasons KIP-800)."""

from kstore.protocol.schema import Message


class LeaveGroupRequest(Message, api_key=13, versions="0-5", flexible="4+"):
    TABLE = """
        group_id               string            0+
        member_id              string            0-2
        members                []MemberIdentity  3+
            member_id          string            3+
            group_instance_id  string            3+   null 3+ = null
            reason             string            5+   null 5+ = null ignorable
    """


class LeaveGroupResponse(Message, api_key=13, versions="0-5", flexible="4+"):
    TABLE = """
        throttle_time_ms       int32             1+  ignorable
        error_code             int16             0+
        members                []MemberResponse  3+
            member_id          string            3+
            group_instance_id  string            3+  null 3+
            error_code         int16             3+
    """
