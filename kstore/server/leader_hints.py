"""Who leads a partition that this broker does not, told in the answer that refuses: clients need not ask (KIP-951).

Kafka: KafkaApis.getCurrentLeader. Where this broker holds the partition, what its own controller request said is newer
than what the image has.
"""

from kstore._native.connection import Request
from kstore.errors import FencedLeaderEpochError, KafkaError, NotLeaderOrFollowerError
from kstore.server.context import Context

PRODUCE_FROM = 10
FETCH_FROM = 16

NOBODY = (-1, -1)

# (broker, host, port, rack)
NodeEndpoint = tuple[int, str, int, str | None]


class LeaderHints:
    """`endpoints` are the leaders that one answer names, as its client reaches them."""

    def __init__(self, context: Context, request: Request) -> None:
        self._context = context
        self._listener = request.connection.listener_name
        self.endpoints: dict[int, NodeEndpoint] = {}

    def of(self, topic: str | None, index: int) -> tuple[int, int] | None:
        """(leader, leader epoch); None where nothing is known."""
        leader, epoch = self._leader_of(topic or "", index)
        broker = self._context.topics.image.brokers.get(leader)
        endpoint = None if broker is None else broker.endpoint_of(self._listener)
        if broker is not None and endpoint is not None:
            self.endpoints[leader] = (leader, endpoint.host, endpoint.port, broker.rack)
        return None if (leader, epoch) == NOBODY else (leader, epoch)

    def _leader_of(self, topic: str, index: int) -> tuple[int, int]:
        held = self._context.replicas.partitions.get((topic, index))
        if held is not None:
            return held.leader_id, held.leader_epoch
        known = self._context.topics.image.topics.get(topic)
        partition = None if known is None else known.partitions.get(index)
        return NOBODY if partition is None else (partition.leader, partition.leader_epoch)


def is_hinted(error: KafkaError | int) -> bool:
    """Whether clients are helped by the leader's name; a producer never sees the second of the two."""
    code = error if isinstance(error, int) else error.code
    return code in (NotLeaderOrFollowerError.code, FencedLeaderEpochError.code)
