"""Which proposals of in-sync replicas are agreed to."""

import pytest

from kstore.cluster.image import BrokerImage, PartitionImage
from kstore.cluster.isr_update import IsrProposal, decide_isr
from kstore.errors import (
    FencedLeaderEpochError,
    IneligibleReplicaError,
    InvalidRequestError,
    InvalidUpdateVersionError,
    KafkaError,
    NotControllerError,
)

CURRENT = PartitionImage((1, 2, 3), isr=(1, 2), leader=1, leader_epoch=7, partition_epoch=4)
ALIVE = {id: BrokerImage(id, (), None, 100 + id) for id in (1, 2, 3)}


def decide(proposal: IsrProposal, *, alive=ALIVE, shutting_down=()) -> PartitionImage | None:
    return decide_isr(CURRENT, proposal, brokers=alive, shutting_down=shutting_down)


def test_a_larger_and_a_smaller_set_keep_the_leader_epoch() -> None:
    larger = decide(IsrProposal(1, 7, 4, {3: 103, 2: 102, 1: -1}))
    assert larger is not None
    assert (larger.isr, larger.leader_epoch) == ((1, 2, 3), 7)
    smaller = decide(IsrProposal(1, 7, 4, {1: -1}))
    assert smaller is not None
    assert smaller.isr == (1,)


def test_what_is_so_already_is_agreed_to_whatever_the_partition_epoch() -> None:
    assert decide(IsrProposal(1, 7, 3, {2: -1, 1: -1})) is None


@pytest.mark.parametrize(
    ("proposal", "error"),
    [
        (IsrProposal(1, 8, 4, {1: -1}), NotControllerError),
        (IsrProposal(1, 7, 5, {1: -1}), NotControllerError),
        (IsrProposal(1, 6, 4, {1: -1}), FencedLeaderEpochError),
        (IsrProposal(2, 7, 4, {2: -1}), FencedLeaderEpochError),
        (IsrProposal(1, 7, 3, {1: -1}), InvalidUpdateVersionError),
        (IsrProposal(1, 7, 4, {2: -1}), InvalidRequestError),
        (IsrProposal(1, 7, 4, {1: -1, 9: -1}), InvalidRequestError),
        (IsrProposal(1, 7, 4, {1: -1, 2: -1, 3: 90}), IneligibleReplicaError),
    ],
)
def test_what_is_refused(proposal: IsrProposal, error: type[KafkaError]) -> None:
    with pytest.raises(error):
        decide(proposal)


def test_who_is_away_or_shuts_down_does_not_join() -> None:
    joining = IsrProposal(1, 7, 4, {1: -1, 2: -1, 3: -1})
    with pytest.raises(IneligibleReplicaError):
        decide(joining, alive={1: ALIVE[1], 2: ALIVE[2]})
    with pytest.raises(IneligibleReplicaError):
        decide(joining, shutting_down={3})
