"""DeleteTopics (20): by name, and from version 6 on by name or id (KIP-516)."""

from kstore.protocol.schema import Message


class DeleteTopicsRequest(Message, api_key=20, versions="0-6", flexible="4+"):
    TABLE = """
        topics        []DeleteTopicState  6+
            name      string              6+   null 6+ = null
            topic_id  uuid                6+
        topic_names   []string            0-5  ignorable
        timeout_ms    int32               0+
    """


class DeleteTopicsResponse(Message, api_key=20, versions="0-6", flexible="4+"):
    TABLE = """
        throttle_time_ms   int32                   1+  ignorable
        responses          []DeletableTopicResult  0+
            name           string                  0+  null 6+
            topic_id       uuid                    6+  ignorable
            error_code     int16                   0+
            error_message  string                  5+  null 5+ = null ignorable
    """
