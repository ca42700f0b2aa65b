"""Who leads: on one node this broker every partition that it is in sync for, with more whoever is alive and in sync.

Kafka: PartitionChangeBuilder.java, PartitionRegistration.merge (a change that names a leader raises the
leader epoch).
"""

from collections.abc import Container

from kstore.cluster.image import NO_LEADER, ClusterImage, PartitionImage
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


# --- many brokers, with ZooKeeper (controller/Election.scala, PartitionStateMachine.scala) ---


def first_leader(partition: PartitionImage, *, live: Container[int]) -> PartitionImage | None:
    """The first state of a new partition: led by the first replica that is alive, all those alive in sync; None while
    none is."""
    isr = tuple(replica for replica in partition.replicas if replica in live)
    return partition._replace(leader=isr[0], leader_epoch=0, isr=isr) if isr else None


def elect_offline(partition: PartitionImage, *, live: Container[int]) -> PartitionImage | None:
    """A leader for a partition that has none: the first replica that is alive and in sync; None if there is none.

    Whoever is not in the ISR may lack what was acknowledged, and is not asked (no unclean election).
    """
    isr = tuple(replica for replica in partition.isr if replica in live)
    leader = next((replica for replica in partition.replicas if replica in isr), NO_LEADER)
    if leader == NO_LEADER:
        return None
    return partition._replace(leader=leader, leader_epoch=partition.leader_epoch + 1, isr=isr)


def without(partition: PartitionImage, gone: Container[int], *, live: Container[int]) -> PartitionImage | None:
    """The state after brokers have gone; None if it stays as it is.

    The leader epoch rises with every change that a controller makes of itself. The ISR never empties (rule 26): where
    all of it is gone, all of it stays, and any of them may lead again, for nothing was written since.
    """
    if not any(replica in gone for replica in partition.isr) and partition.leader not in gone:
        return None
    staying = [replica for replica in partition.isr if replica in live and replica not in gone]
    if partition.leader not in gone and partition.leader in staying:
        return partition._replace(leader_epoch=partition.leader_epoch + 1, isr=tuple(staying))
    elected = elect_offline(partition, live=frozenset(staying))
    if elected is not None:
        return elected
    if partition.leader == NO_LEADER:
        return None
    return partition._replace(leader=NO_LEADER, leader_epoch=partition.leader_epoch + 1)
