"""Our own declarations of Kafka's messages, one table an API; its module is imported when it is asked for."""

from importlib import import_module

from kstore.protocol.schema import Message

_MODULES = {
    0: ("produce", "Produce"),
    1: ("fetch", "Fetch"),
    2: ("list_offsets", "ListOffsets"),
    3: ("metadata", "Metadata"),
    4: ("leader_and_isr", "LeaderAndIsr"),
    5: ("stop_replica", "StopReplica"),
    6: ("update_metadata", "UpdateMetadata"),
    7: ("controlled_shutdown", "ControlledShutdown"),
    8: ("offset_commit", "OffsetCommit"),
    9: ("offset_fetch", "OffsetFetch"),
    10: ("find_coordinator", "FindCoordinator"),
    11: ("join_group", "JoinGroup"),
    12: ("heartbeat", "Heartbeat"),
    13: ("leave_group", "LeaveGroup"),
    14: ("sync_group", "SyncGroup"),
    15: ("describe_groups", "DescribeGroups"),
    16: ("list_groups", "ListGroups"),
    18: ("api_versions", "ApiVersions"),
    19: ("create_topics", "CreateTopics"),
    20: ("delete_topics", "DeleteTopics"),
    21: ("delete_records", "DeleteRecords"),
    22: ("init_producer_id", "InitProducerId"),
    23: ("offset_for_leader_epoch", "OffsetForLeaderEpoch"),
    32: ("describe_configs", "DescribeConfigs"),
    33: ("alter_configs", "AlterConfigs"),
    34: ("alter_replica_log_dirs", "AlterReplicaLogDirs"),
    35: ("describe_log_dirs", "DescribeLogDirs"),
    37: ("create_partitions", "CreatePartitions"),
    42: ("delete_groups", "DeleteGroups"),
    43: ("elect_leaders", "ElectLeaders"),
    44: ("incremental_alter_configs", "IncrementalAlterConfigs"),
    45: ("alter_partition_reassignments", "AlterPartitionReassignments"),
    46: ("list_partition_reassignments", "ListPartitionReassignments"),
    47: ("offset_delete", "OffsetDelete"),
    56: ("alter_partition", "AlterPartition"),
    60: ("describe_cluster", "DescribeCluster"),
    67: ("allocate_producer_ids", "AllocateProducerIds"),
    75: ("describe_topic_partitions", "DescribeTopicPartitions"),
}

_schemas: dict[int, tuple[type[Message], type[Message]]] = {}


def schema(api_key: int) -> tuple[type[Message], type[Message]]:
    """The request and response classes of an API. Raises KeyError for one that has no table."""
    known = _schemas.get(api_key)
    if known is None:
        module_name, name = _MODULES[api_key]
        module = import_module(f"kstore.protocol.messages.{module_name}")
        known = _schemas[api_key] = getattr(module, f"{name}Request"), getattr(module, f"{name}Response")
    return known


def declared_api_keys() -> tuple[int, ...]:
    return tuple(_MODULES)
