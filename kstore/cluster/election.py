"""Who leads on one node: this broker every partition that it is in sync for. In a cluster: leader_election.py.

Kafka: PartitionChangeBuilder.java, PartitionRegistration.merge (a change that names a leader raises the
leader epoch).
"""

from collections.abc import Container

from kstore.cluster.image import ClusterImage, PartitionImage
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
            if not may_lead(partition, broker_id):
                continue
            is_ours = partition.leader == broker_id and partition.isr == (broker_id,)
            if not is_ours or TopicPartition(topic.name, index) in unclean:
                records.append(claim(topic.id, index, partition, broker_id))
    return records


def claim(topic_id: bytes, index: int, partition: PartitionImage, broker_id: int) -> PartitionChangeRecord:
    """Makes `broker_id` leader and the only one in sync: other replicas are not there, and nothing may wait for
    them. A Kafka that starts here later lets them catch up and in again."""
    change = PartitionChangeRecord(topic_id=topic_id, partition_id=index, leader=broker_id)
    if partition.isr != (broker_id,):
        change.isr = [broker_id]
    if partition.eligible_leader_replicas:
        change.eligible_leader_replicas = []
    if partition.last_known_elr:
        change.last_known_elr = []
    return change


def may_lead(partition: PartitionImage, broker_id: int) -> bool:
    """Whether `broker_id` has all that was acknowledged.

    Kafka 4 empties the ISR when the last of it stops; an eligible leader, or the only replica, is as good (KIP-966).
    """
    if partition.isr:
        return broker_id in partition.isr
    return broker_id in partition.eligible_leader_replicas or partition.replicas == (broker_id,)
