"""JoinGroup (11): a member joins its group, or comes back to it for the next generation.

The answer waits until the generation is settled; only its leader gets the members. The member says which
assignors it has, with what it subscribes to in each (KIP-62 rebalance time-out, KIP-345 static members,
KIP-394 member ids, KIP-559 protocol type and name, KIP-800 reasons, KIP-814 skipped assignments).
"""

from kstore.protocol.schema import Message


class JoinGroupRequest(Message, api_key=11, versions="0-9", flexible="6+"):
    TABLE = """
        group_id              string                      0+
        session_timeout_ms    int32                       0+
        rebalance_timeout_ms  int32                       1+  = -1 ignorable
        member_id             string                      0+
        group_instance_id     string                      5+  null 5+ = null
        protocol_type         string                      0+
        protocols             []JoinGroupRequestProtocol  0+
            name              string                      0+
            metadata          bytes                       0+
        reason                string                      8+  null 8+ = null ignorable
    """


class JoinGroupResponse(Message, api_key=11, versions="0-9", flexible="6+"):
    TABLE = """
        throttle_time_ms       int32                      2+  ignorable
        error_code             int16                      0+
        generation_id          int32                      0+  = -1
        protocol_type          string                     7+  null 7+ = null ignorable
        protocol_name          string                     0+  null 7+
        leader                 string                     0+
        skip_assignment        bool                       9+
        member_id              string                     0+
        members                []JoinGroupResponseMember  0+
            member_id          string                     0+
            group_instance_id  string                     5+  null 5+ = null ignorable
            metadata           bytes                      0+
    """
