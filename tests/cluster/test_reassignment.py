"""Replicas come in before others go: the table of KafkaController.onPartitionReassignment, and what may be refused."""

import pytest

from kstore.cluster.image import PartitionImage
from kstore.cluster.reassignment import begun, check_target, finished, is_reassigned, origin_of, target_of
from kstore.errors import InvalidReplicaAssignmentError

ALL = frozenset(range(1, 7))


def partition(**fields: object) -> PartitionImage:
    known = PartitionImage((1, 2, 3), (1, 2, 3), 1, leader_epoch=4, partition_epoch=7)
    return known._replace(**fields)  # type: ignore[arg-type]


def test_the_wanted_replicas_come_first_and_all_are_replicas_until_it_ends() -> None:
    moving = begun(partition(), (4, 5, 6), electable=ALL)
    assert moving.replicas == (4, 5, 6, 1, 2, 3)
    assert (moving.adding_replicas, moving.removing_replicas) == ((4, 5, 6), (1, 2, 3))
    assert (moving.leader, moving.isr, moving.leader_epoch) == (1, (1, 2, 3), 5)
    assert (target_of(moving), origin_of(moving)) == ((4, 5, 6), (1, 2, 3))
    assert is_reassigned(moving)


def test_it_ends_when_all_that_are_wanted_are_in_sync() -> None:
    moving = begun(partition(), (4, 5), electable=ALL)
    assert finished(moving._replace(isr=(1, 2, 3, 4)), online=ALL, electable=ALL) is None
    done = finished(moving._replace(isr=(1, 2, 3, 4, 5)), online=ALL, electable=ALL)
    assert done is not None
    assert (done.replicas, done.isr, done.leader, done.leader_epoch) == ((4, 5), (4, 5), 4, 6)
    assert not is_reassigned(done)


def test_a_leader_that_stays_a_replica_goes_on_to_lead() -> None:
    moving = begun(partition(), (4, 1), electable=ALL)
    done = finished(moving._replace(isr=(1, 2, 4)), online=ALL, electable=ALL)
    assert done is not None
    assert (done.leader, done.isr) == (1, (1, 4))


def test_it_waits_for_somebody_who_can_lead() -> None:
    moving = begun(partition(), (4,), electable=ALL)._replace(isr=(1, 2, 3, 4))
    assert finished(moving, online={1, 2, 3}, electable={1, 2, 3}) is None
    assert finished(moving, online=ALL, electable=ALL - {4}) is None


def test_what_is_cancelled_has_the_replicas_that_it_had() -> None:
    moving = begun(partition(), (4, 5), electable=ALL)._replace(isr=(1, 2, 3, 4))
    back = begun(moving, origin_of(moving), electable=ALL)
    assert (back.replicas, back.isr, back.leader) == ((1, 2, 3), (1, 2, 3), 1)
    assert not is_reassigned(back)


def test_a_second_wish_takes_the_place_of_the_first() -> None:
    moving = begun(partition(), (4, 5), electable=ALL)._replace(isr=(1, 2, 3, 4))
    other = begun(moving, (5, 6), electable=ALL)
    assert other.replicas == (5, 6, 1, 2, 3)
    assert (other.adding_replicas, other.removing_replicas, other.isr) == ((5, 6), (1, 2, 3), (1, 2, 3))


def test_nobody_out_of_sync_is_made_the_leader() -> None:
    moving = begun(partition(), (4,), electable=ALL)._replace(isr=(4,), leader=4)
    with pytest.raises(InvalidReplicaAssignmentError, match="in sync are"):
        begun(moving, origin_of(moving), electable=ALL)


@pytest.mark.parametrize("target", [(), (1, 1), (1, -1), (1, 9)])
def test_a_target_names_each_live_broker_once(target: tuple[int, ...]) -> None:
    with pytest.raises(InvalidReplicaAssignmentError):
        check_target(partition(), target, live=ALL)


def test_a_replica_that_is_away_may_stay() -> None:
    check_target(partition(), (4, 3), live={1, 2, 4})
