"""IncrementalAlterConfigs (44): sets, deletes, appends to or subtracts from single keys (KIP-339)."""

from kstore.protocol.schema import Message


class IncrementalAlterConfigsRequest(Message, api_key=44, versions="0-1", flexible="1+"):
    TABLE = """
        resources                 []AlterConfigsResource  0+
            resource_type         int8                    0+
            resource_name         string                  0+
            configs               []AlterableConfig       0+
                name              string                  0+
                config_operation  int8                    0+
                value             string                  0+  null 0+
        validate_only             bool                    0+
    """


class IncrementalAlterConfigsResponse(Message, api_key=44, versions="0-1", flexible="1+"):
    TABLE = """
        throttle_time_ms   int32                           0+
        responses          []AlterConfigsResourceResponse  0+
            error_code     int16                           0+
            error_message  string                          0+  null 0+
            resource_type  int8                            0+
            resource_name  string                          0+
    """
