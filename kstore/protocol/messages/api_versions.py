"""ApiVersions (18): what a broker serves; the first request of every client (KIP-35, KIP-511, KIP-584).

The answer's header never has tagged fields, so that a client can read it before it knows anything. A version
that the broker does not know is answered with UNSUPPORTED_VERSION in version 0. Up to version 3 a feature
whose lowest version is 0 is left out of the answer, because old clients refuse it (KAFKA-17011).
"""

from kstore.protocol.schema import Message


class ApiVersionsRequest(Message, api_key=18, versions="0-4", flexible="3+"):
    TABLE = """
        client_software_name     string  3+  ignorable
        client_software_version  string  3+  ignorable
    """


class ApiVersionsResponse(Message, api_key=18, versions="0-4", flexible="3+"):
    TABLE = """
        error_code                int16                  0+
        api_keys                  []ApiVersion           0+
            api_key               int16                  0+
            min_version           int16                  0+
            max_version           int16                  0+
        throttle_time_ms          int32                  1+  ignorable
        supported_features        []SupportedFeatureKey  3+  tag 0 3+ ignorable
            name                  string                 3+
            min_version           int16                  3+
            max_version           int16                  3+
        finalized_features_epoch  int64                  3+  tag 1 3+ = -1 ignorable
        finalized_features        []FinalizedFeatureKey  3+  tag 2 3+ ignorable
            name                  string                 3+
            max_version_level     int16                  3+
            min_version_level     int16                  3+
        zk_migration_ready        bool                   3+  tag 3 3+ ignorable
    """
