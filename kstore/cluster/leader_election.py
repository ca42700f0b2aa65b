"""Who leads and who is in sync when brokers and directories come and go, in a cluster with ZooKeeper.

`online` are the replicas that answer: their broker is alive and their directory too. `electable` are those of them
that do not shut down. Every change that a controller makes of itself raises the leader epoch. Kafka: Election.scala,
PartitionStateMachine.scala (PartitionLeaderElectionAlgorithms), ReplicaStateMachine.scala.
"""

from collections.abc import Container

from kstore.cluster.image import NO_LEADER, PartitionImage

RECOVERED, RECOVERING = 0, 1


def first_leader(partition: PartitionImage, *, electable: Container[int]) -> PartitionImage | None:
    """The first state of a new partition: led by the first replica that is there, all those there in sync; None while
    none is."""
    isr = tuple(replica for replica in partition.replicas if replica in electable)
    return partition._replace(leader=isr[0], leader_epoch=0, isr=isr) if isr else None


def settled(
    partition: PartitionImage,
    *,
    online: Container[int],
    electable: Container[int],
    came: Container[int] = (),
    whole: Container[int] = (),
    doubted: bool = False,
) -> PartitionImage | None:
    """The state that fits who is there, or None if it is so already; `came` are there since a moment ago, and what they
    led before is over. Of them those that are `whole` come first; where they are `doubted` nobody is elected yet
    (standing.py).

    What is not there leaves the ISR, and a leader that is not there is replaced by the first replica in sync. The ISR
    never empties (rule 26): where all of it is gone, all of it stays, and any of them may lead again, for nothing was
    written since.
    """
    if partition.partition_epoch < 0:
        return first_leader(partition, electable=electable)
    staying = [replica for replica in partition.isr if replica in online and replica not in came]
    if partition.leader in staying:
        if len(staying) == len(partition.isr):
            return None
        return partition._replace(leader_epoch=partition.leader_epoch + 1, isr=tuple(staying))
    elected = elect_in_sync(partition, electable=[replica for replica in staying if replica in electable])
    if elected is None and not doubted:
        # What has come back can bring back its partition.
        back = [replica for replica in partition.isr if replica in electable]
        back = [replica for replica in back if replica in whole] or back
        elected = elect_in_sync(partition, electable=back)
    if elected is not None or partition.leader == NO_LEADER:
        return elected
    return partition._replace(leader=NO_LEADER, leader_epoch=partition.leader_epoch + 1)


def elect_in_sync(partition: PartitionImage, *, electable: Container[int]) -> PartitionImage | None:
    """Led by the first replica in sync that can be elected; None if there is none.

    Whoever is not in the ISR may lack what was acknowledged, and is not asked.
    """
    isr = tuple(replica for replica in partition.isr if replica in electable)
    leader = next((replica for replica in partition.replicas if replica in isr), NO_LEADER)
    if leader == NO_LEADER:
        return None
    return partition._replace(leader=leader, leader_epoch=partition.leader_epoch + 1, isr=isr)


def elect_unclean(partition: PartitionImage, *, electable: Container[int]) -> PartitionImage | None:
    """Led by a replica that is not in sync, because somebody has said that records may be lost (KIP-704, rule 27).

    A replica that is only being added may be empty: it is the last to be asked.
    """
    order = sorted(partition.replicas, key=lambda replica: replica in partition.adding_replicas)
    leader = next((replica for replica in order if replica in electable), NO_LEADER)
    if leader == NO_LEADER:
        return None
    return partition._replace(
        leader=leader,
        leader_epoch=partition.leader_epoch + 1,
        isr=(leader,),
        leader_recovery_state=RECOVERING if leader not in partition.isr else partition.leader_recovery_state,
    )


def elect_preferred(partition: PartitionImage, *, electable: Container[int]) -> PartitionImage | None:
    """Led by its first replica, the ISR as it is; None if that one cannot be elected or is not in sync."""
    preferred = partition.replicas[0]
    if preferred not in electable or preferred not in partition.isr:
        return None
    return partition._replace(leader=preferred, leader_epoch=partition.leader_epoch + 1)


def without_follower(partition: PartitionImage, broker_id: int) -> PartitionImage | None:
    """The ISR without a follower that shuts down; None if it was not in it."""
    if broker_id not in partition.isr or partition.isr == (broker_id,):
        return None
    isr = tuple(replica for replica in partition.isr if replica != broker_id)
    return partition._replace(leader_epoch=partition.leader_epoch + 1, isr=isr)
