"""AlterConfigs (33): replaces the whole configuration of a resource (KIP-133)."""

from kstore.protocol.schema import Message


class AlterConfigsRequest(Message, api_key=33, versions="0-2", flexible="2+"):
    TABLE = """
        resources          []AlterConfigsResource  0+
            resource_type  int8                    0+
            resource_name  string                  0+
            configs        []AlterableConfig       0+
                name       string                  0+
                value      string                  0+  null 0+
        validate_only      bool                    0+
    """


class AlterConfigsResponse(Message, api_key=33, versions="0-2", flexible="2+"):
    TABLE = """
        throttle_time_ms   int32                           0+
        responses          []AlterConfigsResourceResponse  0+
            error_code     int16                           0+
            error_message  string                          0+  null 0+
            resource_type  int8                            0+
            resource_name  string                          0+
    """
