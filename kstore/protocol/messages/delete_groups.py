"""DeleteGroups (42): empty groups and their offsets are forgotten (KIP-229)."""

from kstore.protocol.schema import Message


class DeleteGroupsRequest(Message, api_key=42, versions="0-2", flexible="2+"):
    TABLE = """
        groups_names  []string  0+
    """


class DeleteGroupsResponse(Message, api_key=42, versions="0-2", flexible="2+"):
    TABLE = """
        throttle_time_ms  int32                   0+
        results           []DeletableGroupResult  0+
            group_id      string                  0+
            error_code    int16                   0+
    """
