"""What this broker tells clients of itself and of the partitions in the image."""

from typing import NamedTuple

from kstore._native.connection import Request
from kstore.cluster.image import NO_LEADER, PartitionImage
from kstore.errors import NONE, LeaderNotAvailableError
from kstore.server.context import Context

# Operations a client without an authorizer may do, as bits by AclOperation's codes (AclEntry.scala).
TOPIC_OPERATIONS = sum(1 << code for code in (3, 4, 5, 6, 7, 8, 10, 11))
GROUP_OPERATIONS = sum(1 << code for code in (3, 6, 8))
CLUSTER_OPERATIONS = sum(1 << code for code in (5, 7, 8, 9, 10, 11, 12))
OPERATIONS_NOT_ASKED = -(2**31)


class Broker(NamedTuple):
    id: int
    host: str
    port: int
    rack: str | None


class PartitionState(NamedTuple):
    """A partition as Metadata describes it."""

    error_code: int
    leader: int
    offline_replicas: list[int]


def brokers(context: Context, request: Request) -> list[Broker]:
    """The cluster's brokers as clients of the request's listener reach them."""
    listener = request.connection.listener_name
    if context.cluster is not None:
        found = [(broker, broker.endpoint_of(listener)) for broker in context.topics.image.brokers.values()]
        return [Broker(each.id, there.host, there.port, each.rack) for each, there in found if there is not None]
    endpoint = context.advertised[listener]
    return [Broker(context.node_id, endpoint.host, endpoint.port, context.config.broker_rack)]


def partition_state(context: Context, topic: str, index: int, partition: PartitionImage) -> PartitionState:
    is_ours = context.cluster is None or partition.leader == context.node_id
    if is_ours and (topic, index) in context.replicas.offline:
        return PartitionState(LeaderNotAvailableError.code, NO_LEADER, [context.node_id])
    offline = list(partition.offline_replicas)
    if partition.leader == NO_LEADER:
        return PartitionState(LeaderNotAvailableError.code, NO_LEADER, offline)
    if context.cluster is not None and partition.leader not in context.topics.image.brokers:
        return PartitionState(LeaderNotAvailableError.code, NO_LEADER, offline)
    return PartitionState(NONE, partition.leader, offline)


def controller_id(context: Context) -> int:
    """The broker that decides: this one, or the one that the cluster has elected."""
    return context.node_id if context.cluster is None else context.topics.image.controller_id


def client_host(request: Request) -> str:
    """The client's address as Kafka tells it in descriptions of groups (InetAddress.toString)."""
    host = request.connection.peer[0]
    if ":" in host:
        import socket

        packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
        host = ":".join(f"{packed[i] << 8 | packed[i + 1]:x}" for i in range(0, 16, 2))
    return f"/{host}"
