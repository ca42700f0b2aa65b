"""ListGroups (16): the groups that a broker coordinates, by state (KIP-518) and by type (KIP-848)."""

from kstore.protocol.schema import Message


class ListGroupsRequest(Message, api_key=16, versions="0-5", flexible="3+"):
    TABLE = """
        states_filter  []string  4+
        types_filter   []string  5+
    """


class ListGroupsResponse(Message, api_key=16, versions="0-5", flexible="3+"):
    TABLE = """
        throttle_time_ms   int32          1+  ignorable
        error_code         int16          0+
        groups             []ListedGroup  0+
            group_id       string         0+
            protocol_type  string         0+
            group_state    string         4+  ignorable
            group_type     string         5+  ignorable
    """
