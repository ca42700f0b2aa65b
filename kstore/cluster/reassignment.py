"""From one set of replicas to another, while the partition is led and followed (KIP-455).

While it lasts the replicas are the wanted ones, in their order, and after them those that go; `adding_replicas` and
`removing_replicas` tell which is which. It ends when all that are wanted are in sync: then the others leave the ISR,
the leadership and their disks. Kafka: KafkaController.onPartitionReassignment, ControllerContext.ReplicaAssignment.
"""

from collections.abc import Container, Iterable

from kstore.cluster.image import NO_LEADER, PartitionImage
from kstore.errors import (
    InvalidReplicaAssignmentError,
    KafkaError,
    NoReassignmentInProgressError,
    UnknownTopicOrPartitionError,
)
from kstore.model import TopicPartition


def is_reassigned(partition: PartitionImage) -> bool:
    return bool(partition.adding_replicas or partition.removing_replicas)


def target_of(partition: PartitionImage) -> tuple[int, ...]:
    """The replicas that it will have."""
    return tuple(replica for replica in partition.replicas if replica not in partition.removing_replicas)


def origin_of(partition: PartitionImage) -> tuple[int, ...]:
    """The replicas that it had. Their order is lost where the two sets overlap, as in Kafka."""
    return tuple(replica for replica in partition.replicas if replica not in partition.adding_replicas)


def check_target(partition: PartitionImage, target: Iterable[int], *, live: Container[int]) -> None:
    """Raises InvalidReplicaAssignmentError."""
    wanted = list(target)
    if not wanted:
        raise InvalidReplicaAssignmentError("a partition has at least one replica")
    if len(set(wanted)) != len(wanted):
        raise InvalidReplicaAssignmentError(f"a broker is named twice: {wanted}")
    if any(replica < 0 for replica in wanted):
        raise InvalidReplicaAssignmentError(f"no broker has an id below 0: {wanted}")
    away = [replica for replica in reassigned(partition, wanted).adding_replicas if replica not in live]
    if away:
        raise InvalidReplicaAssignmentError(f"new replicas are to be on brokers that are not alive: {away}")


def refusal_alone(
    key: TopicPartition, partition: PartitionImage | None, target: tuple[int, ...] | None
) -> KafkaError | None:
    """What is said to a wish where there is one broker only: a replica is where it is wanted, or cannot get there."""
    if partition is None:
        return UnknownTopicOrPartitionError(f"there is no partition {key}")
    if target is None:
        return NoReassignmentInProgressError(f"{key} is not being reassigned")
    try:
        check_target(partition, target, live=())
    except InvalidReplicaAssignmentError as error:
        return error
    return None


def reassigned(partition: PartitionImage, target: Iterable[int]) -> PartitionImage:
    """The assignment on the way to `target`; an earlier one that was on its way counts no more."""
    wanted, origin = tuple(target), origin_of(partition)
    replicas = tuple(dict.fromkeys(wanted + origin))
    return partition._replace(
        replicas=replicas,
        adding_replicas=tuple(replica for replica in replicas if replica not in origin),
        removing_replicas=tuple(replica for replica in replicas if replica not in wanted),
    )


def begun(partition: PartitionImage, target: Iterable[int], *, electable: Container[int]) -> PartitionImage:
    """The state in which the replicas of `target` begin to follow, in a new epoch for the leader to know them by.

    Replicas of an earlier reassignment that are not wanted any more leave the ISR. Raises InvalidReplicaAssignmentError
    where nobody in sync would be left: that would be an unclean election.
    """
    after = reassigned(partition, target)
    isr = tuple(replica for replica in partition.isr if replica in after.replicas)
    leader = partition.leader
    if leader != NO_LEADER and leader not in after.replicas:
        leader = next((replica for replica in after.replicas if replica in isr and replica in electable), NO_LEADER)
    if not isr or (leader == NO_LEADER and partition.leader != NO_LEADER):
        raise InvalidReplicaAssignmentError(f"in sync are {list(partition.isr)}, and none of {list(after.replicas)}")
    return after._replace(isr=isr, leader=leader, leader_epoch=partition.leader_epoch + 1)


def finished(
    partition: PartitionImage, *, online: Container[int], electable: Container[int], raises_epoch: bool = True
) -> PartitionImage | None:
    """The state without what is to go, or None as long as not all that are wanted are in sync, or none of them can
    lead."""
    target = target_of(partition)
    if not set(target) <= set(partition.isr):
        return None
    leader = partition.leader
    if leader not in target or leader not in online:
        leader = next((replica for replica in target if replica in electable), NO_LEADER)
    if leader == NO_LEADER:
        return None
    return partition._replace(
        replicas=target,
        adding_replicas=(),
        removing_replicas=(),
        isr=tuple(replica for replica in partition.isr if replica in target),
        leader=leader,
        leader_epoch=partition.leader_epoch + int(raises_epoch),
    )
