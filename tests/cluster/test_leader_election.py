"""Who leads and who is in sync, as brokers and directories come and go."""

import pytest

from kstore.cluster.image import PartitionImage
from kstore.cluster.leader_election import (
    RECOVERING,
    elect_preferred,
    elect_unclean,
    settled,
    without_follower,
)


def partition(**fields: object) -> PartitionImage:
    known = PartitionImage((1, 2, 3), (1, 2, 3), 1, leader_epoch=4, partition_epoch=7)
    return known._replace(**fields)  # type: ignore[arg-type]


def settle(before: PartitionImage, *online: int, shutting_down: tuple[int, ...] = (), came: tuple[int, ...] = ()):
    electable = set(online) - set(shutting_down)
    after = settled(before, online=online, electable=electable, came=came)
    return None if after is None else (after.leader, after.isr, after.leader_epoch)


def test_what_fits_stays_as_it_is() -> None:
    assert settle(partition(), 1, 2, 3) is None
    # A replica that is not in sync may come and go.
    assert settle(partition(isr=(1, 2)), 1, 2) is None
    assert settle(partition(leader=-1, isr=(3,)), 1, 2) is None


def test_who_is_not_there_leaves_the_isr_and_the_leadership() -> None:
    assert settle(partition(), 1, 3) == (1, (1, 3), 5)
    assert settle(partition(), 2, 3) == (2, (2, 3), 5)


def test_the_isr_never_empties_and_brings_its_partition_back() -> None:
    assert settle(partition(isr=(1, 2)), 3) == (-1, (1, 2), 5)
    assert settle(partition(leader=-1, isr=(1, 2)), 2, 3) == (2, (2,), 5)


def test_a_leader_that_bounced_is_replaced_by_who_was_there_all_the_time() -> None:
    assert settle(partition(), 1, 2, 3, came=(1,)) == (2, (2, 3), 5)
    # Alone in sync it leads again, in a new epoch.
    assert settle(partition(isr=(1,)), 1, 2, 3, came=(1,)) == (1, (1,), 5)


def test_who_shuts_down_goes_on_to_lead_and_is_not_elected() -> None:
    assert settle(partition(isr=(1,)), 1, 2, 3, shutting_down=(1,)) is None
    assert settle(partition(isr=(1, 2)), 2, 3, shutting_down=(2,)) == (-1, (1, 2), 5)
    assert settle(partition(), 2, 3, shutting_down=(2,)) == (3, (3,), 5)


def test_a_preferred_leader_has_to_be_there_and_in_sync() -> None:
    away = partition(leader=2)
    elected = elect_preferred(away, electable={1, 2})
    assert elected is not None
    assert (elected.leader, elected.isr, elected.leader_epoch) == (1, (1, 2, 3), 5)
    assert elect_preferred(away, electable={2, 3}) is None
    assert elect_preferred(partition(leader=2, isr=(2, 3)), electable={1, 2, 3}) is None


def test_an_unclean_leader_is_alone_in_sync_and_recovers() -> None:
    lost = partition(leader=-1, isr=(1,))
    elected = elect_unclean(lost, electable={2, 3})
    assert elected is not None
    assert (elected.leader, elected.isr, elected.leader_epoch) == (2, (2,), 5)
    assert elected.leader_recovery_state == RECOVERING
    assert elect_unclean(lost, electable=set()) is None


def test_a_replica_that_is_only_being_added_is_the_last_to_lead_uncleanly() -> None:
    lost = partition(replicas=(4, 1, 2), isr=(1,), leader=-1, adding_replicas=(4,))
    for electable, leader in (({4, 2}, 2), ({4}, 4)):
        elected = elect_unclean(lost, electable=electable)
        assert elected is not None
        assert elected.leader == leader


@pytest.mark.parametrize(("isr", "left"), [((1, 2), (1,)), ((1, 3), None)])
def test_a_follower_that_shuts_down_leaves_the_isr(isr: tuple[int, ...], left: tuple[int, ...] | None) -> None:
    after = without_follower(partition(isr=isr), 2)
    assert (None if after is None else after.isr) == left
