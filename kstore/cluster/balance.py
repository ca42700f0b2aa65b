"""Which partitions ought to be led by their first replica again, because too many of a broker's are led elsewhere.

Kafka: KafkaController.checkAndTriggerAutoLeaderRebalance.
"""

from collections.abc import Iterable

from kstore.cluster.image import PartitionImage
from kstore.model import TopicPartition


def imbalanced(partitions: Iterable[tuple[TopicPartition, PartitionImage]], *, percentage: int) -> list[TopicPartition]:
    """Those that a broker should lead and does not, of the brokers where they are more than `percentage` of all that
    it should lead."""
    preferred: dict[int, int] = {}
    elsewhere: dict[int, list[TopicPartition]] = {}
    for key, partition in partitions:
        first = partition.replicas[0]
        preferred[first] = preferred.get(first, 0) + 1
        if partition.leader != first:
            elsewhere.setdefault(first, []).append(key)
    return [
        key
        for broker_id, keys in elsewhere.items()
        if len(keys) * 100 > percentage * preferred[broker_id]
        for key in keys
    ]
