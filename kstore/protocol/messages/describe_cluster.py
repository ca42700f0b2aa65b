"""DescribeCluster (60): brokers, controller and cluster id (KIP-700; endpoint types KIP-919)."""

from kstore.protocol.schema import Message


class DescribeClusterRequest(Message, api_key=60, versions="0-1", flexible="0+"):
    TABLE = """
        include_cluster_authorized_operations  bool  0+
        endpoint_type                          int8  1+  = 1
    """


class DescribeClusterResponse(Message, api_key=60, versions="0-1", flexible="0+"):
    TABLE = """
        throttle_time_ms               int32                    0+
        error_code                     int16                    0+
        error_message                  string                   0+  null 0+ = null
        endpoint_type                  int8                     1+  = 1
        cluster_id                     string                   0+
        controller_id                  int32                    0+  = -1
        brokers                        []DescribeClusterBroker  0+
            broker_id                  int32                    0+
            host                       string                   0+
            port                       int32                    0+
            rack                       string                   0+  null 0+ = null
        cluster_authorized_operations  int32                    0+  = -2147483648
    """
