"""Who leads: on one node this broker leads every partition that it is in sync for.

Kafka: PartitionChangeBuilder.java, PartitionRegistration.merge (a change that names a leader raises the
leader epoch).
"""

from collections.abc import Container

from kstore.cluster.image import ClusterImage
from kstore.model import TopicPartition
from kstore.protocol.messages.metadata_records import PartitionChangeRecord


def claim_leadership(
    image: ClusterImage, *, broker_id: int, unclean: Container[TopicPartition]
) -> list[PartitionChangeRecord]:
    """Records by which `broker_id` leads what it can, to be written when it starts.

    A partition whose log was not closed cleanly gets a new epoch even if the leader stays: its tail may be
    lost, and clients notice that only by the epoch (KIP-320).
    """
    records = []
    for topic in image.topics.values():
        for index, partition in topic.partitions.items():
            if broker_id not in partition.isr:
                continue
            if partition.leader != broker_id or TopicPartition(topic.name, index) in unclean:
                records.append(PartitionChangeRecord(topic_id=topic.id, partition_id=index, leader=broker_id))
    return records
