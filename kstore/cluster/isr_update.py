"""Whether the in-sync replicas that a leader proposes are agreed to (KafkaController.tryProcessAlterPartition).

Stricter than Kafka with ZooKeeper in one thing: a replica that fetched, stopped, lost its tail and started anew has
another broker epoch, and is not let in by what it had fetched before (rule 25, KIP-903).
"""

from collections.abc import Container, Mapping
from typing import NamedTuple

from kstore.cluster.image import BrokerImage, PartitionImage
from kstore.errors import (
    FencedLeaderEpochError,
    IneligibleReplicaError,
    InvalidRequestError,
    InvalidUpdateVersionError,
    NotControllerError,
)

RECOVERING = 1
UNKNOWN_EPOCH = -1


class IsrProposal(NamedTuple):
    """`isr` maps replicas to the broker epochs that they fetch with, -1 where that is not said."""

    broker_id: int
    leader_epoch: int
    partition_epoch: int
    isr: Mapping[int, int]
    leader_recovery_state: int = 0


def decide_isr(
    current: PartitionImage,
    proposal: IsrProposal,
    *,
    brokers: Mapping[int, BrokerImage],
    shutting_down: Container[int],
) -> PartitionImage | None:
    """The new state, or None if it is so already: an answer was lost, and the leader asks again (rule 50).

    Raises the KafkaError that refuses.
    """
    if proposal.leader_epoch > current.leader_epoch or proposal.partition_epoch > current.partition_epoch:
        raise NotControllerError(f"the leader knows more than this controller: {proposal} against {current}")
    if proposal.leader_epoch < current.leader_epoch or proposal.broker_id != current.leader:
        raise FencedLeaderEpochError(f"broker {current.leader} leads in epoch {current.leader_epoch}: {proposal}")
    if set(proposal.isr) == set(current.isr) and proposal.leader_recovery_state == current.leader_recovery_state:
        return None
    if proposal.partition_epoch < current.partition_epoch:
        raise InvalidUpdateVersionError(f"the partition's epoch is {current.partition_epoch}: {proposal}")
    if current.leader not in proposal.isr or not set(proposal.isr) <= set(current.replicas):
        raise InvalidRequestError(f"{proposal} is no in-sync set of the replicas {current.replicas}")
    if proposal.leader_recovery_state == RECOVERING and (len(proposal.isr) > 1 or current.leader_recovery_state == 0):
        raise InvalidRequestError(f"{proposal}: a leader that recovers is alone in sync")
    for replica, epoch in proposal.isr.items():
        broker = brokers.get(replica)
        if replica not in current.isr and (broker is None or replica in shutting_down):
            raise IneligibleReplicaError(f"broker {replica} is not alive, or shuts down: {proposal}")
        if broker is not None and epoch not in (UNKNOWN_EPOCH, broker.epoch) and replica not in current.isr:
            raise IneligibleReplicaError(f"broker {replica} has epoch {broker.epoch} by now: {proposal}")
    isr = tuple(replica for replica in current.replicas if replica in proposal.isr)
    return current._replace(isr=isr, leader_recovery_state=proposal.leader_recovery_state)
