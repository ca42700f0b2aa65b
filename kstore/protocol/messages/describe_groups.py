"""DescribeGroups (15): state, members and assignments of groups (KIP-345, authorized operations KIP-430)."""

from kstore.protocol.schema import Message


class DescribeGroupsRequest(Message, api_key=15, versions="0-5", flexible="5+"):
    TABLE = """
        groups                         []string  0+
        include_authorized_operations  bool      3+
    """


class DescribeGroupsResponse(Message, api_key=15, versions="0-5", flexible="5+"):
    TABLE = """
        throttle_time_ms           int32                   1+  ignorable
        groups                     []DescribedGroup        0+
            error_code             int16                   0+
            group_id               string                  0+
            group_state            string                  0+
            protocol_type          string                  0+
            protocol_data          string                  0+
            members                []DescribedGroupMember  0+
                member_id          string                  0+
                group_instance_id  string                  4+  null 4+ = null ignorable
                client_id          string                  0+
                client_host        string                  0+
                member_metadata    bytes                   0+
                member_assignment  bytes                   0+
            authorized_operations  int32                   3+  = -2147483648
    """
